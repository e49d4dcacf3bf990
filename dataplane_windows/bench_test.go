package windows

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/felid-net/felid/dataplane"
)

// manyPolicies is an endpoint that n policies select, each with rules of its own: from a set of 40 pods to a port or two, every fourth with one to the
// outside besides.
func manyPolicies(n int) *dataplane.State {
	s := state(nil, nil)
	ep := s.Endpoints[testID]
	tier := dataplane.EndpointTier{Name: "default", Default: dataplane.Deny}
	for i := range n {
		id := dataplane.PolicyID{Kind: "NetworkPolicy", Namespace: "a", Name: fmt.Sprintf("p%03d", i)}
		pods := dataplane.IPSetID(fmt.Sprintf("pods-%d", i))
		s.IPSets[pods] = podSet(pods, 40, i)
		p := &dataplane.Policy{ID: id, Tier: "default", Ingress: []dataplane.Rule{{
			Action: dataplane.Allow, Protocol: 6, Src: dataplane.Side{IPSets: []dataplane.IPSetID{pods}},
			Dst: dataplane.Side{Ports: []dataplane.PortRange{{Min: uint16(8000 + i), Max: uint16(8000 + i)}}},
		}}}
		if tier.Ingress = append(tier.Ingress, id); i%4 == 0 {
			net := netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, byte(i / 4), 0}), 24)
			p.Egress = []dataplane.Rule{{
				Action: dataplane.Allow, Protocol: 6, Dst: dataplane.Side{Nets: []netip.Prefix{net}, Ports: []dataplane.PortRange{{Min: uint16(i), Max: uint16(i)}}},
			}}
			tier.Egress = append(tier.Egress, id)
		}
		s.Policies[id] = p
	}
	ep.Tiers = []dataplane.EndpointTier{tier}
	return s
}

// podSet has n addresses of pods, scattered over the nodes of a cluster.
func podSet(id dataplane.IPSetID, n, seed int) *dataplane.IPSet {
	out := set(id, dataplane.SetNets)
	x := uint32(seed)*2654435761 + 1
	for range n {
		x = x*1664525 + 1013904223
		out.Members[dataplane.Member{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 128 | byte(x>>28), byte(x >> 20), byte(x >> 12)}), 32)}] = struct{}{}
	}
	return out
}

// tiersWithPass are five tiers of a hundred rules each, ten of which are Pass and stand among the others; rules of one tier are about nets and
// ports of its own, which meet those of the others.
func tiersWithPass(tiers, rules, passes int) *dataplane.State {
	s := state(nil, nil)
	ep := s.Endpoints[testID]
	ep.Tiers = nil
	for t := range tiers {
		id := dataplane.PolicyID{Kind: "GlobalNetworkPolicy", Name: fmt.Sprintf("tier%d", t)}
		p := &dataplane.Policy{ID: id, Tier: fmt.Sprint(t)}
		for i := range rules {
			r := dataplane.Rule{Index: i, Action: dataplane.Allow, Protocol: 6}
			net := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i*2 + t), byte(16 * t), 0}), 20)
			if i%3 == 1 {
				r.Action = dataplane.Deny
			}
			port := uint16(1000 + (i*7+t*13)%400)
			r.Dst.Ports = []dataplane.PortRange{{Min: port, Max: port + uint16(i%5)}}
			if i%(rules/passes) == 3 {
				r.Action, net = dataplane.Pass, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i * 2), 0, 0}), 12).Masked()
				r.Dst.Ports = []dataplane.PortRange{{Min: uint16(1000 + i), Max: uint16(1150 + i)}}
			}
			r.Src.Nets = []netip.Prefix{net}
			p.Ingress = append(p.Ingress, r)
		}
		s.Policies[id] = p
		ep.Tiers = append(ep.Tiers, dataplane.EndpointTier{Name: fmt.Sprint(t), Ingress: []dataplane.PolicyID{id}, Default: dataplane.Deny})
	}
	return s
}

var bothForms = []Form{{IPv6: true}, {IPv6: true, Sets: true}}

// TestFiveHundredPolicies are fewer than 1,000 rules.
func TestFiveHundredPolicies(t *testing.T) {
	for _, form := range bothForms {
		if l := Render(manyPolicies(500), testID, Options{Form: form}); len(l.ACLs) >= 1000 || len(l.Unsupported) > 0 {
			t.Errorf("%s: %d ACLs, unsupported %v", form, len(l.ACLs), l.Unsupported)
		}
	}
}

func BenchmarkPolicies(b *testing.B) {
	for _, n := range []int{500, 1000} {
		s := manyPolicies(n)
		for _, form := range bothForms {
			b.Run(fmt.Sprintf("policies=%d/%s", n, form), func(b *testing.B) {
				b.ReportAllocs()
				acls := 0
				for b.Loop() {
					l := Render(s, testID, Options{Form: form})
					acls = len(l.ACLs)
				}
				b.ReportMetric(float64(acls), "ACLs")
			})
		}
	}
}

func BenchmarkTiersWithPass(b *testing.B) {
	for _, c := range [][3]int{{5, 100, 10}, {5, 200, 10}, {5, 100, 20}} {
		s := tiersWithPass(c[0], c[1], c[2])
		b.Run(fmt.Sprintf("tiers=%d/rules=%d/pass=%d", c[0], c[1], c[2]), func(b *testing.B) {
			b.ReportAllocs()
			acls := 0
			for b.Loop() {
				l := Render(s, testID, Options{Form: Form{IPv6: true}})
				acls = len(l.ACLs)
				if len(l.Unsupported) > 0 {
					b.Fatal(l.Unsupported[0])
				}
			}
			b.ReportMetric(float64(acls), "ACLs")
		})
	}
}
