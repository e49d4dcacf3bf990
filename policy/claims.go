package policy

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	v3 "github.com/felid-net/felid/api/v3"
)

// claims are the addresses that endpoints say are theirs. Nearly all are claimed once; of those that are not, the allocation record
// says who the owner is, else the newest claimant is.
type claims struct {
	single map[netip.Prefix]*peer   // by address; one of them where several claim it
	shared map[netip.Prefix][]*peer // all of them, where several claim it
	blocks map[string]*block        // by name
}

// block is what counts of an IPAMBlock: a cluster has many, each with a great deal beside.
type block struct {
	cidr netip.Prefix
	pods []podName // by the ordinals of the addresses that they were given; the empty name is none
}

type podName struct{ namespace, name string }

func newClaims() *claims {
	return &claims{single: map[netip.Prefix]*peer{}, shared: map[netip.Prefix][]*peer{}, blocks: map[string]*block{}}
}

func (c *claims) add(p *peer) {
	if p.isSet {
		return
	}
	for _, address := range p.nets {
		other, taken := c.single[address]
		switch {
		case !taken:
			c.single[address] = p
		case c.shared[address] == nil:
			c.shared[address] = []*peer{other, p}
		default:
			c.shared[address] = append(c.shared[address], p)
		}
	}
}

func (c *claims) remove(p *peer) {
	if p.isSet {
		return
	}
	for _, address := range p.nets {
		claimants := c.shared[address]
		if claimants == nil {
			delete(c.single, address)
			continue
		}
		claimants = slices.DeleteFunc(claimants, func(q *peer) bool { return q == p })
		c.shared[address], c.single[address] = claimants, claimants[0]
		if len(claimants) == 1 {
			delete(c.shared, address)
		}
	}
}

// replace puts q where p is; they claim the same.
func (c *claims) replace(p, q *peer) {
	if p.isSet {
		return
	}
	for _, address := range p.nets {
		if c.single[address] == p {
			c.single[address] = q
		}
		if i := slices.Index(c.shared[address], p); i >= 0 {
			c.shared[address][i] = q
		}
	}
}

// owns tells whether an address that p claims is p's. Host endpoints of one node, such as a named one beside that for all its interfaces, own
// the node's addresses together.
func (c *claims) owns(p *peer, address netip.Prefix) bool {
	claimants := c.shared[address]
	if claimants == nil {
		return true
	}
	namespace, pod := c.recorded(address.Addr())
	isRecorded := func(q *peer) bool { return pod != "" && q.key.Namespace == namespace && q.pod == pod }
	owner := slices.MinFunc(claimants, func(a, b *peer) int {
		return cmp.Or(compareBools(isRecorded(b), isRecorded(a)), a.compareClaim(b))
	})
	return p == owner || p.host != "" && p.host == owner.host
}

// recorded is the pod to which a block gives the address; "" for none.
func (c *claims) recorded(address netip.Addr) (namespace, pod string) {
	first := ""
	for name, b := range c.blocks {
		if !b.cidr.Contains(address) || first != "" && first < name {
			continue
		}
		first = name
		namespace, pod = b.allocatedTo(address)
	}
	return namespace, pod
}

func (b *block) allocatedTo(address netip.Addr) (namespace, pod string) {
	ordinal := ordinal(b.cidr, address)
	if ordinal >= len(b.pods) {
		return "", ""
	}
	return b.pods[ordinal].namespace, b.pods[ordinal].name
}

// allocated are the pods that a block's addresses are given to.
func allocated(s *v3.IPAMBlockSpec) []podName {
	pods := make([]podName, len(s.Allocations))
	for ordinal, index := range s.Allocations {
		if index != nil && *index >= 0 && *index < len(s.Attributes) {
			of := s.Attributes[*index].Secondary
			pods[ordinal] = podName{of["namespace"], of["pod"]}
		}
	}
	return pods
}

// ordinal is the place of an address in its block; blocks have at most 65,536 addresses.
func ordinal(cidr netip.Prefix, address netip.Addr) int {
	a, first := address.As16(), cidr.Addr().As16()
	return int(a[14])<<8 + int(a[15]) - int(first[14])<<8 - int(first[15])
}

// rivals are the others that claim an address of p.
func (c *claims) rivals(p *peer) []*peer {
	if p.isSet {
		return nil
	}
	var rivals []*peer
	for _, address := range p.nets {
		claimants := c.shared[address]
		if other := c.single[address]; claimants == nil && other != nil {
			claimants = []*peer{other}
		}
		for _, q := range claimants {
			if q != p && !slices.Contains(rivals, q) {
				rivals = append(rivals, q)
			}
		}
	}
	return rivals
}

// disputed are the peers that claim an address which others claim too.
func (c *claims) disputed() []*peer {
	all := map[*peer]struct{}{}
	for _, claimants := range c.shared {
		for _, q := range claimants {
			all[q] = struct{}{}
		}
	}
	return slices.Collect(maps.Keys(all))
}

// setBlock replaces a block; o is nil where it is gone. A block whose CIDR can't be read says nothing.
func (c *claims) setBlock(name string, o *v3.IPAMBlock) {
	delete(c.blocks, name)
	if o == nil {
		return
	}
	if cidr, err := netip.ParsePrefix(o.Spec.CIDR); err == nil {
		c.blocks[name] = &block{cidr: cidr.Masked(), pods: allocated(&o.Spec)}
	}
}
