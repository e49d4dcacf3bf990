package controller

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/ipam"
)

// youngBlock is how long after a node got a block it is left in peace: it may be about to take an address from it.
const youngBlock = time.Minute

// requests hands empty blocks to nodes that ask for one (see ipam.StateWanted): blocks of nodes that are gone first, then of the nodes that have most.
type requests struct {
	cluster  bool
	requests map[v3.Key]*v3.BlockAffinity
	others   map[v3.Key]*v3.BlockAffinity // affinities that are no requests
	blocks   map[v3.Key]ipam.Block
	pools    map[string]*v3.IPPool
	reserved map[string][]netip.Prefix
	nodes    map[string]bool
}

func newRequests(s Settings) *requests {
	return &requests{
		cluster: s.Status, requests: map[v3.Key]*v3.BlockAffinity{}, others: map[v3.Key]*v3.BlockAffinity{}, blocks: map[v3.Key]ipam.Block{},
		pools: map[string]*v3.IPPool{}, reserved: map[string][]netip.Prefix{}, nodes: map[string]bool{},
	}
}

// Name implements Reconciler.
func (r *requests) Name() string { return "requests" }

// Kinds implements Reconciler.
func (r *requests) Kinds() []v3.Kind {
	return []v3.Kind{v3.KindBlockAffinity, v3.KindIPAMBlock, v3.KindIPPool, v3.KindIPReservation, v3.KindNode}
}

// Update implements Reconciler.
func (r *requests) Update(key v3.Key, o v3.Object) []v3.Key {
	switch key.Kind {
	case v3.KindBlockAffinity:
		return r.updateAffinity(key, o)
	case v3.KindIPAMBlock:
		delete(r.blocks, key)
		if object, ok := o.(*v3.IPAMBlock); ok {
			if b, err := ipam.ReadBlock(object); err == nil {
				r.blocks[key] = b
			}
		}
	case v3.KindIPPool:
		delete(r.pools, key.Name)
		if object, ok := o.(*v3.IPPool); ok {
			r.pools[key.Name] = object
		}
	case v3.KindIPReservation:
		delete(r.reserved, key.Name)
		if object, ok := o.(*v3.IPReservation); ok {
			r.reserved[key.Name] = ipam.Reserved(object)
		}
	case v3.KindNode:
		if r.nodes[key.Name] == (o != nil) {
			return nil // its labels and addresses do not matter
		}
		if o != nil {
			r.nodes[key.Name] = true
		} else {
			delete(r.nodes, key.Name)
		}
	}
	return r.all()
}

// all are the requests: mostly none, and one that can be met does not stay.
func (r *requests) all() []v3.Key {
	items := make([]v3.Key, 0, len(r.requests))
	for key := range r.requests {
		items = append(items, key)
	}
	return items
}

func (r *requests) updateAffinity(key v3.Key, o v3.Object) []v3.Key {
	delete(r.requests, key)
	delete(r.others, key)
	object, ok := o.(*v3.BlockAffinity)
	switch {
	case !ok:
	case object.Spec.State == ipam.StateWanted:
		r.requests[key] = object
		return []v3.Key{key}
	default:
		r.others[key] = object
	}
	return nil
}

// Plan implements Reconciler.
func (r *requests) Plan(item v3.Key, now time.Time) Step {
	request := r.requests[item]
	if request == nil || request.DeletionTimestamp != nil {
		return Step{}
	}
	drop := Step{Writes: []Write{{Verb: Delete, Object: request}}}
	pool, ok := r.poolOf(request)
	node := request.Spec.Node
	if !ok || r.cluster && len(r.nodes) > 0 && !r.nodes[node] {
		return drop
	}
	reserved := slices.Concat(slices.Collect(maps.Values(r.reserved))...)
	if r.has(node, pool, reserved) {
		return drop
	}
	block, wait := r.spare(node, pool, reserved, now)
	if block == nil {
		return Step{Again: wait, Problem: fmt.Sprintf("node %s needs a block of pool %s, and no node has an empty one to spare", node, pool.CIDR())}
	}
	return Step{Writes: r.handOver(*block, request, now)}
}

// poolOf is the pool that a block is asked of; false: none that gives any.
func (r *requests) poolOf(request *v3.BlockAffinity) (ipam.Pool, bool) {
	for _, object := range r.pools {
		if object.Spec.Disabled || object.DeletionTimestamp != nil {
			continue
		}
		if pool, err := ipam.ReadPool(object); err == nil && pool.CIDR().String() == request.Spec.CIDR {
			return pool, true
		}
	}
	return ipam.Pool{}, false
}

// has says whether a node has a block of the pool with a free address: then the request is met, or was not needed.
func (r *requests) has(node string, pool ipam.Pool, reserved []netip.Prefix) bool {
	for _, b := range r.blocks {
		if b.Owner() == node && b.Usable() && pool.Has(b.CIDR()) && b.HasFree(reserved) {
			return true
		}
	}
	return false
}

// spare is the block that a node can do without most easily; nil: there is none, or none before wait is over.
func (r *requests) spare(node string, pool ipam.Pool, reserved []netip.Prefix, now time.Time) (best *ipam.Block, wait time.Duration) {
	empty := map[string]int{}
	var candidates []ipam.Block
	for _, b := range r.blocks {
		if b.Owner() == node || b.Virtual() || !b.Usable() || !pool.Has(b.CIDR()) || b.Taken() > 0 || !b.HasFree(reserved) {
			continue
		}
		if left := youngBlock - now.Sub(b.ClaimedAt()); left > 0 && !r.abandoned(b) {
			if wait == 0 || left < wait {
				wait = left
			}
			continue
		}
		empty[b.Owner()]++
		candidates = append(candidates, b)
	}
	if len(candidates) == 0 {
		return nil, wait
	}
	first := slices.MinFunc(candidates, func(x, y ipam.Block) int {
		return cmp.Or(
			-compareBools(r.abandoned(x), r.abandoned(y)), empty[y.Owner()]-empty[x.Owner()], x.ClaimedAt().Compare(y.ClaimedAt()), x.CIDR().Addr().Compare(y.CIDR().Addr()))
	})
	return &first, 0
}

// compareBools puts false before true.
func compareBools(x, y bool) int {
	switch {
	case x == y:
		return 0
	case x:
		return 1
	}
	return -1
}

// abandoned says whether a block belongs to no node, or to one that is gone.
func (r *requests) abandoned(b ipam.Block) bool {
	return b.Owner() == "" || r.cluster && len(r.nodes) > 0 && !r.nodes[b.Owner()]
}

// handOver makes an empty block another node's. The first write decides; after a crash the rest is put right by affinities, and the request is
// found to be met.
func (r *requests) handOver(b ipam.Block, request *v3.BlockAffinity, now time.Time) []Write {
	node, cidr := request.Spec.Node, b.CIDR()
	note := fmt.Sprintf("handed a block to node %s, which was of node %q", node, b.Owner())
	writes := []Write{{Verb: Update, Object: b.HandedTo(node, now), Note: note}}
	confirmed := ipam.NewAffinity(node, cidr, ipam.StateConfirmed)
	for _, o := range r.others {
		if o.Spec.CIDR == cidr.String() && o.Spec.Node != node {
			writes = append(writes, Write{Verb: Delete, Object: o})
		}
	}
	if there := r.others[v3.KeyOf(confirmed)]; there == nil {
		writes = append(writes, Write{Verb: Create, Object: confirmed})
	} else if there.Spec != confirmed.Spec {
		changed := there.DeepCopy()
		changed.Spec = confirmed.Spec
		writes = append(writes, Write{Verb: Update, Object: changed})
	}
	return append(writes, Write{Verb: Delete, Object: request})
}

// Measure implements Measurer.
func (r *requests) Measure(m *Metrics) { m.requests.Set(float64(len(r.requests))) }
