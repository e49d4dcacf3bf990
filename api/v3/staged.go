package v3

import (
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// StagedAction says what would be done with the policy that a staged policy is about.
// +kubebuilder:validation:Enum=Set;Delete;Learn;Ignore
type StagedAction string

// The actions on staging.
const (
	StagedActionSet    StagedAction = "Set"    // add or replace the policy of the same name
	StagedActionDelete StagedAction = "Delete" // remove it
	StagedActionLearn  StagedAction = "Learn"  // nothing: a mark for tools that propose policies
	StagedActionIgnore StagedAction = "Ignore" // nothing
)

// StagedNetworkPolicy is a NetworkPolicy that is looked at and not enforced: it stands for the NetworkPolicy of its name.
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Namespaced,shortName=snp,categories=felid
type StagedNetworkPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              StagedNetworkPolicySpec `json:"spec,omitempty"`
}

// StagedNetworkPolicySpec is the specification of a StagedNetworkPolicy. With Delete all but the tier is empty.
type StagedNetworkPolicySpec struct {
	// StagedAction is Set if empty.
	// +kubebuilder:default=Set
	// +optional
	StagedAction StagedAction `json:"stagedAction,omitempty"`
	PolicySpec   `json:",inline"`
}

// StagedGlobalNetworkPolicy is a GlobalNetworkPolicy that is looked at and not enforced: it stands for the one of its name.
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=sgnp,categories=felid
type StagedGlobalNetworkPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              StagedGlobalNetworkPolicySpec `json:"spec,omitempty"`
}

// StagedGlobalNetworkPolicySpec is the specification of a StagedGlobalNetworkPolicy. With Delete all but the tier is empty.
type StagedGlobalNetworkPolicySpec struct {
	// StagedAction is Set if empty.
	// +kubebuilder:default=Set
	// +optional
	StagedAction            StagedAction `json:"stagedAction,omitempty"`
	GlobalNetworkPolicySpec `json:",inline"`
}

// StagedKubernetesNetworkPolicy is a networking.k8s.io NetworkPolicy that is looked at and not enforced: it stands for the one of its name.
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Namespaced,shortName=sknp,categories=felid
type StagedKubernetesNetworkPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              StagedKubernetesNetworkPolicySpec `json:"spec,omitempty"`
}

// StagedKubernetesNetworkPolicySpec has the fields of a networking.k8s.io NetworkPolicy. With Delete all of them are empty.
type StagedKubernetesNetworkPolicySpec struct {
	// StagedAction is Set if empty.
	// +kubebuilder:default=Set
	// +optional
	StagedAction StagedAction `json:"stagedAction,omitempty"`
	// +optional
	PodSelector metav1.LabelSelector `json:"podSelector,omitempty"`
	// +optional
	Ingress []networkingv1.NetworkPolicyIngressRule `json:"ingress,omitempty"`
	// +optional
	Egress []networkingv1.NetworkPolicyEgressRule `json:"egress,omitempty"`
	// +optional
	PolicyTypes []networkingv1.PolicyType `json:"policyTypes,omitempty"`
}
