package flatten

// Match has the packets that are in all of its sets. The zero value has every packet. Where ports are limited, protocols are to
// be limited to those that have some.
type Match struct {
	Protocols          Protocols
	Src, Dst           Addrs
	SrcPorts, DstPorts Ports
	// SrcSet and DstSet: the address is a member of that set besides; nil: of none. Src and Dst are then all addresses, or all of a family.
	SrcSet, DstSet *Symbol
}

// Everything tells whether m has every packet.
func (m Match) Everything() bool {
	return m.Protocols.All() && m.Src.All() && m.Dst.All() && m.SrcPorts.All() && m.DstPorts.All() && !m.symbolic()
}

// Empty tells whether m has none.
func (m Match) Empty() bool {
	return m.Protocols.Empty() || m.SrcPorts.Empty() || m.DstPorts.Empty() || m.Src.Empty() || m.Dst.Empty()
}

// Intersect is what is in both; false when that is nothing.
func (m Match) Intersect(o Match) (Match, bool) {
	out := Match{
		Protocols: m.Protocols.Intersect(o.Protocols),
		SrcPorts:  m.SrcPorts.Intersect(o.SrcPorts),
		DstPorts:  m.DstPorts.Intersect(o.DstPorts),
	}
	if out.Protocols.Empty() || out.SrcPorts.Empty() || out.DstPorts.Empty() || !m.Src.overlaps(o.Src) || !m.Dst.overlaps(o.Dst) {
		return Match{}, false
	}
	if !m.symbolic() && !o.symbolic() {
		out.Src, out.Dst = m.Src.Intersect(o.Src), m.Dst.Intersect(o.Dst)
		return out, true
	}
	src, dst := m.src().intersect(o.src()), m.dst().intersect(o.dst())
	out.Src, out.SrcSet, out.Dst, out.DstSet = src.addrs, src.set, dst.addrs, dst.set
	return out, !out.Src.Empty() && !out.Dst.Empty()
}

// overlaps tells whether any packet is in both, whoever the members of sets are; it is cheaper than an intersection.
func (m Match) overlaps(o Match) bool { return m.meets(&o) }

// meets is overlaps without copies.
func (m *Match) meets(o *Match) bool {
	return m.DstPorts.overlaps(o.DstPorts) && m.SrcPorts.overlaps(o.SrcPorts) && m.Protocols.overlaps(&o.Protocols) && m.Src.overlaps(o.Src) && m.Dst.overlaps(o.Dst)
}

// anyMeets tells whether any of matches overlaps o.
func anyMeets(matches []Match, o *Match) bool {
	for i := range matches {
		if matches[i].meets(o) {
			return true
		}
	}
	return false
}

// covers tells whether all packets of o are in m, as far as that is known without members of sets.
func (m Match) covers(o Match) bool {
	return (m.SrcSet == nil || m.SrcSet == o.SrcSet) && (m.DstSet == nil || m.DstSet == o.DstSet) &&
		o.Protocols.Minus(m.Protocols).Empty() && (m.SrcPorts.All() || o.SrcPorts.Minus(m.SrcPorts).Empty()) &&
		(m.DstPorts.All() || o.DstPorts.Minus(m.DstPorts).Empty()) && o.Src.within(m.Src) && o.Dst.within(m.Dst)
}

// Minus is what is in m and not in o, as disjoint matches: at most one per set of a Match.
func (m Match) Minus(o Match) []Match {
	if !m.overlaps(o) {
		return []Match{m}
	}
	var out []Match
	// Each piece differs from o in one set, and agrees with it in those before; rest is what agrees so far.
	rest := m
	cut := func(piece Match) {
		if !piece.Empty() {
			out = append(out, piece)
		}
	}
	piece := rest
	piece.Protocols = rest.Protocols.Minus(o.Protocols)
	cut(piece)
	rest.Protocols = rest.Protocols.Intersect(o.Protocols)

	piece = rest
	piece.SrcPorts = rest.SrcPorts.Minus(o.SrcPorts)
	cut(piece)
	rest.SrcPorts = rest.SrcPorts.Intersect(o.SrcPorts)

	piece = rest
	piece.DstPorts = rest.DstPorts.Minus(o.DstPorts)
	cut(piece)
	rest.DstPorts = rest.DstPorts.Intersect(o.DstPorts)

	piece = rest
	piece.setSrc(rest.src().minus(o.src()))
	cut(piece)
	rest.setSrc(rest.src().intersect(o.src()))

	rest.setDst(rest.dst().minus(o.dst()))
	cut(rest)
	return out
}

func (m *Match) setSrc(e end) { m.Src, m.SrcSet = e.addrs, e.set }
func (m *Match) setDst(e end) { m.Dst, m.DstSet = e.addrs, e.set }

// knownLess is m without o, or more of m where it would take members of sets to know, or much work.
func (m Match) knownLess(o Match) []Match {
	if !m.src().knownWithin(o.src()) || !m.dst().knownWithin(o.dst()) || laborious(m.Src, o.Src) || laborious(m.Dst, o.Dst) {
		return []Match{m}
	}
	return m.Minus(o)
}

// laborious tells whether many ranges are to be cut out of a, and something is left of it.
func laborious(a, b Addrs) bool {
	return len(a.ranges)+len(b.ranges) > manyRanges && !a.within(b)
}

// manyRanges are too many to cut for a rule that will hardly be found needless by it.
const manyRanges = 500

// each applies f to every match and joins the results.
func each(matches []Match, f func(Match) []Match) []Match {
	var out []Match
	for _, m := range matches {
		out = append(out, f(m)...)
	}
	return out
}
