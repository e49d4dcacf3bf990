package flatten

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"go4.org/netipx"

	"github.com/felid-net/felid/dataplane"
)

// Union is what is in either.
func (a Addrs) Union(b Addrs) Addrs {
	if a.All() || b.All() {
		return Addrs{}
	}
	return a.complement().Intersect(b.complement()).complement()
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

func (a Addrs) text() string { return textOf(a.limited, a.ranges, netipx.IPRange.String) }

// Union is what is in either.
func (p Ports) Union(q Ports) Ports {
	if p.All() || q.All() {
		return Ports{}
	}
	return PortsOf(slices.Concat(p.ranges, q.ranges)...)
}

func (p Ports) text() string {
	return textOf(p.limited, p.ranges, func(r dataplane.PortRange) string { return fmt.Sprint(r.Min, r.Max) })
}

func textOf[T any](limited bool, parts []T, text func(T) string) string {
	if !limited {
		return "all"
	}
	var b strings.Builder
	for _, p := range parts {
		b.WriteString(text(p) + ",")
	}
	return b.String()
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
		key := rest(&matches[i]).text()
		if n, ok := at[key]; ok {
			add(&out[n], matches[i])
			continue
		}
		at[key] = len(out)
		out = append(out, matches[i])
	}
	return out
}

func (m *Match) text() string {
	return fmt.Sprint(m.Protocols.missing, m.SrcPorts.text(), ";", m.DstPorts.text(), ";", m.Src.text(), ";", m.Dst.text())
}
