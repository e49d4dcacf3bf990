package flatten

import (
	"math/bits"
	"net/netip"
)

// Packet is one packet of a Match, both of whose addresses are of one family. DstPort of ICMP is as in Sets.Exact.
type Packet struct {
	Src, Dst         netip.Addr
	Protocol         uint8
	SrcPort, DstPort uint16
}

// Example is the first packet of a match, by family, then by protocol, addresses and ports; false where it has none.
func (m Match) Example() (Packet, bool) {
	if !m.possible() {
		return Packet{}, false
	}
	version := uint8(4)
	if !m.Src.hasIPv4() || !m.Dst.hasIPv4() {
		version = 6
	}
	return Packet{
		Src: m.Src.first(version), Dst: m.Dst.first(version), Protocol: m.Protocols.first(),
		SrcPort: m.SrcPorts.Ranges()[0].Min, DstPort: m.DstPorts.Ranges()[0].Min,
	}, true
}

// Contains tells whether a packet is in m.
func (m Match) Contains(p Packet) bool {
	return m.Protocols.Contains(p.Protocol) && m.DstPorts.Contains(p.DstPort) && m.SrcPorts.Contains(p.SrcPort) && m.Src.Contains(p.Src) && m.Dst.Contains(p.Dst)
}

// first is the lowest address of a family of which a has some.
func (a Addrs) first(version uint8) netip.Addr {
	if a.All() {
		return Family(version).ranges[0].From()
	}
	for _, r := range a.ranges {
		if r.From().Is4() == (version == 4) {
			return r.From()
		}
	}
	panic("flatten: no address of that family")
}

// first is the lowest protocol of a set that has some.
func (p Protocols) first() uint8 {
	for i, word := range p.missing {
		if word != ^uint64(0) {
			return uint8(64*i + bits.TrailingZeros64(^word))
		}
	}
	panic("flatten: no protocol")
}
