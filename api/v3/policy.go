package v3

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// PolicyType is a direction that a policy applies to, seen from the endpoint.
// +kubebuilder:validation:Enum=Ingress;Egress
type PolicyType string

// The directions.
const (
	PolicyTypeIngress PolicyType = "Ingress"
	PolicyTypeEgress  PolicyType = "Egress"
)

// AssumeNeededOnEveryNode is the performance hint by which a policy is made ready on nodes where it selects nothing yet.
const AssumeNeededOnEveryNode = "AssumeNeededOnEveryNode"

// DefaultTier is the tier of a policy that names none.
const DefaultTier = "default"

// DefaultAllowProfile is the profile that allows everything in both directions, without there being an object of that name. One that
// is there counts in its place.
const DefaultAllowProfile = "projectcalico-default-allow"

// PolicySpec is what namespaced and global policies have in common.
type PolicySpec struct {
	// Tier the policy belongs to; "default" if empty.
	// +kubebuilder:default=default
	// +optional
	Tier string `json:"tier,omitempty"`
	// Order within the tier, lowest first; none is last.
	// +optional
	Order *float64 `json:"order,omitempty"`
	// Ingress rules, in order: traffic to the selected endpoints.
	// +kubebuilder:validation:MaxItems=1024
	// +optional
	Ingress []Rule `json:"ingress,omitempty"`
	// Egress rules, in order: traffic from the selected endpoints.
	// +kubebuilder:validation:MaxItems=1024
	// +optional
	Egress []Rule `json:"egress,omitempty"`
	// Selector of the endpoints this policy applies to; empty selects all.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Selector string `json:"selector,omitempty"`
	// Types are the directions that the policy applies to. Absent: Ingress, and Egress where egress rules exist and ingress ones
	// do not, or besides (see EffectiveTypes).
	// +kubebuilder:validation:MaxItems=2
	// +optional
	Types []PolicyType `json:"types,omitempty"`
	// ServiceAccountSelector narrows the selected endpoints by the labels of their service account.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	ServiceAccountSelector string `json:"serviceAccountSelector,omitempty"`
	// PerformanceHints may hold AssumeNeededOnEveryNode.
	// +optional
	PerformanceHints []string `json:"performanceHints,omitempty"`
}

// NetworkPolicy is an ordered list of rules for endpoints of one namespace.
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Namespaced,shortName=np;cnp,categories=felid
type NetworkPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              NetworkPolicySpec `json:"spec,omitempty"`
	Status            Status            `json:"status,omitzero"`
}

// NetworkPolicySpec is the specification of a NetworkPolicy.
type NetworkPolicySpec struct {
	PolicySpec `json:",inline"`
}

// GlobalNetworkPolicy is an ordered list of rules for endpoints of all namespaces, and for host endpoints.
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=gnp,categories=felid
type GlobalNetworkPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              GlobalNetworkPolicySpec `json:"spec,omitempty"`
	Status            Status                  `json:"status,omitzero"`
}

// GlobalNetworkPolicySpec is the specification of a GlobalNetworkPolicy.
type GlobalNetworkPolicySpec struct {
	PolicySpec `json:",inline"`
	// NamespaceSelector narrows the selected endpoints by the labels of their namespace.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	NamespaceSelector string `json:"namespaceSelector,omitempty"`
	// DoNotTrack: before connection tracking; host endpoints only.
	// +optional
	DoNotTrack bool `json:"doNotTrack,omitempty"`
	// PreDNAT: before destination NAT; host endpoints only.
	// +optional
	PreDNAT bool `json:"preDNAT,omitempty"`
	// ApplyOnForward: also to traffic that a host endpoint forwards.
	// +optional
	ApplyOnForward bool `json:"applyOnForward,omitempty"`
}

// Tier groups policies; tiers are looked at in order.
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,categories=felid
type Tier struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              TierSpec   `json:"spec,omitempty"`
	Status            TierStatus `json:"status,omitempty"`
}

// TierSpec is the specification of a Tier.
type TierSpec struct {
	// Order among tiers, lowest first; none is last.
	// +optional
	Order *float64 `json:"order,omitempty"`
	// DefaultAction for an endpoint that policies of this tier select, when no rule decides: Deny (default) or Pass.
	// +kubebuilder:validation:Enum=Deny;Pass
	// +kubebuilder:default=Deny
	// +optional
	DefaultAction Action `json:"defaultAction,omitempty"`
}

// TierStatus is what the controller reports.
type TierStatus struct {
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Profile gives labels and rules to the endpoints that name it.
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,categories=felid
type Profile struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              ProfileSpec `json:"spec,omitempty"`
}

// ProfileSpec is the specification of a Profile.
type ProfileSpec struct {
	// +optional
	Ingress []Rule `json:"ingress,omitempty"`
	// +optional
	Egress []Rule `json:"egress,omitempty"`
	// LabelsToApply are inherited by the endpoints; their own labels win.
	// +optional
	LabelsToApply map[string]string `json:"labelsToApply,omitempty"`
}
