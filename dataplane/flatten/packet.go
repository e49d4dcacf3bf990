package flatten

import (
	"math/bits"
	"net/netip"

	"github.com/felid-net/felid/dataplane"
)

// Packet is one packet of a Match, both of whose addresses are of one family. DstPort of ICMP is as in Sets.Exact.
type Packet struct {
	Src, Dst         netip.Addr
	Protocol         uint8
	SrcPort, DstPort uint16
}

// Example is a packet of a match, an ordinary one where it has such: IPv4 and TCP, from a port that clients use; false where it has none.
func (m Match) Example() (Packet, bool) {
	if !m.possible() {
		return Packet{}, false
	}
	version := uint8(4)
	if !m.Src.hasIPv4() || !m.Dst.hasIPv4() {
		version = 6
	}
	return Packet{
		Src: m.Src.first(version), Dst: m.Dst.first(version), Protocol: m.Protocols.example(), SrcPort: m.SrcPorts.example(49152), DstPort: m.DstPorts.example(1),
	}, true
}

// Contains tells whether a packet is in m, if its addresses are in the sets that m asks for.
func (m Match) Contains(p Packet) bool { return m.contains(&p) }

func (m *Match) contains(p *Packet) bool {
	return m.DstPorts.Contains(p.DstPort) && m.Protocols.Contains(p.Protocol) && m.SrcPorts.Contains(p.SrcPort) && m.Src.Contains(p.Src) && m.Dst.Contains(p.Dst)
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

func (p Protocols) example() uint8 {
	for _, n := range []uint8{dataplane.ProtoTCP, dataplane.ProtoUDP, dataplane.ProtoICMP, dataplane.ProtoICMPv6} {
		if p.Contains(n) {
			return n
		}
	}
	for i, word := range p.missing {
		if word != ^uint64(0) {
			return uint8(64*i + bits.TrailingZeros64(^word))
		}
	}
	panic("flatten: no protocol")
}

// example is the first port from a given one on, else the lowest.
func (p Ports) example(from uint16) uint16 {
	ranges := p.Ranges()
	for _, r := range ranges {
		if r.Max >= from {
			return max(r.Min, from)
		}
	}
	return ranges[0].Min
}
