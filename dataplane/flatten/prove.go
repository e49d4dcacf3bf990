package flatten

import (
	"iter"
	"maps"
	"net/netip"
	"slices"

	"github.com/felid-net/felid/dataplane"
)

// Claim is that the policy of workloads does Want, Allow or Deny, with every packet that is in one of Within and goes from From to To.
type Claim struct {
	From, To End
	Within   []Match
	Want     dataplane.Action
}

// End is where the packets of a claim come from, or go to.
type End struct {
	// Endpoints of the State, with their own addresses.
	Endpoints []dataplane.EndpointID
	// Nets are further addresses: one that workloads have is the first of those by id, and any other is outside. The zero value has all.
	Nets Addrs
}

// Counter is a packet that breaks a claim, and the endpoints that it is between; "" for none.
type Counter struct {
	Packet
	From, To dataplane.EndpointID
}

// Prove finds a packet that breaks a claim; nil where none does. vacuous: there is no packet that it is about.
//
// It is about packets between two endpoints, and between one and an address that no workload has; those from an endpoint to itself, and between
// two addresses outside, are not asked about. As when a single packet is judged, the endpoint's own node gets in where
// HostToWorkload says so (but ProbePorts are not looked at), and WorkloadToHost counts for the way out. Host endpoints have no say.
//
// Endpoints that policy treats alike are one class. What each class allows is worked out once; what the two ends allow is then compared as sets.
func Prove(s *dataplane.State, c Claim) (counter *Counter, vacuous bool) {
	p := prover{state: s, sets: NewSets(s.IPSets), claim: c, owners: owners(s)}
	p.from, p.to = p.crowds(c.From, c.To, dataplane.Egress), p.crowds(c.To, c.From, dataplane.Ingress)
	vacuous = true
	for _, from := range p.from {
		for _, to := range p.to {
			all := p.between(from.all(), to.all())
			if pick(from, to, all) == nil {
				continue
			}
			vacuous = false
			find := p.allowed
			if c.Want == dataplane.Allow {
				find = p.denied
			}
			if counter := find(from, to, all); counter != nil {
				return counter, false
			}
		}
	}
	return nil, vacuous
}

type prover struct {
	state    *dataplane.State
	sets     *Sets
	claim    Claim
	owners   map[netip.Addr]dataplane.EndpointID
	from, to []*crowd
}

// crowd are endpoints no two of which have the same address, and what is outside.
type crowd struct {
	ids     map[netip.Addr]dataplane.EndpointID
	addrs   Addrs
	outside Addrs
	names   chainNames
	byKey   map[string]*class
	classes []*class
}

func (c *crowd) all() Addrs { return c.addrs.Union(c.outside) }

// class are endpoints of a crowd of which policy thinks the same in one direction.
type class struct {
	chain   chain
	singles []netip.Addr
	addrs   Addrs
	node    Addrs // of the node that they are on, where the claim is about these too
}

type member struct {
	id      dataplane.EndpointID
	address netip.Addr
}

// members are the endpoints of an end with their addresses, and what is outside.
func (p *prover) members(e End) (in []member, outside Addrs) {
	given := make(map[dataplane.EndpointID]bool, len(e.Endpoints))
	for _, id := range e.Endpoints {
		given[id] = true
	}
	taken := make([]netip.Addr, 0, len(p.owners))
	for _, id := range slices.Sorted(maps.Keys(p.state.Endpoints)) {
		for _, a := range p.state.Endpoints[id].Addresses {
			if given[id] || p.owners[a] == id && e.Nets.Contains(a) {
				in = append(in, member{id, a})
			}
			if p.owners[a] == id {
				taken = append(taken, a)
			}
		}
	}
	return in, e.Nets.Minus(AddrsOfSingles(taken...))
}

// crowds are those of an end: one, and as many more as endpoints have the same address. far is the other end.
func (p *prover) crowds(e, far End, dir dataplane.Direction) []*crowd {
	in, outside := p.members(e)
	out := []*crowd{newCrowd()}
	out[0].outside = outside
	for _, m := range in {
		n := slices.IndexFunc(out, func(c *crowd) bool { return c.ids[m.address] == "" })
		if n < 0 {
			n = len(out)
			out = append(out, newCrowd())
		}
		out[n].add(m, p.state.Endpoints[m.id], p.nodeOf(p.state.Endpoints[m.id]).Intersect(far.Nets), dir)
	}
	for _, c := range out {
		c.addrs = AddrsOfSingles(slices.Collect(maps.Keys(c.ids))...)
		for _, class := range c.classes {
			class.addrs = AddrsOfSingles(class.singles...)
		}
	}
	return out
}

func newCrowd() *crowd {
	return &crowd{ids: map[netip.Addr]dataplane.EndpointID{}, names: chainNames{}, byKey: map[string]*class{}, outside: AddrsOf()}
}

func (c *crowd) add(m member, e *dataplane.Endpoint, node Addrs, dir dataplane.Direction) {
	c.ids[m.address] = m.id
	chain := chainOf(e)
	key := string(c.names.appendKey(nil, &chain, dir))
	if !node.Empty() {
		key += string(e.Node)
	}
	if c.byKey[key] == nil {
		c.byKey[key] = &class{chain: chain, node: node}
		c.classes = append(c.classes, c.byKey[key])
	}
	c.byKey[key].singles = append(c.byKey[key].singles, m.address)
}

// nodeOf are the addresses of the node that an endpoint is on.
func (p *prover) nodeOf(e *dataplane.Endpoint) Addrs {
	if node := p.state.Nodes[e.Node]; node != nil {
		return AddrsOfSingles(node.Addresses...)
	}
	return AddrsOf()
}

// between are the packets of the claim from some addresses to others.
func (p *prover) between(from, to Addrs) []Match {
	return each(p.claim.Within, func(m Match) []Match { return intersections(m, []Match{{Src: from, Dst: to}}) })
}

// allowed is a packet that both ends allow. The destination is asked first: more often than not it lets nobody in.
func (p *prover) allowed(from, to *crowd, all []Match) *Counter {
	in := p.side(to, dataplane.Ingress, all)
	srcs, dsts := AddrsOf(), AddrsOf()
	for _, m := range in {
		srcs, dsts = srcs.Union(m.Src), dsts.Union(m.Dst)
	}
	out := p.side(from, dataplane.Egress, p.between(srcs, dsts))
	for _, a := range in {
		for _, b := range out {
			if !a.overlaps(b) {
				continue
			}
			both, _ := a.Intersect(b)
			if c := pick(from, to, []Match{both}); c != nil {
				return c
			}
		}
	}
	return nil
}

// side is what one end allows of matches.
func (p *prover) side(c *crowd, dir dataplane.Direction, within []Match) []Match {
	out := each(within, func(m Match) []Match { return intersections(m, []Match{own(dir, c.outside)}) })
	for _, class := range c.classes {
		mine := each(within, func(m Match) []Match { return intersections(m, []Match{own(dir, class.addrs)}) })
		out = append(out, p.judge(class, dir, mine)...)
	}
	return Merge(out)
}

// own are the packets of endpoints with some addresses in one direction.
func own(dir dataplane.Direction, addrs Addrs) Match {
	if dir == dataplane.Egress {
		return Match{Src: addrs}
	}
	return Match{Dst: addrs}
}

// denied is a packet that one of the ends denies.
func (p *prover) denied(from, to *crowd, all []Match) *Counter {
	for _, side := range []struct {
		*crowd
		dir dataplane.Direction
	}{{to, dataplane.Ingress}, {from, dataplane.Egress}} {
		for _, class := range side.classes {
			mine := each(all, func(m Match) []Match { return intersections(m, []Match{own(side.dir, class.addrs)}) })
			if c := pick(from, to, minusAll(mine, p.judge(class, side.dir, mine))); c != nil {
				return c
			}
		}
	}
	return nil
}

// judge is what a class allows.
func (p *prover) judge(c *class, dir dataplane.Direction, within []Match) []Match {
	if !p.state.Host.IPv6 {
		within = each(within, func(m Match) []Match { return intersections(m, []Match{{Dst: Family(4)}}) })
	}
	node := []Match{{Dst: c.node}}
	if dir == dataplane.Ingress {
		node = []Match{{Src: c.node}}
	}
	var always []Match
	if !c.node.Empty() && dir == dataplane.Ingress && p.state.Host.HostToWorkload == dataplane.HostToWorkloadAll {
		always = each(within, func(m Match) []Match { return intersections(m, node) })
		within = minusAll(within, node)
	}
	if !c.node.Empty() && dir == dataplane.Egress && p.state.Host.WorkloadToHost == dataplane.Deny {
		within = minusAll(within, node)
	}
	w := Walk{State: p.state, Sets: p.sets, Direction: dir, overlapping: true}
	return append(w.Allowed(c.chain.tiers, c.chain.profiles, within), always...)
}

// pick is a packet of one of the matches from a crowd to another; nil where there is none but from an endpoint to itself, or from outside to outside.
func pick(from, to *crowd, matches []Match) *Counter {
	for _, m := range matches {
		for _, version := range []uint8{4, 6} {
			m := m
			m.Src, m.Dst = m.Src.Intersect(Family(version)), m.Dst.Intersect(Family(version))
			if m.Empty() {
				continue
			}
			for src := range from.some(m.Src) {
				for dst := range to.some(m.Dst) {
					if from.ids[src] == to.ids[dst] {
						continue
					}
					m.Src, m.Dst = AddrsOfSingles(src), AddrsOfSingles(dst)
					packet, _ := m.Example()
					return &Counter{packet, from.ids[src], to.ids[dst]}
				}
			}
		}
	}
	return nil
}

// some are the addresses of a that endpoints of the crowd have, in order, and one that is outside.
func (c *crowd) some(a Addrs) iter.Seq[netip.Addr] {
	return func(yield func(netip.Addr) bool) {
		for _, r := range a.Intersect(c.addrs).ranges {
			for at := r.From(); at.IsValid() && at.Compare(r.To()) <= 0; at = at.Next() {
				if !yield(at) {
					return
				}
			}
		}
		if out := a.Intersect(c.outside); !out.Empty() {
			yield(out.ranges[0].From())
		}
	}
}
