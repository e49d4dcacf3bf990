package linux

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/felid-net/felid/dataplane"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestCoverHoldsWhatRulesMatch: each address and port that a rule is narrowed to is in what its cover is written from.
func TestCoverHoldsWhatRulesMatch(t *testing.T) {
	port := func(ports ...uint16) (out []dataplane.PortRange) {
		for _, p := range ports {
			out = append(out, dataplane.PortRange{Min: p, Max: p})
		}
		return out
	}
	for _, c := range []struct {
		what  string
		rules []dataplane.Rule
		want  []string
	}{
		{"ports of two protocols", []dataplane.Rule{
			{Action: dataplane.Allow, Protocol: 6, Dst: dataplane.Side{Ports: port(443, 80)}}, {Action: dataplane.Deny, Protocol: 6, Dst: dataplane.Side{Ports: port(81)}},
			{Action: dataplane.Allow, Protocol: 17, Dst: dataplane.Side{Ports: port(53)}},
		}, []string{"-p tcp -m multiport --dports 80:81,443 ", "-p udp -m multiport --dports 53 "}},
		{"nets", []dataplane.Rule{
			{Action: dataplane.Allow, Dst: dataplane.Side{Nets: prefixes("10.0.0.0/8", "fd00::/64")}}, {Action: dataplane.Pass, Protocol: 6, Src: dataplane.Side{Nets: prefixes("10.1.0.0/16")}},
		}, []string{"-d 10.0.0.0/8 ", "-s 10.1.0.0/16 -p tcp "}},
		{"sets", []dataplane.Rule{{Action: dataplane.Allow, Src: dataplane.Side{IPSets: []dataplane.IPSetID{"a", "b"}}}}, []string{"-m set --match-set felid4-a src "}},
		{"any TCP makes ports of TCP idle", []dataplane.Rule{
			{Action: dataplane.Allow, Protocol: 6, Dst: dataplane.Side{Ports: port(80)}}, {Action: dataplane.Allow, Protocol: 6},
		}, []string{"-p tcp "}},
		{"other family", []dataplane.Rule{{Action: dataplane.Allow, IPVersion: 6}, {Action: dataplane.Allow, Protocol: 1}}, []string{"-p icmp "}},
		{"Log", []dataplane.Rule{{Action: dataplane.Log, Protocol: 6, Dst: dataplane.Side{Ports: port(80)}}}, anyMatch},
		{"ports without protocol", []dataplane.Rule{{Action: dataplane.Deny, Dst: dataplane.Side{Ports: port(80)}}}, anyMatch},
		{"named ports", []dataplane.Rule{{Action: dataplane.Allow, Protocol: 6, Dst: dataplane.Side{Ports: port(80), PortSets: []dataplane.IPSetID{"http"}}}}, []string{"-p tcp "}},
	} {
		if diff := cmp.Diff(c.want, coverOf(IPv4, c.rules).matches()); diff != "" {
			t.Errorf("%s: -want +got\n%s", c.what, diff)
		}
	}
}

func TestMergedNetsCoverAll(t *testing.T) {
	if diff := cmp.Diff(prefixes("10.0.0.0/14", "172.16.0.0/12", "192.168.0.0/16"), mergeNets(prefixes("192.168.0.0/16", "10.3.0.0/16", "10.1.0.0/16", "172.16.0.0/12", "192.168.7.0/24")),
		cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	rapid.Check(t, func(t *rapid.T) {
		var nets []netip.Prefix
		for range rapid.IntRange(1, 12).Draw(t, "nets") {
			a := rapid.Uint32().Draw(t, "address")
			nets = append(nets, netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(a >> 24), byte(a >> 16), byte(a >> 8), byte(a)}), rapid.IntRange(1, 32).Draw(t, "bits")).Masked())
		}
		merged := mergeNets(nets)
		if len(merged) > maxReachNets {
			t.Errorf("%d nets", len(merged))
		}
		for _, n := range nets {
			if !slices.ContainsFunc(merged, func(m netip.Prefix) bool { return m.Bits() <= n.Bits() && m.Contains(n.Addr()) }) {
				t.Errorf("%v do not cover %v", merged, n)
			}
		}
	})
}

// crowd is a host with so many endpoints that have n policies in common, each with rules of its own.
func crowd(endpoints, n int) *dataplane.State {
	s := dataplane.NewState()
	s.Host = dataplane.Host{Owner: true, InterfacePrefix: "fld"}
	var list []dataplane.PolicyID
	for i := range n {
		list = append(list, addPolicy(s, &dataplane.Policy{ID: policyID(fmt.Sprintf("p%03d", i)), Tier: "default", Ingress: []dataplane.Rule{
			{Action: dataplane.Allow, Protocol: 6, Dst: dataplane.Side{Ports: []dataplane.PortRange{{Min: uint16(1000 + i), Max: uint16(1000 + i)}}}},
		}}))
	}
	for i := range endpoints {
		id := dataplane.EndpointID(fmt.Sprint("pod/a/", i))
		s.Endpoints[id] = &dataplane.Endpoint{ID: id, Interface: fmt.Sprintf("fld%03d", i), Addresses: addresses("10.0.0.1"),
			Tiers: []dataplane.EndpointTier{{Name: "default", Ingress: slices.Clone(list), Default: dataplane.Deny}}}
	}
	return s
}

// TestEndpointsShareGroups: endpoints with the same policies have chains of a few rules, whatever the number of policies, and one policy
// more touches besides those only the group and the run that it is in.
func TestEndpointsShareGroups(t *testing.T) {
	s, h := crowd(100, 50), newHeld()
	h.take(t, s, nil)
	filter := h.tables[tableKey{IPv4, "filter"}]
	before := map[string][]string{}
	groups := 0
	for name, rules := range filter.chains {
		before[name] = rules
		if strings.HasPrefix(name, "felid-gi-") {
			groups++
		}
		if strings.HasPrefix(name, "felid-tw-") && len(rules) > 4 {
			t.Errorf("%s: %q", name, rules)
		}
	}
	if groups < 4 || groups > 14 {
		t.Errorf("%d groups for one list of 50 policies", groups)
	}
	more := addPolicy(s, &dataplane.Policy{ID: policyID("p0205"), Ingress: s.Policies[policyID("p020")].Ingress})
	c := changed(nil, more)
	for id, ep := range s.Endpoints {
		ep.Tiers[0].Ingress = slices.Insert(slices.Clone(ep.Tiers[0].Ingress), 21, more)
		c.Endpoints[id] = struct{}{}
	}
	h.take(t, s, c)
	rewritten := 0
	for name, rules := range filter.chains {
		if !slices.Equal(before[name], rules) && !strings.HasPrefix(name, "felid-tw-") {
			rewritten++
		}
	}
	if rewritten > 5 { // the policy, the list, and the run, which may be several now
		t.Errorf("%d chains besides those of endpoints", rewritten)
	}
	if diff := h.differs(s); diff != "" {
		t.Errorf("-from scratch +incremental:\n%s", diff)
	}
}

// TestRunsOfNumberedPolicies: names that differ in a number alone are parted like any.
func TestRunsOfNumberedPolicies(t *testing.T) {
	n := 0
	for i := range 8000 {
		if endsRun(policyID(fmt.Sprintf("gp-%05d", i))) {
			n++
		}
	}
	if n < 800 || n > 1200 {
		t.Errorf("%d of 8000 policies end a run, want one in eight", n)
	}
}
