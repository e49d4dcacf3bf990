package flatten

import (
	"slices"

	"github.com/felid-net/felid/dataplane"
)

// Symbol stands for the addresses of an IP set, whichever they are. A Match that asks for it is the same when members come and go. Where an
// operation needs the members, it takes them, and that is noted.
type Symbol struct {
	ID dataplane.IPSetID
	of *Symbols
}

func (y *Symbol) members() Addrs {
	y.of.note(y.ID)
	return y.of.nets(y.ID)
}

// Symbols reads rules as Sets does, but leaves an IP set that is all that a side asks of addresses as a Symbol, and notes the sets whose
// members it took.
type Symbols struct {
	*Sets
	byID  map[dataplane.IPSetID]*Symbol
	read  map[*dataplane.Rule]reading
	noted []dataplane.IPSetID // in the order in which they were taken
	plain bool
}

// reading is what was made of a rule, and the sets whose members that took.
type reading struct {
	exact, over []Match
	noted       []dataplane.IPSetID
}

// Symbols of the sets; with plain, none: the members of each set are taken and noted.
func (s *Sets) Symbols(plain bool) *Symbols {
	return &Symbols{Sets: s, plain: plain, byID: map[dataplane.IPSetID]*Symbol{}, read: map[*dataplane.Rule]reading{}}
}

func (y *Symbols) note(ids ...dataplane.IPSetID) { y.noted = append(y.noted, ids...) }

// Noted are the sets whose members were taken since it was last asked, sorted.
func (y *Symbols) Noted() []dataplane.IPSetID {
	ids := y.noted
	y.noted = nil
	slices.Sort(ids)
	return slices.Compact(ids)
}

// Matches are those of Sets.Matches. They are kept, and must not be changed.
func (y *Symbols) Matches(r *dataplane.Rule) (exact, over []Match) {
	got, ok := y.read[r]
	if !ok {
		before := y.noted
		y.noted = nil
		got = y.matches(r)
		got.noted = y.noted
		y.noted, y.read[r] = before, got
	}
	y.note(got.noted...)
	return got.exact, got.over
}

func (y *Symbols) matches(r *dataplane.Rule) reading {
	rest := *r
	src, dst := y.symbol(&rest.Src), y.symbol(&rest.Dst)
	for _, side := range []*dataplane.Side{&rest.Src, &rest.Dst} {
		y.note(slices.Concat(side.IPSets, side.NotIPSets, side.PortSets, side.NotPortSets)...)
	}
	exact, over := y.Sets.Matches(&rest)
	if src == nil && dst == nil {
		return reading{exact: exact, over: over}
	}
	limit := []Match{{SrcSet: src, DstSet: dst}}
	limited := func(m Match) []Match { return intersections(m, limit) }
	return reading{exact: each(exact, limited), over: each(over, limited)}
}

// symbol takes the set out of a side that asks for nothing else of addresses; nil where it asks for none, or for more.
func (y *Symbols) symbol(side *dataplane.Side) *Symbol {
	if y.plain || len(side.IPSets) != 1 || len(side.Nets)+len(side.NotNets)+len(side.NotIPSets) > 0 {
		return nil
	}
	id := side.IPSets[0]
	if y.byID[id] == nil {
		y.byID[id] = &Symbol{ID: id, of: y}
	}
	side.IPSets = nil
	return y.byID[id]
}

// ExpandSrc is m with the members of SrcSet in its place.
func (m Match) ExpandSrc() Match {
	if m.SrcSet != nil {
		m.Src, m.SrcSet = m.Src.Intersect(m.SrcSet.members()), nil
	}
	return m
}

// ExpandDst is m with the members of DstSet in its place.
func (m Match) ExpandDst() Match {
	if m.DstSet != nil {
		m.Dst, m.DstSet = m.Dst.Intersect(m.DstSet.members()), nil
	}
	return m
}

// symbolic tells whether m asks for a set.
func (m *Match) symbolic() bool { return m.SrcSet != nil || m.DstSet != nil }

// end is what a Match asks of the address of one side.
type end struct {
	addrs Addrs
	set   *Symbol
}

func (m *Match) src() end { return end{m.Src, m.SrcSet} }
func (m *Match) dst() end { return end{m.Dst, m.DstSet} }

// settled takes the members of the set where more is asked than a family.
func (e end) settled() end {
	if e.set == nil || e.addrs.Whole() {
		return e
	}
	if e.addrs.Empty() {
		return end{addrs: e.addrs}
	}
	return end{addrs: e.addrs.Intersect(e.set.members())}
}

func (e end) intersect(o end) end {
	both := end{e.addrs.Intersect(o.addrs), e.set}
	switch {
	case both.addrs.Empty():
		both.set = nil
	case e.set == nil:
		both.set = o.set
	case o.set != nil && o.set != e.set:
		both = end{addrs: both.addrs.Intersect(e.set.members()).Intersect(o.set.members())}
	}
	return both.settled()
}

// minus is what is in e and not in o.
func (e end) minus(o end) end {
	if o.set != nil && o.set != e.set {
		o = end{addrs: o.addrs.Intersect(o.set.members())}
	}
	return end{e.addrs.Minus(o.addrs), e.set}.settled()
}

// knownWithin tells whether it takes no members to cut o out of e.
func (e end) knownWithin(o end) bool {
	return o.set == e.set || o.set == nil && (e.set == nil || o.addrs.Whole())
}

// Whole tells whether a is all addresses, or all of one family.
func (a Addrs) Whole() bool {
	return a.All() || len(a.ranges) == 1 && (a.ranges[0] == families[0] || a.ranges[0] == families[1])
}

// Has tells whether any address of a family is in a.
func (a Addrs) Has(version uint8) bool {
	if version == 4 {
		return a.hasIPv4()
	}
	return a.hasIPv6()
}
