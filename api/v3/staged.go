package v3

import (
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// StagedAction says what would be done with the policy that a staged policy is about.
// +kubebuilder:validation:Enum=Set;Delete;Learn;Ignore;""
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
// +kubebuilder:printcolumn:name=Action,type=string,JSONPath=".spec.stagedAction"
// +kubebuilder:printcolumn:name=Tier,type=string,JSONPath=".spec.tier"
// +kubebuilder:printcolumn:name=Order,type=number,JSONPath=".spec.order"
// +kubebuilder:printcolumn:name=Selector,type=string,JSONPath=".spec.selector"
// +kubebuilder:printcolumn:name=Types,type=string,JSONPath=".spec.types"
// +kubebuilder:printcolumn:name=Age,type=date,JSONPath=".metadata.creationTimestamp"
// +kubebuilder:validation:XValidation:rule=`self.metadata.name.matches(r"^(knp\.default\.)?(ossg\.default\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)?$")`,message="the name of a policy is lower-case letters, digits and '-', with at most one '.', each part beginning and ending with a letter or digit"
type StagedNetworkPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// +kubebuilder:default={}
	Spec StagedNetworkPolicySpec `json:"spec,omitempty"`
}

// StagedNetworkPolicySpec is the specification of a StagedNetworkPolicy. With Delete all but the tier is empty.
//
// +kubebuilder:validation:XValidation:rule=`!has(self.stagedAction) || self.stagedAction != 'Delete' || !has(self.order) && (!has(self.selector) || self.selector == "") && (!has(self.serviceAccountSelector) || self.serviceAccountSelector == "") && (!has(self.ingress) || self.ingress.size() == 0) && (!has(self.egress) || self.egress.size() == 0) && (!has(self.types) || self.types.size() == 0) && (!has(self.performanceHints) || self.performanceHints.size() == 0)`,message="stagedAction Delete can't go with other fields than tier"
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
// +kubebuilder:printcolumn:name=Action,type=string,JSONPath=".spec.stagedAction"
// +kubebuilder:printcolumn:name=Tier,type=string,JSONPath=".spec.tier"
// +kubebuilder:printcolumn:name=Order,type=number,JSONPath=".spec.order"
// +kubebuilder:printcolumn:name=Selector,type=string,JSONPath=".spec.selector"
// +kubebuilder:printcolumn:name=Types,type=string,JSONPath=".spec.types"
// +kubebuilder:printcolumn:name=Age,type=date,JSONPath=".metadata.creationTimestamp"
// +kubebuilder:validation:XValidation:rule=`self.metadata.name.matches(r"^(knp\.default\.)?(ossg\.default\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)?$")`,message="the name of a policy is lower-case letters, digits and '-', with at most one '.', each part beginning and ending with a letter or digit"
type StagedGlobalNetworkPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// +kubebuilder:default={}
	Spec StagedGlobalNetworkPolicySpec `json:"spec,omitempty"`
}

// StagedGlobalNetworkPolicySpec is the specification of a StagedGlobalNetworkPolicy. With Delete all but the tier is empty.
//
// +kubebuilder:validation:XValidation:rule=`!has(self.stagedAction) || self.stagedAction != 'Delete' || !has(self.order) && (!has(self.selector) || self.selector == "") && (!has(self.serviceAccountSelector) || self.serviceAccountSelector == "") && (!has(self.namespaceSelector) || self.namespaceSelector == "") && (!has(self.ingress) || self.ingress.size() == 0) && (!has(self.egress) || self.egress.size() == 0) && (!has(self.types) || self.types.size() == 0) && (!has(self.performanceHints) || self.performanceHints.size() == 0) && (!has(self.doNotTrack) || !self.doNotTrack) && (!has(self.preDNAT) || !self.preDNAT) && (!has(self.applyOnForward) || !self.applyOnForward)`,message="stagedAction Delete can't go with other fields than tier"
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
// +kubebuilder:printcolumn:name=Action,type=string,JSONPath=".spec.stagedAction"
// +kubebuilder:printcolumn:name=Age,type=date,JSONPath=".metadata.creationTimestamp"
type StagedKubernetesNetworkPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// +kubebuilder:default={}
	Spec StagedKubernetesNetworkPolicySpec `json:"spec,omitempty"`
}

// StagedKubernetesNetworkPolicySpec has the fields of a networking.k8s.io NetworkPolicy. With Delete all of them are empty.
//
// +kubebuilder:validation:XValidation:rule="!has(self.stagedAction) || self.stagedAction != 'Delete' || (!has(self.podSelector) || (!has(self.podSelector.matchLabels) || self.podSelector.matchLabels.size() == 0) && (!has(self.podSelector.matchExpressions) || self.podSelector.matchExpressions.size() == 0)) && (!has(self.ingress) || self.ingress.size() == 0) && (!has(self.egress) || self.egress.size() == 0) && (!has(self.policyTypes) || self.policyTypes.size() == 0)",message="stagedAction Delete can't go with other fields"
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
	// +kubebuilder:validation:items:Enum=Ingress;Egress
	// +optional
	PolicyTypes []networkingv1.PolicyType `json:"policyTypes,omitempty"`
}
