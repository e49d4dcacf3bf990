package flatten

import (
	"cmp"
	"slices"

	"github.com/felid-net/felid/dataplane"
)

// Ports is an immutable set of port numbers. The zero value has all of them.
type Ports struct {
	limited bool
	ranges  []dataplane.PortRange // sorted, not touching one another
}

// PortsOf is the union of ranges; of none, the empty set.
func PortsOf(ranges ...dataplane.PortRange) Ports {
	sorted := slices.SortedFunc(slices.Values(ranges), func(a, b dataplane.PortRange) int { return cmp.Compare(a.Min, b.Min) })
	var out []dataplane.PortRange
	for _, r := range sorted {
		last := len(out) - 1
		switch {
		case r.Min > r.Max:
		case last >= 0 && int(r.Min) <= int(out[last].Max)+1:
			out[last].Max = max(out[last].Max, r.Max)
		default:
			out = append(out, r)
		}
	}
	if len(out) == 1 && out[0] == (dataplane.PortRange{Max: 65535}) {
		return Ports{}
	}
	return Ports{limited: true, ranges: out}
}

// All tells whether every port is in p.
func (p Ports) All() bool { return !p.limited }

// Empty tells whether none is.
func (p Ports) Empty() bool { return p.limited && len(p.ranges) == 0 }

// Ranges are sorted and do not touch one another.
func (p Ports) Ranges() []dataplane.PortRange {
	if p.All() {
		return []dataplane.PortRange{{Min: 0, Max: 65535}}
	}
	return p.ranges
}

// Contains tells whether port is in p.
func (p Ports) Contains(port uint16) bool {
	return p.All() || slices.ContainsFunc(p.ranges, func(r dataplane.PortRange) bool { return r.Min <= port && port <= r.Max })
}

// Intersect is what is in both.
func (p Ports) Intersect(q Ports) Ports {
	if p.All() {
		return q
	}
	if q.All() {
		return p
	}
	var out []dataplane.PortRange
	for i, j := 0, 0; i < len(p.ranges) && j < len(q.ranges); {
		a, b := p.ranges[i], q.ranges[j]
		if low, high := max(a.Min, b.Min), min(a.Max, b.Max); low <= high {
			out = append(out, dataplane.PortRange{Min: low, Max: high})
		}
		if a.Max < b.Max {
			i++
		} else {
			j++
		}
	}
	return Ports{limited: true, ranges: out}
}

// overlaps tells whether any port is in both.
func (p Ports) overlaps(q Ports) bool {
	if p.All() || q.All() {
		return !p.Empty() && !q.Empty()
	}
	for i, j := 0, 0; i < len(p.ranges) && j < len(q.ranges); {
		a, b := p.ranges[i], q.ranges[j]
		if max(a.Min, b.Min) <= min(a.Max, b.Max) {
			return true
		}
		if a.Max < b.Max {
			i++
		} else {
			j++
		}
	}
	return false
}

// Equal tells whether both have the same ports.
func (p Ports) Equal(q Ports) bool { return p.limited == q.limited && slices.Equal(p.ranges, q.ranges) }

// Minus is what is in p and not in q.
func (p Ports) Minus(q Ports) Ports { return p.Intersect(q.complement()) }

func (p Ports) complement() Ports {
	if p.All() {
		return PortsOf()
	}
	var out []dataplane.PortRange
	next := 0
	for _, r := range p.ranges {
		if int(r.Min) > next {
			out = append(out, dataplane.PortRange{Min: uint16(next), Max: r.Min - 1})
		}
		next = int(r.Max) + 1
	}
	if next <= 65535 {
		out = append(out, dataplane.PortRange{Min: uint16(next), Max: 65535})
	}
	return PortsOf(out...)
}

// Protocols is a set of IANA numbers. The zero value has all of them.
type Protocols struct {
	missing [4]uint64
}

// ProtocolsOf has exactly these.
func ProtocolsOf(numbers ...uint8) Protocols {
	p := Protocols{missing: [4]uint64{^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)}}
	for _, n := range numbers {
		p.missing[n/64] &^= 1 << (n % 64)
	}
	return p
}

// portProtocols are those whose ports a rule can match.
var portProtocols = ProtocolsOf(dataplane.ProtoTCP, dataplane.ProtoUDP, dataplane.ProtoSCTP, dataplane.ProtoUDPLite)

// All tells whether every protocol is in p.
func (p Protocols) All() bool { return p == Protocols{} }

// Empty tells whether none is.
func (p Protocols) Empty() bool { return p == ProtocolsOf() }

// Contains tells whether a protocol is in p.
func (p Protocols) Contains(number uint8) bool { return p.missing[number/64]>>(number%64)&1 == 0 }

// Intersect is what is in both.
func (p Protocols) Intersect(q Protocols) Protocols {
	for i := range p.missing {
		p.missing[i] |= q.missing[i]
	}
	return p
}

// overlaps tells whether any protocol is in both.
func (p *Protocols) overlaps(q *Protocols) bool {
	for i := range p.missing {
		if p.missing[i]|q.missing[i] != ^uint64(0) {
			return true
		}
	}
	return false
}

// Minus is what is in p and not in q.
func (p Protocols) Minus(q Protocols) Protocols {
	for i := range p.missing {
		p.missing[i] |= ^q.missing[i]
	}
	return p
}

// Numbers in p, in order.
func (p Protocols) Numbers() []uint8 {
	var out []uint8
	for n := range 256 {
		if p.Contains(uint8(n)) {
			out = append(out, uint8(n))
		}
	}
	return out
}
