package linux

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/felid-net/felid/dataplane"
)

// largeState has the shape of a busy node: 250 endpoints, 600 policies of six rules, 940 sets with 18,000 members.
func largeState() *dataplane.State {
	s := dataplane.NewState()
	s.Host = dataplane.Host{Node: "n", Owner: true, InterfacePrefix: "fld", WorkloadToHost: dataplane.Pass}
	s.NAT = dataplane.NAT{Masquerade: prefixes("10.64.0.0/12"), Exclude: prefixes("10.64.0.0/12")}
	for i := range 940 {
		id := dataplane.IPSetID("s" + hashed(fmt.Sprint("set", i), 20))
		set := &dataplane.IPSet{ID: id, Text: fmt.Sprintf("app == \"app-%d\"", i), Members: map[dataplane.Member]struct{}{}}
		for j := range 19 {
			n := i*19 + j
			set.Members[dataplane.Member{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 66, byte(n >> 8), byte(n)}), 32)}] = struct{}{}
		}
		s.IPSets[id] = set
	}
	for i := range 600 {
		p := largePolicy(i)
		s.Policies[p.ID] = p
	}
	profile := addPolicy(s, &dataplane.Policy{ID: allowAll, Ingress: []dataplane.Rule{{Action: dataplane.Allow}}, Egress: []dataplane.Rule{{Action: dataplane.Allow}}})
	for i := range 250 {
		id := dataplane.EndpointID(fmt.Sprint("pod/ns/l-", i))
		var list []dataplane.PolicyID
		for j := range 5 {
			list = append(list, largePolicy((i*5+j)%600).ID)
		}
		s.Endpoints[id] = &dataplane.Endpoint{
			ID: id, Interface: fmt.Sprintf("fld%011x", i*0x1357913579&0xfffffffffff), Addresses: []netip.Addr{netip.AddrFrom4([4]byte{10, 65, byte(i >> 8), byte(i)})},
			Tiers:    []dataplane.EndpointTier{{Name: "default", Ingress: list, Egress: list, Default: dataplane.Deny}},
			Profiles: []dataplane.PolicyID{profile},
		}
	}
	return s
}

// largePolicy is one of six rules, three with sets on each side.
func largePolicy(i int) *dataplane.Policy {
	set := func(n int) dataplane.Side {
		return dataplane.Side{IPSets: []dataplane.IPSetID{dataplane.IPSetID("s" + hashed(fmt.Sprint("set", (i*3+n)%940), 20))}}
	}
	with := func(s dataplane.Side, ports ...uint16) dataplane.Side {
		for _, p := range ports {
			s.Ports = append(s.Ports, dataplane.PortRange{Min: p, Max: p})
		}
		return s
	}
	any := dataplane.Side{}
	net := func(first, second int) dataplane.Side {
		return dataplane.Side{Nets: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(first), byte(second), byte(i), 0}), 24)}}
	}
	return &dataplane.Policy{
		ID: dataplane.PolicyID{Kind: "NetworkPolicy", Namespace: fmt.Sprintf("ns-%03d", i%500), Name: fmt.Sprintf("p-%05d", i)}, Tier: "default",
		Ingress: []dataplane.Rule{
			{Action: dataplane.Allow, Protocol: 6, Src: set(0), Dst: with(any, 80, 443)},
			{Action: dataplane.Allow, Protocol: 6, Src: set(1), Dst: with(any, 8080)},
			{Action: dataplane.Allow, Protocol: 17, Src: net(172, 16), Dst: with(any, 53)},
		},
		Egress: []dataplane.Rule{
			{Action: dataplane.Allow, Protocol: 6, Dst: with(set(2), 5432)}, {Action: dataplane.Allow, Protocol: 17, Dst: with(set(3), 53)},
			{Action: dataplane.Allow, Protocol: 6, Dst: net(192, 168)},
		},
	}
}

// BenchmarkRenderLarge renders everything and writes it out as text.
func BenchmarkRenderLarge(b *testing.B) {
	s := largeState()
	b.ReportAllocs()
	for b.Loop() {
		r := Render(s, RenderConfig{})
		if len(r.RestoreText(IPv4, "filter"))+len(r.IPSetText()) < 1<<20 {
			b.Fatal("too little text")
		}
	}
}

// BenchmarkRecordLarge is what the driver does instead, at its start.
func BenchmarkRecordLarge(b *testing.B) {
	s := largeState()
	b.ReportAllocs()
	for b.Loop() {
		newHeld().take(b, s, nil)
	}
}

// BenchmarkRecordEndpoint is one endpoint that comes and goes.
func BenchmarkRecordEndpoint(b *testing.B) {
	s, h := largeState(), newHeld()
	h.take(b, s, nil)
	id := dataplane.EndpointID("pod/ns/l-7")
	ep := s.Endpoints[id]
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if delete(s.Endpoints, id); i%2 == 1 {
			s.Endpoints[id] = ep
		}
		h.take(b, s, changed([]dataplane.EndpointID{id}))
	}
}

// changed names endpoints and policies.
func changed(endpoints []dataplane.EndpointID, policies ...dataplane.PolicyID) *dataplane.Changes {
	c := dataplane.NewChanges()
	for _, id := range endpoints {
		c.Endpoints[id] = struct{}{}
	}
	for _, id := range policies {
		c.Policies[id] = struct{}{}
	}
	return c
}
