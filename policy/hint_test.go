package policy_test

import (
	"testing"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/policy"
)

// TestHintKeepsAPolicyAtHand: it is in the State with its sets where it selects nothing, counts as unused all the same, and is in nobody's tiers.
func TestHintKeepsAPolicyAtHand(t *testing.T) {
	p := &v3.NetworkPolicy{ObjectMeta: named("n", "p")}
	p.Spec.Selector, p.Spec.PerformanceHints = "app == 'none'", []string{v3.AssumeNeededOnEveryNode}
	p.Spec.Ingress = []v3.Rule{{Action: v3.Allow, Source: v3.EntityRule{Selector: "app == 'web'"}}}
	pod := &v3.WorkloadEndpoint{ObjectMeta: named("n", "w")}
	pod.Labels, pod.Spec = map[string]string{"app": "web"}, v3.WorkloadEndpointSpec{Pod: "w", Node: "a", IPNetworks: []string{"10.0.0.1"}}
	id := dataplane.PolicyID{Kind: "NetworkPolicy", Namespace: "n", Name: "p"}

	r := policy.NewResolver(policy.Options{Node: "a"})
	for _, o := range []v3.Object{p, pod} {
		r.Update(v3.KeyOf(o), o)
	}
	s, changes := r.Flush()
	if s.Policies[id] == nil || len(s.IPSets) != 1 || len(s.Endpoints["pod/n/w"].Tiers) != 0 {
		t.Fatalf("policies %v, sets %v, tiers %v", s.Policies, s.IPSets, s.Endpoints["pod/n/w"].Tiers)
	}
	for id, set := range s.IPSets {
		if _, named := changes.IPSets[id]; len(set.Members) != 1 || !named {
			t.Errorf("set %v, changes %v", set, changes.IPSets)
		}
	}
	if unused := policy.Unused([]v3.Object{p, pod}, s); len(unused) != 1 {
		t.Errorf("unused: %v", unused)
	}
	plain := p.DeepCopy()
	plain.Spec.PerformanceHints = nil
	r.Update(v3.KeyOf(plain), plain)
	if s, _ = r.Flush(); len(s.Policies)+len(s.IPSets) != 0 {
		t.Errorf("without the hint: policies %v, sets %v", s.Policies, s.IPSets)
	}
}
