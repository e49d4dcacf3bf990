package policy_test

import (
	"testing"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/policy"
)

// TestStatus: a policy says whom it selects on all nodes and here, and what of it does not count, though it selects nothing here.
func TestStatus(t *testing.T) {
	r := policy.NewResolver(policy.Options{Node: "a"})
	add := func(o v3.Object) { r.Update(v3.KeyOf(o), o) }
	for i, node := range []string{"a", "b", "b"} {
		pod := &v3.WorkloadEndpoint{ObjectMeta: named("n", string(rune('p'+i)))}
		pod.Spec = v3.WorkloadEndpointSpec{Node: node, Pod: pod.Name, IPNetworks: []string{"10.0.0." + string(rune('1'+i))}}
		pod.Labels = map[string]string{"node": node}
		add(pod)
	}
	add(&v3.GlobalNetworkSet{ObjectMeta: named("", "set")})
	everywhere := &v3.GlobalNetworkPolicy{ObjectMeta: named("", "everywhere")}
	add(everywhere)
	remote := &v3.NetworkPolicy{ObjectMeta: named("n", "remote")}
	remote.Spec.Selector, remote.Spec.Tier = "node == 'b'", "gone"
	remote.Spec.Ingress = []v3.Rule{{Action: v3.Allow, Source: v3.EntityRule{Nets: []string{"10.0.0.0/8", "10.0.0.0/99"}}}, {Action: v3.Deny, Unknown: []string{"mood"}}}
	add(remote)
	broken := &v3.NetworkPolicy{ObjectMeta: named("n", "broken")}
	broken.Spec.Selector = "node ="
	add(broken)
	r.Flush()

	for _, test := range []struct {
		key             v3.Key
		selected, local int
		conditions      []string // type and field
	}{
		{v3.KeyOf(everywhere), 3, 1, nil},
		{v3.KeyOf(remote), 2, 0, []string{"PartiallyInvalid spec.ingress[0].source.nets[1]", "Unsupported spec.ingress[1]", "TierMissing spec.tier"}},
		{v3.KeyOf(broken), 0, 0, []string{"Invalid spec.selector"}},
	} {
		s, ok := r.Status(test.key)
		if !ok || s.Selected != test.selected || s.Local != test.local || len(s.Conditions) != len(test.conditions) {
			t.Errorf("%s: %+v, %v", test.key, s, ok)
			continue
		}
		for i, c := range s.Conditions {
			if got := c.Type + " " + c.Field; got != test.conditions[i] {
				t.Errorf("%s: condition %d is %q, want %q", test.key, i, got, test.conditions[i])
			}
		}
	}
	if _, ok := r.Status(v3.Key{Kind: v3.KindNetworkPolicy, Namespace: "n", Name: "none"}); ok {
		t.Error("a status of no policy")
	}
}
