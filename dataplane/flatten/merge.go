package flatten

import (
	"hash/maphash"
	"net/netip"
	"slices"

	"go4.org/netipx"
)

// Union is what is in either.
func (a Addrs) Union(b Addrs) Addrs {
	if a.All() || b.All() {
		return Addrs{}
	}
	out := make([]netipx.IPRange, 0, len(a.ranges)+len(b.ranges))
	for i, j := 0, 0; i < len(a.ranges) || j < len(b.ranges); {
		var next netipx.IPRange
		if j == len(b.ranges) || i < len(a.ranges) && a.ranges[i].From().Compare(b.ranges[j].From()) <= 0 {
			next = a.ranges[i]
			i++
		} else {
			next = b.ranges[j]
			j++
		}
		out = appendRange(out, next)
	}
	return addrsOf(out)
}

// Equal tells whether both have the same addresses.
func (a Addrs) Equal(b Addrs) bool { return a.limited == b.limited && slices.Equal(a.ranges, b.ranges) }

// Overlaps tells whether any address is in both.
func (a Addrs) Overlaps(b Addrs) bool { return a.overlaps(b) }

// AddrsOfSingles is the set of these addresses.
func AddrsOfSingles(addrs ...netip.Addr) Addrs {
	prefixes := make([]netip.Prefix, len(addrs))
	for i, a := range addrs {
		prefixes[i] = netip.PrefixFrom(a, a.BitLen())
	}
	return AddrsOf(prefixes...)
}

// Union is what is in either.
func (p Ports) Union(q Ports) Ports {
	if p.All() || q.All() {
		return Ports{}
	}
	return PortsOf(slices.Concat(p.ranges, q.ranges)...)
}

// Union is what is in either.
func (p Protocols) Union(q Protocols) Protocols {
	for i := range p.missing {
		p.missing[i] &= q.missing[i]
	}
	return p
}

// set is one of the sets of a Match.
type set uint8

const (
	setProtocols set = iota
	setSrc
	setDst
	setSrcPorts
	setDstPorts
)

// Merge writes matches as fewer, which have the same packets, and are disjoint where the matches are: those that differ in one set alone become
// one.
func Merge(matches []Match) []Match {
	for {
		before := len(matches)
		for _, in := range []set{setDst, setSrc, setDstPorts, setSrcPorts, setProtocols} {
			matches = mergeIn(in, matches)
		}
		if len(matches) == before {
			return matches
		}
	}
}

// mergeIn merges those that are equal but for one set.
func mergeIn(in set, matches []Match) []Match {
	if len(matches) < 2 {
		return matches
	}
	var hash maphash.Hash
	groups := make([][]Match, 0, len(matches))
	byHash := make(map[uint64][]int, len(matches)) // indices of groups
	for i := range matches {
		m := &matches[i]
		hash.Reset()
		m.writeTo(&hash, in)
		sum := hash.Sum64()
		at := slices.IndexFunc(byHash[sum], func(n int) bool { return m.equalBut(&groups[n][0], in) })
		if at < 0 {
			byHash[sum] = append(byHash[sum], len(groups))
			groups = append(groups, matches[i:i+1:i+1])
			continue
		}
		n := byHash[sum][at]
		groups[n] = append(groups[n], *m)
	}
	out := make([]Match, len(groups))
	for i, g := range groups {
		out[i] = joined(in, g)
	}
	return out
}

// equalBut tells whether two matches differ in no set but one.
func (m *Match) equalBut(o *Match, in set) bool {
	return m.SrcSet == o.SrcSet && m.DstSet == o.DstSet && (in == setProtocols || m.Protocols == o.Protocols) && (in == setSrcPorts || m.SrcPorts.Equal(o.SrcPorts)) &&
		(in == setDstPorts || m.DstPorts.Equal(o.DstPorts)) && (in == setSrc || m.Src.Equal(o.Src)) && (in == setDst || m.Dst.Equal(o.Dst))
}

// joined is one match of several that are equal but for one set.
func joined(in set, group []Match) Match {
	out := group[0]
	var ranges []netipx.IPRange
	for _, m := range group[1:] {
		switch in {
		case setProtocols:
			out.Protocols = out.Protocols.Union(m.Protocols)
		case setSrcPorts:
			out.SrcPorts = out.SrcPorts.Union(m.SrcPorts)
		case setDstPorts:
			out.DstPorts = out.DstPorts.Union(m.DstPorts)
		}
	}
	if len(group) == 1 || in != setSrc && in != setDst {
		return out
	}
	of := func(m *Match) *Addrs {
		if in == setSrc {
			return &m.Src
		}
		return &m.Dst
	}
	for i := range group {
		if of(&group[i]).All() {
			*of(&out) = Addrs{}
			return out
		}
		ranges = append(ranges, of(&group[i]).ranges...)
	}
	*of(&out) = addrsOfRanges(ranges)
	return out
}

// writeTo writes all sets but one to a hash.
func (m *Match) writeTo(h *maphash.Hash, but set) {
	if but != setProtocols {
		maphash.WriteComparable(h, m.Protocols)
	}
	for _, a := range []struct {
		in set
		Addrs
	}{{setSrc, m.Src}, {setDst, m.Dst}} {
		if a.in != but {
			maphash.WriteComparable(h, len(a.ranges))
			for _, r := range a.ranges {
				from, to := r.From().As16(), r.To().As16()
				h.Write(from[:])
				h.Write(to[:])
			}
		}
	}
	for _, p := range []struct {
		in set
		Ports
	}{{setSrcPorts, m.SrcPorts}, {setDstPorts, m.DstPorts}} {
		if p.in != but {
			maphash.WriteComparable(h, len(p.ranges))
			for _, r := range p.ranges {
				maphash.WriteComparable(h, r)
			}
		}
	}
}
