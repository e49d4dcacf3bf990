package kube

import (
	networkingv1 "k8s.io/api/networking/v1"

	v3 "github.com/felid-net/felid/api/v3"
)

// StagedNetworkPolicy is the policy that a staged one stands for, as NetworkPolicy converts it. What can't be converted is named in the
// errors, and in the policy, as DecodeNetworkPolicy does.
func StagedNetworkPolicy(o *v3.StagedKubernetesNetworkPolicy) (*v3.NetworkPolicy, []v3.FieldError) {
	policy, errs := NetworkPolicy(&networkingv1.NetworkPolicy{
		ObjectMeta: o.ObjectMeta,
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: o.Spec.PodSelector, Ingress: o.Spec.Ingress, Egress: o.Spec.Egress, PolicyTypes: o.Spec.PolicyTypes,
		},
	})
	note(&policy.Spec.PolicySpec, errs)
	for i := range errs {
		errs[i].Object = v3.KeyOf(o).String()
	}
	return policy, errs
}
