package policy_test

import (
	"net/netip"
	"slices"
	"testing"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/policy"
)

// TestTraceHasEachRuleOnce: a rule that became several is one step, matched where one of its parts is.
func TestTraceHasEachRuleOnce(t *testing.T) {
	pod := &v3.WorkloadEndpoint{ObjectMeta: named("n", "p")}
	pod.Spec = v3.WorkloadEndpointSpec{Pod: "p", IPNetworks: []string{"10.0.0.1"}}
	p := &v3.GlobalNetworkPolicy{ObjectMeta: named("", "p")}
	p.Kind = string(v3.KindClusterNetworkPolicy)
	to := func(action v3.Action, written int, net string) v3.Rule {
		return v3.Rule{Action: action, Written: written, Destination: v3.EntityRule{Nets: []string{net}}}
	}
	p.Spec.Egress = []v3.Rule{
		to(v3.Allow, 1, "10.1.0.0/16"), to(v3.Allow, 1, "10.1.0.0/16"), to(v3.Allow, 1, "10.2.0.0/16"), to(v3.Allow, 1, "10.3.0.0/16"), to(v3.Allow, 1, "10.4.0.0/16"),
		to(v3.Allow, 1, "10.5.0.0/16"), to(v3.Log, 2, "192.0.2.0/24"), to(v3.Log, 2, "10.1.0.0/16"), to(v3.Deny, 3, "10.1.0.0/16"), to(v3.Deny, 3, "192.0.2.0/24"),
	}
	s, _ := policy.Resolve([]v3.Object{pod, p}, policy.Options{Host: dataplane.Host{IPv6: true}})
	flow := policy.Flow{Src: netip.MustParseAddr("10.0.0.1"), Dst: netip.MustParseAddr("192.0.2.1"), Protocol: 6, DstPort: 80, ICMPType: -1, ICMPCode: -1}
	v := policy.Evaluate(s, "pod/n/p", dataplane.Egress, flow)
	type step struct {
		rule    int
		matched bool
		why     string
	}
	var got []step
	for _, s := range v.Trace {
		got = append(got, step{s.Rule, s.Matched, s.Why})
	}
	const none = "destination 192.0.2.1 is in none of "
	want := []step{{0, false, none + "10.1.0.0/16; " + none + "10.2.0.0/16; " + none + "10.3.0.0/16; …"}, {1, true, ""}, {2, true, ""}}
	if !slices.Equal(got, want) || v.By.Rule != 2 {
		t.Errorf("got %v by %+v, want %v", got, v.By, want)
	}
}
