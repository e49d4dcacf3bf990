package policy

import (
	"encoding/json"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
)

// Promote is the objects as they would be if the staged policies among them were in force, in place of those policies: Set adds or replaces the
// policy of the same name, Delete removes it, Learn and Ignore do nothing. kubernetes says what a StagedKubernetesNetworkPolicy would be. changes
// tells whether there is any Set or Delete. objects is not changed.
func Promote(objects []v3.Object, kubernetes func(*v3.StagedKubernetesNetworkPolicy) *v3.NetworkPolicy) (promoted []v3.Object, changes bool) {
	at := map[v3.Key]int{} // in promoted
	var staged []v3.Object
	for _, o := range objects {
		switch o.(type) {
		case *v3.StagedNetworkPolicy, *v3.StagedGlobalNetworkPolicy, *v3.StagedKubernetesNetworkPolicy:
			staged = append(staged, o)
		default:
			at[v3.KeyOf(o)] = len(promoted)
			promoted = append(promoted, o)
		}
	}
	for _, o := range staged {
		action, policy := proposal(o, kubernetes)
		key := v3.KeyOf(policy)
		i, there := at[key]
		switch action {
		case v3.StagedActionSet, "":
			if !there {
				i = len(promoted)
				at[key] = i
				promoted = append(promoted, nil)
			}
			promoted[i] = policy
		case v3.StagedActionDelete:
			if there {
				promoted[i] = nil
				delete(at, key)
			}
		default:
			continue
		}
		changes = true
	}
	return slices.DeleteFunc(promoted, func(o v3.Object) bool { return o == nil }), changes
}

// proposal is the policy that a staged one stands for, and what would be done with it.
func proposal(o v3.Object, kubernetes func(*v3.StagedKubernetesNetworkPolicy) *v3.NetworkPolicy) (v3.StagedAction, v3.Object) {
	typeMeta := func(kind v3.Kind) metav1.TypeMeta {
		return metav1.TypeMeta{APIVersion: v3.APIVersion, Kind: string(kind)}
	}
	switch o := o.(type) {
	case *v3.StagedNetworkPolicy:
		return o.Spec.StagedAction, &v3.NetworkPolicy{
			TypeMeta: typeMeta(v3.KindNetworkPolicy), ObjectMeta: o.ObjectMeta, Spec: v3.NetworkPolicySpec{PolicySpec: o.Spec.PolicySpec},
		}
	case *v3.StagedGlobalNetworkPolicy:
		return o.Spec.StagedAction, &v3.GlobalNetworkPolicy{
			TypeMeta: typeMeta(v3.KindGlobalNetworkPolicy), ObjectMeta: o.ObjectMeta, Spec: o.Spec.GlobalNetworkPolicySpec,
		}
	case *v3.StagedKubernetesNetworkPolicy:
		return o.Spec.StagedAction, kubernetes(o)
	}
	panic("policy: " + string(o.GetKind()) + " is not a staged policy")
}

// Staged is an answer as it would be with the staged policies.
type Staged struct {
	Answer
	// Changes are those of "verdict", "egress", "ingress" and "forward" that would be another than now.
	Changes []string
}

// WithStaged is a, with what it would be with the staged policies.
func (a Answer) WithStaged(then Answer) Answer {
	s := &Staged{Answer: then, Changes: []string{}}
	note := func(name string, same bool) {
		if !same {
			s.Changes = append(s.Changes, name)
		}
	}
	note("verdict", a.Verdict == then.Verdict)
	note("egress", a.Egress.action() == then.Egress.action())
	note("ingress", a.Ingress.action() == then.Ingress.action())
	note("forward", slices.EqualFunc(a.Forward, then.Forward, func(v, w Verdict) bool { return v.Endpoint == w.Endpoint && v.Action == w.Action }))
	a.Staged = s
	return a
}

// action is 0 for no verdict.
func (v *Verdict) action() dataplane.Action {
	if v == nil {
		return 0
	}
	return v.Action
}

// MarshalJSON writes "changes", and else what an Answer has.
func (s Staged) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Changes []string `json:"changes"`
		answerJSON
	}{s.Changes, s.Answer.json()})
}
