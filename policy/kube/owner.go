package kube

import (
	"maps"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/policy/selector"
	corev1 "k8s.io/api/core/v1"
)

// NamespaceProfile is the name of the profile of a namespace.
func NamespaceProfile(namespace string) string { return "kns." + namespace }

// ServiceAccountProfile is the name of the profile of a service account.
func ServiceAccountProfile(namespace, name string) string { return "ksa." + namespace + "." + name }

// Namespace is its profile, which allows everything in both directions, so that pods without policy are open, and lends the
// namespace's labels under "pcns.", with pcns.projectcalico.org/name beside them.
func Namespace(ns *corev1.Namespace) []v3.Object {
	labels := ns.Labels
	if _, ok := labels[labelMetadataName]; !ok {
		labels = maps.Clone(labels)
		if labels == nil {
			labels = map[string]string{}
		}
		labels[labelMetadataName] = ns.Name
	}
	return []v3.Object{&v3.Profile{
		TypeMeta:   typeMeta(v3.KindProfile),
		ObjectMeta: objectMeta(&ns.ObjectMeta, "", NamespaceProfile(ns.Name)),
		Spec: v3.ProfileSpec{
			Ingress:       []v3.Rule{{Action: v3.Allow}},
			Egress:        []v3.Rule{{Action: v3.Allow}},
			LabelsToApply: prefixed(selector.NamespacePrefix, labels, ns.Name),
		},
	}}
}

// ServiceAccount is its profile, which has no rules and lends the account's labels under "pcsa.".
func ServiceAccount(sa *corev1.ServiceAccount) []v3.Object {
	return []v3.Object{&v3.Profile{
		TypeMeta:   typeMeta(v3.KindProfile),
		ObjectMeta: objectMeta(&sa.ObjectMeta, "", ServiceAccountProfile(sa.Namespace, sa.Name)),
		Spec:       v3.ProfileSpec{LabelsToApply: prefixed(selector.ServiceAccountPrefix, sa.Labels, sa.Name)},
	}}
}

// Node has the internal and external addresses of a Node's status, in order, and its labels. Host names are not looked up.
func Node(n *corev1.Node) *v3.Node {
	out := &v3.Node{
		TypeMeta:   typeMeta(v3.KindNode),
		ObjectMeta: objectMeta(&n.ObjectMeta, "", n.Name),
		Spec:       v3.NodeSpec{OrchRefs: []v3.OrchRef{{NodeName: n.Name, Orchestrator: OrchestratorKubernetes}}},
	}
	out.Labels = n.Labels
	for _, a := range n.Status.Addresses {
		if a.Type != corev1.NodeInternalIP && a.Type != corev1.NodeExternalIP {
			continue
		}
		if addr, ok := parseAddr(a.Address); ok {
			out.Spec.Addresses = append(out.Spec.Addresses, v3.NodeAddress{Address: addr.String(), Type: string(a.Type)})
		}
	}
	return out
}
