package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Group and version of the reports.
const (
	Group      = "felid.dev"
	Version    = "v1alpha1"
	APIVersion = Group + "/" + Version
)

// KindPolicyReport is the kind of a PolicyReport.
const KindPolicyReport = "PolicyReport"

// The types of condition of a policy, in its own status, or in its PolicyReport where it has none.
const (
	// PolicyAccepted: it counts as written.
	PolicyAccepted = "Accepted"
	// PolicyProgrammed: all nodes have it in force.
	PolicyProgrammed = "Programmed"
)

// PolicyReport says what becomes of one policy: on one node, or, without a node, on all of them together. Stored are those of policies that have no
// status of their own, Kubernetes' NetworkPolicies: in the policy's namespace, owned by it, written by the controller.
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Namespaced,shortName=pr,categories=felid
// +kubebuilder:printcolumn:name="Kind",type=string,JSONPath=`.policy.kind`
// +kubebuilder:printcolumn:name="Policy",type=string,JSONPath=`.policy.name`
// +kubebuilder:printcolumn:name="Accepted",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].reason`
// +kubebuilder:printcolumn:name="Programmed",type=string,JSONPath=`.status.conditions[?(@.type=="Programmed")].message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type PolicyReport struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Policy PolicyReference `json:"policy"`
	// Node that the report is of; "" for all.
	// +optional
	Node string `json:"node,omitempty"`
	// Tier in which it is enforced; "" where it counts as absent.
	// +optional
	Tier string `json:"tier,omitempty"`
	// Selected counts the endpoints of all nodes that the policy selects; null where that was not counted.
	// +optional
	Selected *int `json:"selected,omitempty"`
	// Local counts those of the node.
	Local int `json:"local"`
	// NotExpressed are rules that a dataplane can't enforce as written, and what it does instead.
	// +optional
	NotExpressed []NotExpressed `json:"notExpressed,omitempty"`
	// LeftOut are elements and rules that can't be read.
	// +optional
	LeftOut []Finding `json:"leftOut,omitempty"`
	// Conditions are what else there is to know of the policy as a whole.
	// +optional
	Conditions []Finding `json:"conditions,omitempty"`

	// Status is that of the policy on all nodes; only in stored reports.
	// +optional
	Status *PolicyReportStatus `json:"status,omitempty"`
}

// PolicyReportStatus is what the controller says of a policy.
type PolicyReportStatus struct {
	// Conditions are Accepted and Programmed.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// PolicyReportList is several.
// +kubebuilder:object:root=true
type PolicyReportList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []PolicyReport `json:"items"`
}

// PolicyReference names a policy.
type PolicyReference struct {
	Kind string `json:"kind"`
	// +optional
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

// NotExpressed is a rule that is enforced otherwise than written.
type NotExpressed struct {
	// Direction is ingress or egress.
	Direction string `json:"direction"`
	// Rule counts from 0, in the direction, as written.
	Rule int `json:"rule"`
	// Dataplane that can't express it: iptables, hns …; "" for all of them.
	// +optional
	Dataplane string `json:"dataplane,omitempty"`
	Reason    string `json:"reason"`
}

// Finding is one thing to know of one field.
type Finding struct {
	// Type is Invalid, PartiallyInvalid, TierMissing or NotEnforced.
	Type string `json:"type"`
	// Field such as spec.ingress[0].source.nets[1].
	Field string `json:"field"`
	// Message says what is wrong, what was done, and what would be valid.
	Message string `json:"message"`
}
