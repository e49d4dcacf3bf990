package policy_test

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/policy"
)

func named(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name}
}

// asKubernetes stands for the conversion of package kube.
func asKubernetes(o *v3.StagedKubernetesNetworkPolicy) *v3.NetworkPolicy {
	p := &v3.NetworkPolicy{ObjectMeta: o.ObjectMeta}
	p.Kind = string(v3.KindKubernetesNetworkPolicy)
	return p
}

func TestPromote(t *testing.T) {
	np := &v3.NetworkPolicy{ObjectMeta: named("n", "replaced")}
	gone := &v3.GlobalNetworkPolicy{ObjectMeta: named("", "gone")}
	stays := &v3.NetworkPolicy{ObjectMeta: named("n", "stays")}
	staged := func(name string, action v3.StagedAction) *v3.StagedNetworkPolicy {
		o := &v3.StagedNetworkPolicy{ObjectMeta: named("n", name)}
		o.Spec.StagedAction, o.Spec.Selector = action, "staged == 'yes'"
		return o
	}
	remove := &v3.StagedGlobalNetworkPolicy{ObjectMeta: named("", "gone")}
	remove.Spec.StagedAction = v3.StagedActionDelete
	objects := []v3.Object{
		staged("replaced", ""), np, gone, remove, stays, staged("stays", v3.StagedActionIgnore), staged("new", v3.StagedActionSet),
		staged("absent", v3.StagedActionDelete), staged("learned", v3.StagedActionLearn), &v3.StagedKubernetesNetworkPolicy{ObjectMeta: named("n", "k")},
	}
	promoted, changes := policy.Promote(objects, asKubernetes)
	var got []string
	for _, o := range promoted {
		text := v3.KeyOf(o).String()
		if p, ok := o.(*v3.NetworkPolicy); ok && p.Spec.Selector != "" {
			text += " staged"
		}
		got = append(got, text)
	}
	want := []string{"NetworkPolicy n/replaced staged", "NetworkPolicy n/stays", "NetworkPolicy n/new staged", "KubernetesNetworkPolicy n/k"}
	if !slices.Equal(got, want) || !changes {
		t.Errorf("got %q (changes: %v), want %q", got, changes, want)
	}
	if np.Spec.Selector != "" {
		t.Error("an object was changed")
	}
	if _, changes := policy.Promote([]v3.Object{staged("x", v3.StagedActionLearn)}, asKubernetes); changes {
		t.Error("Learn changes nothing")
	}
}

// TestStagedNeverEnforced: the State is the same with and without them.
func TestStagedNeverEnforced(t *testing.T) {
	pod := &v3.WorkloadEndpoint{ObjectMeta: named("n", "p")}
	pod.Spec = v3.WorkloadEndpointSpec{Pod: "p", IPNetworks: []string{"10.0.0.1"}}
	deny := &v3.StagedGlobalNetworkPolicy{ObjectMeta: named("", "d")}
	without, _ := policy.Resolve([]v3.Object{pod}, policy.Options{})
	with, report := policy.Resolve([]v3.Object{pod, deny, &v3.StagedNetworkPolicy{ObjectMeta: named("n", "d")}}, policy.Options{})
	compareStates(t, without, with)
	if len(report.Conditions) > 0 {
		t.Errorf("conditions %v", report.Conditions)
	}
	r := policy.NewResolver(policy.Options{})
	for _, o := range []v3.Object{pod, deny} {
		r.Update(v3.KeyOf(o), o)
	}
	state, _ := r.Flush()
	compareStates(t, without, state)
}

func TestAnswerWithStaged(t *testing.T) {
	allow := &v3.Profile{ObjectMeta: named("", "kns.n")}
	allow.Spec.Ingress, allow.Spec.Egress = []v3.Rule{{Action: v3.Allow}}, []v3.Rule{{Action: v3.Allow}}
	objects := []v3.Object{allow}
	for i, name := range []string{"a", "b"} {
		pod := &v3.WorkloadEndpoint{ObjectMeta: named("n", name)}
		pod.Spec = v3.WorkloadEndpointSpec{Pod: name, IPNetworks: []string{"10.0.0." + string(rune('1'+i))}, Profiles: []string{"kns.n"}}
		objects = append(objects, pod)
	}
	deny := &v3.StagedNetworkPolicy{ObjectMeta: named("n", "deny")}
	deny.Spec.Types = []v3.PolicyType{v3.PolicyTypeIngress}
	promoted, _ := policy.Promote(append(objects, deny), asKubernetes)
	host := policy.Options{Host: dataplane.Host{IPv6: true}}
	before, _ := policy.Resolve(objects, host)
	after, _ := policy.Resolve(promoted, host)
	flow := policy.Flow{Src: netip.MustParseAddr("10.0.0.1"), Dst: netip.MustParseAddr("10.0.0.2"), Protocol: 6, DstPort: 80, ICMPType: -1, ICMPCode: -1}
	a := policy.Explain(before, flow).WithStaged(policy.Explain(after, flow))
	if a.Verdict != dataplane.Allow || a.Staged.Verdict != dataplane.Deny || !slices.Equal(a.Staged.Changes, []string{"verdict", "ingress"}) {
		t.Errorf("got %+v, staged %+v", a, a.Staged)
	}
	data, err := json.Marshal(a)
	if err != nil || !strings.Contains(string(data), `"staged":{"changes":["verdict","ingress"],"verdict":"Deny","egress":{`) {
		t.Errorf("got %s, %v", data, err)
	}
	if data, _ = json.Marshal(policy.Explain(before, flow)); strings.Contains(string(data), "staged") {
		t.Errorf("got %s", data)
	}
}
