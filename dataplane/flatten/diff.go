package flatten

import (
	"cmp"
	"encoding/binary"
	"maps"
	"net/netip"
	"reflect"
	"slices"

	"github.com/felid-net/felid/dataplane"
)

// Delta is how the connections that policy allows differ between two States.
type Delta struct {
	// Opens and Closes are disjoint matches, those of the State's endpoints by their addresses. DstPorts of ICMP are as in Sets.Exact.
	Opens, Closes []Match
	// Unchanged are endpoints whose policies differ in that direction, while all that these allow is the same. Sorted.
	Unchanged []EndpointSide
	// Moved are endpoints that only one of the States has, or whose addresses differ: what they have gained or lost is no matter of
	// policy, and connections with such addresses are not compared. Sorted.
	Moved []dataplane.EndpointID
	// Hosts are host endpoints whose policy differs, or that only one of the States has: what it decides is not compared. Sorted.
	Hosts []dataplane.EndpointID
	// Endpoints are those compared, with their addresses; Outside are the addresses that no endpoint has in either State.
	Endpoints map[dataplane.EndpointID][]netip.Addr
	Outside   Addrs
}

// EndpointSide is one direction of an endpoint.
type EndpointSide struct {
	Endpoint  dataplane.EndpointID
	Direction dataplane.Direction
}

// Diff compares the connections that both sides allow: the egress policy of the source where that is a workload, and the ingress policy of
// the destination. An address that several workloads have is the first one's by id. Not compared is what policy does not decide: a
// connection from an endpoint's own node, and one from a source that is not the endpoint's; nor what host endpoints decide: their addresses
// count as those of no endpoint.
//
// The work is for endpoints whose policies differ, and for those they may talk to; endpoints with the same policies are one.
func Diff(from, to *dataplane.State) Delta {
	d := newDiffer(from, to)
	opens := d.gained(&d.to, &d.from)
	closes := d.gained(&d.from, &d.to)
	delta := Delta{
		Opens: Merge(sameFamily(opens)), Closes: Merge(sameFamily(closes)),
		Moved: d.moved, Hosts: d.hosts(), Endpoints: d.owned, Outside: d.outside,
	}
	for _, g := range d.groups {
		if g.differs && !g.found {
			for _, id := range g.ids {
				delta.Unchanged = append(delta.Unchanged, EndpointSide{id, g.dir})
			}
		}
	}
	slices.SortFunc(delta.Unchanged, func(a, b EndpointSide) int {
		return cmp.Or(cmp.Compare(a.Endpoint, b.Endpoint), cmp.Compare(b.Direction, a.Direction))
	})
	return delta
}

// differ compares two States.
type differ struct {
	from, to version
	groups   []*group
	owned    map[dataplane.EndpointID][]netip.Addr
	outside  Addrs // no endpoint's in either State
	moved    []dataplane.EndpointID
	unlikes  map[use][]Match
	dirty    map[dataplane.PolicyID]bool // that differ, or use sets that do
}

// version is one of the States.
type version struct {
	state *dataplane.State
	sets  *Sets
	index int // of group.chains
}

// group are endpoints that have the same policies as one another in a direction, in each of the two States.
type group struct {
	dir     dataplane.Direction
	ids     []dataplane.EndpointID
	singles []netip.Addr
	addrs   Addrs
	chains  [2]chain // in the old State and the new
	differs bool     // their policies are not the same, or do not mean the same
	found   bool     // and neither is what they allow
	within  []Match  // all that they may decide otherwise, where they differ
}

// chain is what decides about an endpoint in one direction.
type chain struct {
	tiers    []dataplane.EndpointTier
	profiles []dataplane.PolicyID
}

func newDiffer(from, to *dataplane.State) *differ {
	d := &differ{from: version{from, NewSets(from.IPSets), 0}, to: version{to, NewSets(to.IPSets), 1}, unlikes: map[use][]Match{}}
	d.dirty = movedPolicies(from, to)
	d.own()
	ids := slices.Sorted(maps.Keys(d.owned))
	for _, dir := range []dataplane.Direction{dataplane.Egress, dataplane.Ingress} {
		d.groupBy(dir, ids)
	}
	for _, g := range d.groups {
		g.addrs = AddrsOfSingles(g.singles...)
		if g.differs {
			g.within = d.suspects(g, d.dirty)
		}
	}
	return d
}

// groupBy puts endpoints with the same policies in a direction together.
func (d *differ) groupBy(dir dataplane.Direction, ids []dataplane.EndpointID) {
	byKey := map[string]*group{}
	names := chainNames{}
	var key []byte
	for _, id := range ids {
		old, now := chainOf(d.from.state.Endpoints[id]), chainOf(d.to.state.Endpoints[id])
		key = names.appendKey(key[:0], &old, dir)
		same := old.equal(&now, dir)
		if !same {
			key = names.appendKey(key, &now, dir)
		}
		g := byKey[string(key)]
		if g == nil {
			g = &group{dir: dir, chains: [2]chain{old, now}}
			g.differs = !same || old.names(dir, d.dirty)
			byKey[string(key)] = g
			d.groups = append(d.groups, g)
		}
		g.ids = append(g.ids, id)
		g.singles = append(g.singles, d.owned[id]...)
	}
}

// own finds the addresses of the endpoints that have the same in both States, and what is left.
func (d *differ) own() {
	old, now := owners(d.from.state), owners(d.to.state)
	moved := map[dataplane.EndpointID]bool{}
	out := map[dataplane.EndpointID][]netip.Addr{}
	var all []netip.Addr
	for a, id := range old {
		all = append(all, a)
		if now[a] == id {
			out[id] = append(out[id], a)
		} else {
			moved[id] = true
		}
	}
	for a, id := range now {
		if old[a] != id {
			moved[id] = true
			all = append(all, a)
		}
	}
	d.outside = AddrsOfSingles(all...).complement()
	d.owned, d.moved = out, slices.Sorted(maps.Keys(moved))
}

// owners are the workloads by address, of several the first by id.
func owners(s *dataplane.State) map[netip.Addr]dataplane.EndpointID {
	out := make(map[netip.Addr]dataplane.EndpointID, len(s.Endpoints))
	for id, e := range s.Endpoints {
		if e.Host != nil {
			continue
		}
		for _, a := range e.Addresses {
			if first, ok := out[a]; !ok || id < first {
				out[a] = id
			}
		}
	}
	return out
}

// hosts are the host endpoints that differ.
func (d *differ) hosts() []dataplane.EndpointID {
	var out []dataplane.EndpointID
	for id, e := range d.from.state.Endpoints {
		now := d.to.state.Endpoints[id]
		if e.Host != nil && (now == nil || !reflect.DeepEqual(e, now) || usesAny(e, d.dirty)) {
			out = append(out, id)
		}
	}
	for id, e := range d.to.state.Endpoints {
		if e.Host != nil && d.from.state.Endpoints[id] == nil {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

// usesAny tells whether a host endpoint is under one of the policies, in whatever stage.
func usesAny(e *dataplane.Endpoint, policies map[dataplane.PolicyID]bool) bool {
	stages := slices.Concat(e.Tiers, e.Host.Untracked, e.Host.PreDNAT, e.Host.Forward)
	c := chain{stages, e.Profiles}
	return c.names(dataplane.Ingress, policies) || c.names(dataplane.Egress, policies)
}

// movedPolicies are those that differ, or use sets that do.
func movedPolicies(from, to *dataplane.State) map[dataplane.PolicyID]bool {
	changes := dataplane.Diff(
		&dataplane.State{Policies: from.Policies, IPSets: from.IPSets}, &dataplane.State{Policies: to.Policies, IPSets: to.IPSets})
	out := map[dataplane.PolicyID]bool{}
	for id := range changes.Policies {
		out[id] = true
	}
	for id, p := range to.Policies {
		for _, r := range slices.Concat(p.Ingress, p.Egress) {
			for _, side := range []*dataplane.Side{&r.Src, &r.Dst} {
				for _, set := range slices.Concat(side.IPSets, side.NotIPSets, side.PortSets, side.NotPortSets) {
					if _, ok := changes.IPSets[set]; ok {
						out[id] = true
					}
				}
			}
		}
	}
	return out
}

func chainOf(e *dataplane.Endpoint) chain { return chain{e.Tiers, e.Profiles} }

// equal tells whether two chains decide alike where their policies do.
func (c *chain) equal(o *chain, dir dataplane.Direction) bool {
	a, b := c.stages(dir), o.stages(dir)
	return slices.EqualFunc(a, b, func(a, b stage) bool { return a.end == b.end && slices.Equal(a.policies, b.policies) })
}

// chainNames are numbers for policies, by which chains are told apart.
type chainNames map[dataplane.PolicyID]uint32

// appendKey appends what is the same for chains that decide alike in a direction, and begins no other's.
func (n chainNames) appendKey(key []byte, c *chain, dir dataplane.Direction) []byte {
	add := func(ids []dataplane.PolicyID, end dataplane.Action) {
		for _, id := range ids {
			number, ok := n[id]
			if !ok {
				number = uint32(len(n)) + 1
				n[id] = number
			}
			key = binary.BigEndian.AppendUint32(key, number)
		}
		key = append(key, 0, 0, 0, 0, byte(end))
	}
	for i := range c.tiers {
		if ids := ofDirection(&c.tiers[i], dir); len(ids) > 0 {
			add(ids, c.tiers[i].Default)
		}
	}
	add(c.profiles, 0)
	return key
}

// names tells whether any of the policies is in the chain.
func (c *chain) names(dir dataplane.Direction, policies map[dataplane.PolicyID]bool) bool {
	in := func(id dataplane.PolicyID) bool { return policies[id] }
	return slices.ContainsFunc(c.profiles, in) || slices.ContainsFunc(c.tiers, func(t dataplane.EndpointTier) bool {
		return slices.ContainsFunc(ofDirection(&t, dir), in)
	})
}

// gained are the connections that now allows and before does not, disjoint: those that the source's side has gained and the other allows now, and
// those that the other side has gained of what the source's side allows as it did.
func (d *differ) gained(now, before *version) []Match {
	var out []Match
	for _, dir := range []dataplane.Direction{dataplane.Egress, dataplane.Ingress} {
		var gains []Match
		for _, g := range d.groups {
			if g.differs && g.dir == dir {
				gain := minusAll(g.part(now, g.within), g.part(before, g.within))
				g.found = g.found || len(sameFamily(gain)) > 0
				gains = append(gains, gain...)
			}
		}
		in := []*version{now}
		if dir == dataplane.Ingress {
			in = append(in, before)
		}
		out = append(out, common(Merge(gains), d.otherSide(dir, hull(gains), in))...)
	}
	return out
}

// common is what is in one of some matches and in one of others.
func common(some, others []Match) []Match {
	var out []Match
	for _, m := range some {
		for _, o := range others {
			if m.overlaps(o) {
				both, _ := m.Intersect(o)
				out = append(out, both)
			}
		}
	}
	return out
}

// hull is one match that has all packets of several.
func hull(matches []Match) Match {
	all := Match{Protocols: ProtocolsOf(), Src: AddrsOf(), Dst: AddrsOf(), SrcPorts: PortsOf(), DstPorts: PortsOf()}
	for _, m := range matches {
		all.Protocols, all.Src, all.Dst = all.Protocols.Union(m.Protocols), all.Src.Union(m.Src), all.Dst.Union(m.Dst)
		all.SrcPorts, all.DstPorts = all.SrcPorts.Union(m.SrcPorts), all.DstPorts.Union(m.DstPorts)
	}
	return all
}

// part is what the group allows of matches.
func (g *group) part(v *version, matches []Match) []Match {
	w := Walk{State: v.state, Sets: v.sets, Direction: g.dir}
	return w.Allowed(g.chains[v.index].tiers, g.chains[v.index].profiles, matches)
}

// otherSide is the part of m, which endpoints may allow in a direction, that the other end allows in each of some versions.
func (d *differ) otherSide(dir dataplane.Direction, m Match, versions []*version) []Match {
	if m.Empty() {
		return nil
	}
	var out []Match
	far := func(m *Match) *Addrs { return &m.Dst }
	if dir == dataplane.Ingress {
		far = func(m *Match) *Addrs { return &m.Src }
	}
	beyond := m
	*far(&beyond) = far(&m).Intersect(d.outside)
	if !beyond.Empty() {
		out = append(out, beyond)
	}
	for _, other := range d.groups {
		if other.dir == dir || !far(&m).overlaps(other.addrs) {
			continue
		}
		piece := m
		*far(&piece) = far(&m).Intersect(other.addrs)
		part := []Match{piece}
		for i, v := range versions {
			if i == 0 || other.differs { // else it allows the same
				part = other.part(v, part)
			}
		}
		out = append(out, part...)
	}
	return Merge(out)
}

// sameFamily leaves out what no packet can have: a source of one family and a destination of the other.
func sameFamily(matches []Match) []Match {
	var out []Match
	for _, m := range matches {
		common := AddrsOf()
		for _, version := range []uint8{4, 6} {
			if f := Family(version); m.Src.overlaps(f) && m.Dst.overlaps(f) {
				common = common.Union(f)
			}
		}
		m.Src, m.Dst = m.Src.Intersect(common), m.Dst.Intersect(common)
		if !m.Empty() {
			out = append(out, m)
		}
	}
	return out
}
