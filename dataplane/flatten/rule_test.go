package flatten

import (
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/felid-net/felid/dataplane"
)

type packet struct {
	src, dst         netip.Addr
	protocol         uint8
	srcPort, dstPort uint16
	icmpType         uint8
	icmpCode         int16
}

func (m Match) has(p packet) bool {
	return m.Protocols.Contains(p.protocol) && m.Src.Contains(p.src) && m.Dst.Contains(p.dst) &&
		m.SrcPorts.Contains(p.srcPort) && m.DstPorts.Contains(p.dstPort)
}

func anyHas(matches []Match, p packet) bool {
	return slices.ContainsFunc(matches, func(m Match) bool { return m.has(p) })
}

var (
	someNets = prefixes("10.0.0.0/8", "10.0.0.0/31", "10.0.0.1/32", "10.0.0.2/32", "192.0.2.0/24", "0.0.0.0/0", "fd00::/126", "fd00::1/128", "::/0")
	addrs4   = []string{"10.0.0.0", "10.0.0.1", "10.0.0.2", "10.9.9.9", "192.0.2.1", "203.0.113.1"}
	addrs6   = []string{"fd00::1", "fd00::2", "fd00::9", "2001:db8::1"}
	someSets = map[dataplane.IPSetID]*dataplane.IPSet{
		"none": {ID: "none"},
		"nets": {ID: "nets", Members: members(dataplane.Member{Prefix: someNets[2]}, dataplane.Member{Prefix: someNets[4]}, dataplane.Member{Prefix: someNets[6]})},
		"http": {ID: "http", Type: dataplane.SetAddrPorts, Members: members(
			dataplane.Member{Prefix: someNets[2], Protocol: 6, Port: 2}, dataplane.Member{Prefix: someNets[3], Protocol: 6, Port: 2},
			dataplane.Member{Prefix: someNets[3], Protocol: 6, Port: 3}, dataplane.Member{Prefix: someNets[7], Protocol: 17, Port: 2})},
		"noports": {ID: "noports", Type: dataplane.SetAddrPorts},
	}
)

func members(ms ...dataplane.Member) map[dataplane.Member]struct{} {
	out := map[dataplane.Member]struct{}{}
	for _, m := range ms {
		out[m] = struct{}{}
	}
	return out
}

func drawPacket(t *rapid.T) packet {
	addrs, icmp := addrs4, dataplane.ProtoICMP
	if rapid.Bool().Draw(t, "v6") {
		addrs, icmp = addrs6, dataplane.ProtoICMPv6
	}
	p := packet{protocol: rapid.SampledFrom([]uint8{6, 17, 132, 136, icmp, icmp, 47}).Draw(t, "protocol")}
	p.src, p.dst = netip.MustParseAddr(rapid.SampledFrom(addrs).Draw(t, "src")), netip.MustParseAddr(rapid.SampledFrom(addrs).Draw(t, "dst"))
	if portProtocols.Contains(p.protocol) {
		p.srcPort, p.dstPort = rapid.Uint16Range(0, 5).Draw(t, "source port"), rapid.Uint16Range(0, 5).Draw(t, "destination port")
	}
	p.icmpType, p.icmpCode = rapid.Uint8Range(7, 9).Draw(t, "type"), int16(rapid.IntRange(0, 1).Draw(t, "code"))
	return p
}

func some[T any](t *rapid.T, label string, from []T) []T {
	if rapid.IntRange(0, 2).Draw(t, "whether "+label) > 0 {
		return nil
	}
	return rapid.SliceOfN(rapid.SampledFrom(from), 1, 2).Draw(t, label)
}

func drawSide(t *rapid.T) dataplane.Side {
	netSets, portSets := []dataplane.IPSetID{"nets", "nets", "none"}, []dataplane.IPSetID{"http", "http", "noports"}
	ranges := []dataplane.PortRange{{Min: 2, Max: 2}, {Min: 3, Max: 4}, {Min: 0, Max: 1}}
	return dataplane.Side{
		Nets: some(t, "nets", someNets), NotNets: some(t, "notNets", someNets[1:5]),
		IPSets: some(t, "sets", netSets), NotIPSets: some(t, "notSets", netSets),
		Ports: some(t, "ports", ranges), PortSets: some(t, "portSets", portSets),
		NotPorts: some(t, "notPorts", ranges), NotPortSets: some(t, "notPortSets", portSets),
	}
}

func drawRule(t *rapid.T) dataplane.Rule {
	number := rapid.SampledFrom([]uint8{0, 0, 0, 6, 17, 1, 58, 47})
	r := dataplane.Rule{
		IPVersion: rapid.SampledFrom([]uint8{0, 0, 4, 6}).Draw(t, "version"),
		Protocol:  number.Draw(t, "protocol"), NotProtocol: number.Draw(t, "notProtocol"),
		Src: drawSide(t), Dst: drawSide(t),
	}
	icmp := rapid.Custom(func(t *rapid.T) *dataplane.ICMP {
		return &dataplane.ICMP{Type: rapid.Uint8Range(7, 9).Draw(t, "type"), Code: int16(rapid.IntRange(-1, 1).Draw(t, "code"))}
	})
	switch rapid.IntRange(0, 5).Draw(t, "icmp") {
	case 0:
		r.ICMP = icmp.Draw(t, "icmp")
	case 1:
		r.NotICMP = icmp.Draw(t, "notICMP")
	}
	return r
}

// matches is the plain reading of the fields of a rule.
func matches(r *dataplane.Rule, p packet) bool {
	version, icmp := uint8(6), dataplane.ProtoICMPv6
	if p.src.Is4() {
		version, icmp = 4, dataplane.ProtoICMP
	}
	isICMP := func(i *dataplane.ICMP) bool {
		return p.protocol == icmp && p.icmpType == i.Type && (i.Code < 0 || i.Code == p.icmpCode)
	}
	return (r.IPVersion == 0 || r.IPVersion == version) &&
		(r.Protocol == 0 || r.Protocol == p.protocol) && (r.NotProtocol == 0 || r.NotProtocol != p.protocol) &&
		(r.ICMP == nil || isICMP(r.ICMP)) && (r.NotICMP == nil || !isICMP(r.NotICMP)) &&
		sideMatches(&r.Src, p.src, p.protocol, p.srcPort) && sideMatches(&r.Dst, p.dst, p.protocol, p.dstPort)
}

func sideMatches(s *dataplane.Side, a netip.Addr, protocol uint8, port uint16) bool {
	contains := func(n netip.Prefix) bool { return n.Contains(a) }
	inSet := func(id dataplane.IPSetID) bool {
		for m := range someSets[id].Members {
			if m.Prefix.Contains(a) {
				return true
			}
		}
		return false
	}
	inRange := func(r dataplane.PortRange) bool {
		return portProtocols.Contains(protocol) && r.Min <= port && port <= r.Max
	}
	inPortSet := func(id dataplane.IPSetID) bool {
		_, ok := someSets[id].Members[dataplane.Member{Prefix: netip.PrefixFrom(a, a.BitLen()), Protocol: protocol, Port: port}]
		return ok && portProtocols.Contains(protocol)
	}
	notInSet := func(id dataplane.IPSetID) bool { return !inSet(id) }
	return (len(s.Nets) == 0 || slices.ContainsFunc(s.Nets, contains)) && !slices.ContainsFunc(s.NotNets, contains) &&
		!slices.ContainsFunc(s.IPSets, notInSet) && !slices.ContainsFunc(s.NotIPSets, inSet) &&
		(len(s.Ports)+len(s.PortSets) == 0 || slices.ContainsFunc(s.Ports, inRange) || slices.ContainsFunc(s.PortSets, inPortSet)) &&
		!slices.ContainsFunc(s.NotPorts, inRange) && !slices.ContainsFunc(s.NotPortSets, inPortSet)
}

func TestMatchesAreTheRule(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawRule(t)
		exact, over := NewSets(someSets).Matches(&r)
		for range 20 {
			p := drawPacket(t)
			want, inExact, inOver := matches(&r, p), anyHas(exact, p), anyHas(over, p)
			if inExact && !want || want && !inOver {
				t.Fatalf("%+v of %+v: %v; exact %v, over %v", p, r, want, inExact, inOver)
			}
			if r.ICMP == nil && r.NotICMP == nil && inExact != inOver {
				t.Fatalf("%+v of %+v: exact %v, over %v", p, r, inExact, inOver)
			}
			if p.protocol != 1 && p.protocol != 58 && inOver != want {
				t.Fatalf("%+v of %+v: types of ICMP made a difference to another protocol", p, r)
			}
		}
		for _, m := range append(exact, over...) {
			if m.Empty() || !(m.SrcPorts.All() && m.DstPorts.All()) && !m.Protocols.Minus(portProtocols).Empty() {
				t.Fatalf("%+v of %+v", m, r)
			}
		}
	})
}

func TestMinusIsDisjoint(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sets := NewSets(someSets)
		ra, rb := drawRule(t), drawRule(t)
		as, _ := sets.Matches(&ra)
		bs, _ := sets.Matches(&rb)
		if len(as) == 0 || len(bs) == 0 {
			return
		}
		a, b := as[0], bs[0]
		left := a.Minus(b)
		if len(left) > 5 {
			t.Fatalf("%d pieces", len(left))
		}
		for range 20 {
			p := drawPacket(t)
			n := 0
			for _, m := range left {
				if m.has(p) {
					n++
				}
			}
			if want := a.has(p) && !b.has(p); want != (n == 1) || n > 1 {
				t.Fatalf("%+v is in %d pieces of %+v minus %+v", p, n, a, b)
			}
			both, ok := a.Intersect(b)
			if (ok && both.has(p)) != (a.has(p) && b.has(p)) {
				t.Fatalf("%+v: intersection of %+v and %+v", p, a, b)
			}
		}
	})
}
