package flatten

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/felid-net/felid/dataplane"
)

// Sets reads IP sets of a state, and keeps what it made of them.
type Sets struct {
	sets   map[dataplane.IPSetID]*dataplane.IPSet
	addrs  map[dataplane.IPSetID]Addrs
	groups map[dataplane.IPSetID][]portGroup
	exact  map[*dataplane.Rule][]Match
	narrow map[*dataplane.Rule][]Match // see known
}

// NewSets reads from sets, which must not change as long as the result is used.
func NewSets(sets map[dataplane.IPSetID]*dataplane.IPSet) *Sets {
	return &Sets{
		sets: sets, addrs: map[dataplane.IPSetID]Addrs{}, groups: map[dataplane.IPSetID][]portGroup{}, exact: map[*dataplane.Rule][]Match{}, narrow: map[*dataplane.Rule][]Match{},
	}
}

func (s *Sets) members(id dataplane.IPSetID, t dataplane.IPSetType) map[dataplane.Member]struct{} {
	set := s.sets[id]
	if set == nil || set.Type != t {
		panic("flatten: a rule names IP set " + string(id) + ", which is not in the state or of another type")
	}
	return set.Members
}

// Nets are the addresses of a set.
func (s *Sets) Nets(id dataplane.IPSetID) Addrs { return s.nets(id) }

func (s *Sets) nets(id dataplane.IPSetID) Addrs {
	a, ok := s.addrs[id]
	if !ok {
		members := s.members(id, dataplane.SetNets)
		prefixes := make([]netip.Prefix, 0, len(members))
		for m := range members {
			prefixes = append(prefixes, m.Prefix)
		}
		a = AddrsOf(prefixes...)
		s.addrs[id] = a
	}
	return a
}

// portGroup are the addresses of a set that have the same protocol and port.
type portGroup struct {
	protocol uint8
	port     uint16
	addrs    Addrs
}

func (s *Sets) portGroups(id dataplane.IPSetID) []portGroup {
	if groups, ok := s.groups[id]; ok {
		return groups
	}
	type number struct {
		protocol uint8
		port     uint16
	}
	prefixes := map[number][]netip.Prefix{}
	for m := range s.members(id, dataplane.SetAddrPorts) {
		n := number{m.Protocol, m.Port}
		prefixes[n] = append(prefixes[n], m.Prefix)
	}
	groups := make([]portGroup, 0, len(prefixes))
	for n, p := range prefixes {
		groups = append(groups, portGroup{n.protocol, n.port, AddrsOf(p...)})
	}
	slices.SortFunc(groups, func(a, b portGroup) int {
		return cmp.Or(cmp.Compare(a.protocol, b.protocol), cmp.Compare(a.port, b.port))
	})
	s.groups[id] = groups
	return groups
}

// Matches are, as a union, the packets that a rule matches. Types and codes of ICMP are beyond a Match: exact has the packets that
// the rule is known to match, over all that it might match. Without such a field the two are the same.
func (s *Sets) Matches(r *dataplane.Rule) (exact, over []Match) {
	base := Match{}
	if r.Protocol != 0 {
		base.Protocols = ProtocolsOf(r.Protocol)
	}
	if r.NotProtocol != 0 {
		base.Protocols = base.Protocols.Minus(ProtocolsOf(r.NotProtocol))
	}
	base.Src, base.Dst = s.addresses(&r.Src), s.addresses(&r.Dst)
	base.Src, base.Dst = base.Src.Intersect(Family(r.IPVersion)), base.Dst.Intersect(Family(r.IPVersion))
	matches := nonEmpty([]Match{base})
	for _, side := range []*side{{&r.Src, source}, {&r.Dst, destination}} {
		matches = s.ports(matches, side)
	}
	if r.ICMP == nil && r.NotICMP == nil {
		return matches, matches
	}
	over = matches
	if r.ICMP != nil {
		over = each(matches, func(m Match) []Match { return intersections(m, ownICMP) })
		return nil, over
	}
	return minusAll(matches, ownICMP), over
}

// ownICMP is the ICMP of each family.
var ownICMP = []Match{
	{Protocols: ProtocolsOf(dataplane.ProtoICMP), Src: Family(4), Dst: Family(4)},
	{Protocols: ProtocolsOf(dataplane.ProtoICMPv6), Src: Family(6), Dst: Family(6)},
}

func (s *Sets) addresses(side *dataplane.Side) Addrs {
	a := Addrs{}
	if len(side.Nets) > 0 {
		a = AddrsOf(side.Nets...)
	}
	if len(side.NotNets) > 0 {
		a = a.Minus(AddrsOf(side.NotNets...))
	}
	for _, id := range side.IPSets {
		a = a.Intersect(s.nets(id))
	}
	for _, id := range side.NotIPSets {
		a = a.Minus(s.nets(id))
	}
	return a
}

// side is one end of a rule, with how a Match writes what it asks for.
type side struct {
	*dataplane.Side
	write func(addrs Addrs, ports Ports, protocols Protocols) Match
}

func source(a Addrs, p Ports, protocols Protocols) Match {
	return Match{Src: a, SrcPorts: p, Protocols: protocols}
}

func destination(a Addrs, p Ports, protocols Protocols) Match {
	return Match{Dst: a, DstPorts: p, Protocols: protocols}
}

// ports limits matches by the ports of one side: by a union of ranges and groups, and without what is negated.
func (s *Sets) ports(matches []Match, side *side) []Match {
	if len(side.Ports)+len(side.PortSets) > 0 {
		wanted := s.alternatives(side, side.Ports, side.PortSets)
		matches = each(matches, func(m Match) []Match { return intersections(m, wanted) })
	}
	return minusAll(matches, s.alternatives(side, side.NotPorts, side.NotPortSets))
}

func (s *Sets) alternatives(side *side, ranges []dataplane.PortRange, ids []dataplane.IPSetID) []Match {
	var out []Match
	if len(ranges) > 0 {
		out = append(out, side.write(Addrs{}, PortsOf(ranges...), portProtocols))
	}
	for _, id := range ids {
		for _, g := range s.portGroups(id) {
			port := dataplane.PortRange{Min: g.port, Max: g.port}
			out = append(out, side.write(g.addrs, PortsOf(port), ProtocolsOf(g.protocol).Intersect(portProtocols)))
		}
	}
	return nonEmpty(out)
}

func nonEmpty(matches []Match) []Match {
	return slices.DeleteFunc(matches, Match.Empty)
}

func intersections(m Match, with []Match) []Match {
	var out []Match
	for _, o := range with {
		if both, ok := m.Intersect(o); ok {
			out = append(out, both)
		}
	}
	return out
}

func minusAll(matches, without []Match) []Match {
	for _, o := range without {
		matches = each(matches, func(m Match) []Match { return m.Minus(o) })
	}
	return matches
}
