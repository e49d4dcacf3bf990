package flatten

import (
	"encoding/binary"
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

// appendKey appends what is the same for equal sets alone.
func (a Addrs) appendKey(key []byte) []byte {
	key = binary.BigEndian.AppendUint32(key, uint32(len(a.ranges)))
	if !a.limited {
		return append(key, '*')
	}
	for _, r := range a.ranges {
		from, to := r.From().As16(), r.To().As16()
		key = append(append(key, from[:]...), to[:]...)
	}
	return append(key, '.')
}

// Union is what is in either.
func (p Ports) Union(q Ports) Ports {
	if p.All() || q.All() {
		return Ports{}
	}
	return PortsOf(slices.Concat(p.ranges, q.ranges)...)
}

func (p Ports) appendKey(key []byte) []byte {
	key = binary.BigEndian.AppendUint32(key, uint32(len(p.ranges)))
	if !p.limited {
		return append(key, '*')
	}
	for _, r := range p.ranges {
		key = binary.BigEndian.AppendUint32(key, uint32(r.Min)<<16|uint32(r.Max))
	}
	return append(key, '.')
}

// Union is what is in either.
func (p Protocols) Union(q Protocols) Protocols {
	for i := range p.missing {
		p.missing[i] &= q.missing[i]
	}
	return p
}

// Merge writes disjoint matches as fewer, which are disjoint and have the same packets: those that differ in one set alone become one.
func Merge(matches []Match) []Match {
	for {
		before := len(matches)
		matches = mergeBy(matches, func(m *Match) *Match { return &Match{m.Protocols, m.Src, AddrsOf(), m.SrcPorts, m.DstPorts} },
			func(m *Match, o Match) { m.Dst = m.Dst.Union(o.Dst) })
		matches = mergeBy(matches, func(m *Match) *Match { return &Match{m.Protocols, AddrsOf(), m.Dst, m.SrcPorts, m.DstPorts} },
			func(m *Match, o Match) { m.Src = m.Src.Union(o.Src) })
		matches = mergeBy(matches, func(m *Match) *Match { return &Match{m.Protocols, m.Src, m.Dst, m.SrcPorts, PortsOf()} },
			func(m *Match, o Match) { m.DstPorts = m.DstPorts.Union(o.DstPorts) })
		matches = mergeBy(matches, func(m *Match) *Match { return &Match{m.Protocols, m.Src, m.Dst, PortsOf(), m.DstPorts} },
			func(m *Match, o Match) { m.SrcPorts = m.SrcPorts.Union(o.SrcPorts) })
		matches = mergeBy(matches, func(m *Match) *Match { return &Match{ProtocolsOf(), m.Src, m.Dst, m.SrcPorts, m.DstPorts} },
			func(m *Match, o Match) { m.Protocols = m.Protocols.Union(o.Protocols) })
		if len(matches) == before {
			return matches
		}
	}
}

// mergeBy merges those whose rests are the same: what is left of a match without the set that add joins.
func mergeBy(matches []Match, rest func(*Match) *Match, add func(*Match, Match)) []Match {
	var out []Match
	at := make(map[string]int, len(matches))
	for i := range matches {
		key := rest(&matches[i]).key()
		if n, ok := at[key]; ok {
			add(&out[n], matches[i])
			continue
		}
		at[key] = len(out)
		out = append(out, matches[i])
	}
	return out
}

// key is the same for equal matches alone.
func (m *Match) key() string {
	var key []byte
	for _, word := range m.Protocols.missing {
		key = binary.BigEndian.AppendUint64(key, word)
	}
	key = m.DstPorts.appendKey(m.SrcPorts.appendKey(key))
	return string(m.Dst.appendKey(m.Src.appendKey(key)))
}
