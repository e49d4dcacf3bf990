package controller

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/ipam"
)

// poolFinalizer holds a pool whose addresses are in use.
const poolFinalizer = "felid.dev/in-use"

// The reasons for which a pool is not allocatable.
const (
	reasonDisabled    = "PoolDisabled"
	reasonOverlap     = ipam.ReasonOverlap
	reasonTerminating = "Terminating"
	reasonOtherSize   = "OtherBlockSize"
)

// pools holds pools that have blocks, and says in their status what is wrong with them.
type pools struct {
	status bool
	pools  map[string]*poolState
	blocks map[v3.Key]blockState
}

// poolState is a pool with what is in it.
type poolState struct {
	object *v3.IPPool
	pool   ipam.Pool
	err    error // why it can't be read; the rest is then empty
	blocks map[v3.Key]struct{}
}

// blockState is what matters here of a block.
type blockState struct {
	cidr  netip.Prefix
	taken int
}

func newPools(s Settings) *pools {
	return &pools{status: s.Status, pools: map[string]*poolState{}, blocks: map[v3.Key]blockState{}}
}

// Name implements Reconciler.
func (p *pools) Name() string { return "pools" }

// Kinds implements Reconciler.
func (p *pools) Kinds() []v3.Kind { return []v3.Kind{v3.KindIPPool, v3.KindIPAMBlock} }

// Update implements Reconciler.
func (p *pools) Update(key v3.Key, o v3.Object) []v3.Key {
	if key.Kind == v3.KindIPAMBlock {
		return p.updateBlock(key, o)
	}
	items := append(p.overlapping(key.Name), key)
	delete(p.pools, key.Name)
	if object, ok := o.(*v3.IPPool); ok {
		state := &poolState{object: object, blocks: map[v3.Key]struct{}{}}
		if state.pool, state.err = ipam.ReadPool(object); state.err == nil {
			for key, b := range p.blocks {
				state.put(key, b)
			}
		}
		p.pools[key.Name] = state
	}
	return append(items, p.overlapping(key.Name)...)
}

// put takes a block that lies in the pool.
func (s *poolState) put(key v3.Key, b blockState) bool {
	if s.err != nil || !s.pool.CIDR().Overlaps(b.cidr) {
		return false
	}
	s.blocks[key] = struct{}{}
	return true
}

func (p *pools) updateBlock(key v3.Key, o v3.Object) []v3.Key {
	before, was := p.blocks[key]
	var after blockState
	if object, ok := o.(*v3.IPAMBlock); ok {
		after = readBlockState(object)
	}
	if is := after.cidr.IsValid(); is {
		p.blocks[key] = after
	} else {
		delete(p.blocks, key)
	}
	if was && before.cidr == after.cidr {
		return nil
	}
	var items []v3.Key
	for name, s := range p.pools {
		_, had := s.blocks[key]
		delete(s.blocks, key)
		if has := after.cidr.IsValid() && s.put(key, after); has || had {
			items = append(items, v3.Key{Kind: v3.KindIPPool, Name: name})
		}
	}
	return items
}

// readBlockState reads no more of a block than its range where the rest makes no sense: it takes up its place all the same.
func readBlockState(o *v3.IPAMBlock) blockState {
	if b, err := ipam.ReadBlock(o); err == nil {
		return blockState{b.CIDR(), b.Taken()}
	}
	cidr, _ := netip.ParsePrefix(o.Spec.CIDR)
	return blockState{cidr: cidr}
}

// overlapping are the pools that overlap one.
func (p *pools) overlapping(name string) []v3.Key {
	s := p.pools[name]
	var items []v3.Key
	for other, o := range p.pools {
		if other != name && s != nil && s.overlaps(o) {
			items = append(items, v3.Key{Kind: v3.KindIPPool, Name: other})
		}
	}
	return items
}

func (s *poolState) overlaps(o *poolState) bool {
	return s.err == nil && o.err == nil && s.pool.CIDR().Overlaps(o.pool.CIDR())
}

// Plan implements Reconciler.
func (p *pools) Plan(item v3.Key, now time.Time) Step {
	s := p.pools[item.Name]
	if s == nil || !p.status {
		return Step{}
	}
	if w, ok := setFinalizer(s.object, poolFinalizer, len(s.blocks) > 0); ok {
		return Step{Writes: []Write{w}}
	}
	status := &s.object.Status
	conditions := withFindings(status.Conditions, s.object.Generation, now, judged(s.object), p.allocatable(s), p.sizes(s))
	if sameConditions(conditions, status.Conditions) {
		return Step{}
	}
	changed := s.object.DeepCopy()
	changed.Status.Conditions = conditions
	return Step{Writes: []Write{{Verb: UpdateStatus, Object: changed}}}
}

// allocatable says whether addresses come from a pool, as the allocator sees it.
func (p *pools) allocatable(s *poolState) finding {
	no := func(reason, message string) finding { return finding{conditionAllocatable, false, reason, message} }
	switch first := p.firstOver(s); {
	case s.object.DeletionTimestamp != nil:
		return no(reasonTerminating, fmt.Sprintf("deleted as soon as its %d blocks are empty", len(s.blocks)))
	case s.err != nil:
		return no(reasonInvalid, s.err.Error())
	case s.object.Spec.Disabled:
		return no(reasonDisabled, "spec.disabled is true")
	case first != nil:
		return no(reasonOverlap, fmt.Sprintf("%s overlaps %s of IPPool %s, which was there before", s.pool.CIDR(), first.pool.CIDR(), first.object.Name))
	}
	return finding{conditionAllocatable, true, reasonOK, ""}
}

// firstOver is the pool that overlaps s and comes first, nil for none: of two that overlap the older keeps its addresses.
func (p *pools) firstOver(s *poolState) *poolState {
	var first *poolState
	for _, o := range p.pools {
		if o != s && o.overlaps(s) && o.before(s) && (first == nil || o.before(first)) {
			first = o
		}
	}
	return first
}

func (s *poolState) before(o *poolState) bool {
	return cmp.Or(s.object.CreationTimestamp.Compare(o.object.CreationTimestamp.Time), cmp.Compare(s.object.Name, o.object.Name)) < 0
}

// sizes says whether the pool has blocks of a size that is no longer its own.
func (p *pools) sizes(s *poolState) finding {
	odd := 0
	for key := range s.blocks {
		if p.blocks[key].cidr.Bits() != s.pool.BlockBits() {
			odd++
		}
	}
	if odd == 0 {
		return without(conditionBlocksMatch)
	}
	return finding{conditionBlocksMatch, false, reasonOtherSize,
		fmt.Sprintf("%d of its %d blocks are not /%d: they were made when spec.blockSize was another, and stay until they are empty", odd, len(s.blocks), s.pool.BlockBits())}
}

// Measure implements Measurer.
func (p *pools) Measure(m *Metrics) {
	m.poolAddresses.Reset()
	m.poolAllocated.Reset()
	m.poolBlocks.Reset()
	for _, name := range slices.Sorted(maps.Keys(p.pools)) {
		s := p.pools[name]
		if s.err != nil {
			continue
		}
		taken := 0
		for key := range s.blocks {
			taken += p.blocks[key].taken
		}
		cidr := s.pool.CIDR()
		m.poolAddresses.WithLabelValues(name).Set(math.Ldexp(1, cidr.Addr().BitLen()-cidr.Bits()))
		m.poolAllocated.WithLabelValues(name).Set(float64(taken))
		m.poolBlocks.WithLabelValues(name).Set(float64(len(s.blocks)))
	}
}
