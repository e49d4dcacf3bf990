package kube

import (
	"maps"
	"slices"

	"github.com/felid-net/felid/policy/selector"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ofPods matches pods and nothing else: no host endpoint, no network set.
var ofPods = selector.Equals(LabelOrchestrator, OrchestratorKubernetes)

// labelSelector says the same as ls; an empty one is all(). Keys and values are held to Kubernetes' rules, so that none can be
// read as part of the language.
func labelSelector(ls *metav1.LabelSelector) (*selector.Selector, error) {
	if _, err := metav1.LabelSelectorAsSelector(ls); err != nil {
		return nil, err
	}
	sum := selector.All()
	for _, key := range slices.Sorted(maps.Keys(ls.MatchLabels)) {
		sum = selector.And(sum, selector.Equals(key, ls.MatchLabels[key]))
	}
	for _, e := range ls.MatchExpressions {
		sum = selector.And(sum, requirement(e))
	}
	return sum, nil
}

func labelsSelector(labels map[string]string) (*selector.Selector, error) {
	return labelSelector(&metav1.LabelSelector{MatchLabels: labels})
}

// requirement relies on the operator having been looked at.
func requirement(e metav1.LabelSelectorRequirement) *selector.Selector {
	switch e.Operator {
	case metav1.LabelSelectorOpIn:
		return selector.In(e.Key, e.Values)
	case metav1.LabelSelectorOpNotIn:
		return selector.Not(selector.In(e.Key, e.Values))
	case metav1.LabelSelectorOpExists:
		return selector.Has(e.Key)
	case metav1.LabelSelectorOpDoesNotExist:
		return selector.Not(selector.Has(e.Key))
	}
	panic("kube: label selector operator " + string(e.Operator))
}
