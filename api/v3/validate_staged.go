package v3

import (
	"encoding/json"
	"fmt"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// staged judges the action; true tells that the policy itself is to be judged too.
func (v *validator) staged(action StagedAction, s *PolicySpec) bool {
	return v.stagedAction(action, func() {
		rest := *s
		rest.Tier = ""
		v.tierName(s.Tier)
		v.nothingElse(rest)
	})
}

func (v *validator) stagedGlobal(s *StagedGlobalNetworkPolicySpec) bool {
	return v.stagedAction(s.StagedAction, func() {
		rest := s.GlobalNetworkPolicySpec
		rest.Tier = ""
		v.tierName(s.Tier)
		v.nothingElse(rest)
	})
}

// stagedKubernetes leaves the rules to the conversion, as for the policy that it stands for.
func (v *validator) stagedKubernetes(s *StagedKubernetesNetworkPolicySpec) {
	rest := *s
	rest.StagedAction = ""
	if !v.stagedAction(s.StagedAction, func() { v.nothingElse(rest) }) {
		return
	}
	_, err := metav1.LabelSelectorAsSelector(&s.PodSelector)
	v.expect(err == nil, "spec.podSelector", "a label selector", "can't be read: %v", err)
	for i, t := range s.PolicyTypes {
		v.oneOf(fmt.Sprintf("spec.policyTypes[%d]", i), string(t), string(networkingv1.PolicyTypeIngress), string(networkingv1.PolicyTypeEgress))
	}
}

func (v *validator) stagedAction(action StagedAction, deletion func()) bool {
	if action != "" {
		v.oneOf("spec.stagedAction", string(action), string(StagedActionSet), string(StagedActionDelete), string(StagedActionLearn), string(StagedActionIgnore))
	}
	if action == StagedActionDelete {
		deletion()
	}
	return action != StagedActionDelete
}

// nothingElse names the fields that a deletion has and should not have.
func (v *validator) nothingElse(spec any) {
	data, err := json.Marshal(spec)
	given := map[string]json.RawMessage{}
	if err == nil {
		err = json.Unmarshal(data, &given)
	}
	v.expect(err == nil, "spec", "", "can't be read: %v", err)
	for _, field := range sortedKeys(given) {
		v.expect(string(given[field]) == "{}", "spec."+field, "spec.tier alone", "can't go with stagedAction Delete")
	}
}
