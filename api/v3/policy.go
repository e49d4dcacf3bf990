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
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$`
	// +optional
	Tier string `json:"tier,omitempty"`
	// Order within the tier, lowest first; none is last.
	// +optional
	Order *float64 `json:"order,omitempty"`
	// Ingress rules, in order: traffic to the selected endpoints.
	// +kubebuilder:validation:MaxItems=1024
	// +kubebuilder:validation:items:XValidation:rule="!has(self.destination) || !has(self.destination.services)",message="services can't be used here; valid: the source of ingress rules, the destination of egress rules",fieldPath=".destination"
	// +kubebuilder:validation:items:XValidation:rule="!has(self.destination) || !has(self.destination.domains) || self.destination.domains.size() == 0",message="domains can't be used here; valid: the destination of egress rules",fieldPath=".destination"
	// +optional
	Ingress []Rule `json:"ingress,omitempty"`
	// Egress rules, in order: traffic from the selected endpoints.
	// +kubebuilder:validation:MaxItems=1024
	// +kubebuilder:validation:items:XValidation:rule="!has(self.source) || !has(self.source.services)",message="services can't be used here; valid: the source of ingress rules, the destination of egress rules",fieldPath=".source"
	// +kubebuilder:validation:items:XValidation:rule="!has(self.http)",message="http can't be used in an egress rule"
	// +optional
	Egress []Rule `json:"egress,omitempty"`
	// Selector of the endpoints this policy applies to; empty selects all.
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule=`!self.matches(r"global\s*\(")`,message="global() can't be used here; it belongs in the namespaceSelector of a rule"
	// +optional
	Selector string `json:"selector,omitempty"`
	// Types are the directions that the policy applies to. Absent: Ingress, and Egress where egress rules exist and ingress ones
	// do not, or besides (see EffectiveTypes).
	// +kubebuilder:validation:MaxItems=2
	// +kubebuilder:validation:XValidation:rule="self.size() < 2 || self[0] != self[1]",message="each of Ingress and Egress at most once"
	// +optional
	Types []PolicyType `json:"types,omitempty"`
	// ServiceAccountSelector narrows the selected endpoints by the labels of their service account.
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule=`!self.matches(r"global\s*\(")`,message="global() can't be used here; it belongs in the namespaceSelector of a rule"
	// +optional
	ServiceAccountSelector string `json:"serviceAccountSelector,omitempty"`
	// PerformanceHints may hold AssumeNeededOnEveryNode.
	// +kubebuilder:validation:items:Enum=AssumeNeededOnEveryNode
	// +optional
	PerformanceHints []string `json:"performanceHints,omitempty"`
}

// NetworkPolicy is an ordered list of rules for endpoints of one namespace.
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Namespaced,shortName=np;cnp,categories=felid
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name=Tier,type=string,JSONPath=".spec.tier"
// +kubebuilder:printcolumn:name=Order,type=number,JSONPath=".spec.order"
// +kubebuilder:printcolumn:name=Selector,type=string,JSONPath=".spec.selector"
// +kubebuilder:printcolumn:name=Types,type=string,JSONPath=".spec.types"
// +kubebuilder:printcolumn:name=Accepted,type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name=Programmed,type=string,JSONPath=`.status.conditions[?(@.type=="Programmed")].status`
// +kubebuilder:printcolumn:name=Age,type=date,JSONPath=".metadata.creationTimestamp"
// +kubebuilder:validation:XValidation:rule=`self.metadata.name.matches(r"^(knp\.default\.)?(ossg\.default\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)?$")`,message="the name of a policy is lower-case letters, digits and '-', with at most one '.', each part beginning and ending with a letter or digit"
type NetworkPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// +kubebuilder:default={}
	Spec   NetworkPolicySpec `json:"spec,omitempty"`
	Status Status            `json:"status,omitzero"`
}

// NetworkPolicySpec is the specification of a NetworkPolicy.
type NetworkPolicySpec struct {
	PolicySpec `json:",inline"`
}

// GlobalNetworkPolicy is an ordered list of rules for endpoints of all namespaces, and for host endpoints.
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=gnp,categories=felid
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name=Tier,type=string,JSONPath=".spec.tier"
// +kubebuilder:printcolumn:name=Order,type=number,JSONPath=".spec.order"
// +kubebuilder:printcolumn:name=Selector,type=string,JSONPath=".spec.selector"
// +kubebuilder:printcolumn:name=Types,type=string,JSONPath=".spec.types"
// +kubebuilder:printcolumn:name=Accepted,type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name=Programmed,type=string,JSONPath=`.status.conditions[?(@.type=="Programmed")].status`
// +kubebuilder:printcolumn:name=Age,type=date,JSONPath=".metadata.creationTimestamp"
// +kubebuilder:validation:XValidation:rule=`self.metadata.name.matches(r"^(knp\.default\.)?(ossg\.default\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)?$")`,message="the name of a policy is lower-case letters, digits and '-', with at most one '.', each part beginning and ending with a letter or digit"
type GlobalNetworkPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// +kubebuilder:default={}
	Spec   GlobalNetworkPolicySpec `json:"spec,omitempty"`
	Status Status                  `json:"status,omitzero"`
}

// GlobalNetworkPolicySpec is the specification of a GlobalNetworkPolicy.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.preDNAT) && self.preDNAT && has(self.doNotTrack) && self.doNotTrack)",message="preDNAT can't go with doNotTrack"
// +kubebuilder:validation:XValidation:rule="!(has(self.preDNAT) && self.preDNAT) || has(self.applyOnForward) && self.applyOnForward",message="applyOnForward must be true with preDNAT"
// +kubebuilder:validation:XValidation:rule="!(has(self.doNotTrack) && self.doNotTrack) || has(self.applyOnForward) && self.applyOnForward",message="applyOnForward must be true with doNotTrack"
// +kubebuilder:validation:XValidation:rule="!(has(self.preDNAT) && self.preDNAT) || !has(self.egress) || self.egress.size() == 0",message="egress rules can't go with preDNAT"
// +kubebuilder:validation:XValidation:rule="!(has(self.preDNAT) && self.preDNAT) || !has(self.types) || !('Egress' in self.types)",message="type Egress can't go with preDNAT"
// +kubebuilder:validation:XValidation:rule=`(!has(self.ingress) || self.ingress.all(r, !has(r.source) || !has(r.source.services) || has(r.source.services.__namespace__) && r.source.services.__namespace__ != "")) && (!has(self.egress) || self.egress.all(r, !has(r.destination) || !has(r.destination.services) || has(r.destination.services.__namespace__) && r.destination.services.__namespace__ != ""))`,message="services need a namespace here"
type GlobalNetworkPolicySpec struct {
	PolicySpec `json:",inline"`
	// NamespaceSelector narrows the selected endpoints by the labels of their namespace.
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule=`!self.matches(r"global\s*\(")`,message="global() can't be used here; it belongs in the namespaceSelector of a rule"
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
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name=Order,type=number,JSONPath=".spec.order"
// +kubebuilder:printcolumn:name="Default action",type=string,JSONPath=".spec.defaultAction"
// +kubebuilder:printcolumn:name=Policies,type=integer,JSONPath=".status.policies"
// +kubebuilder:printcolumn:name=Accepted,type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name=Age,type=date,JSONPath=".metadata.creationTimestamp"
// +kubebuilder:validation:XValidation:rule=`self.metadata.name.size() <= 63 && self.metadata.name.matches(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")`,message="the name of a tier is at most 63 lower-case letters, digits and '-', beginning and ending with a letter or digit"
// +kubebuilder:validation:XValidation:rule=`self.metadata.name != 'default' || !has(self.spec) || (!has(self.spec.order) || self.spec.order == 1000000.0) && (!has(self.spec.defaultAction) || self.spec.defaultAction in ["", 'Deny'])`,message="the built-in tier default has order 1000000 and defaultAction Deny"
// +kubebuilder:validation:XValidation:rule=`self.metadata.name != 'kube-admin' || !has(self.spec) || (!has(self.spec.order) || self.spec.order == 1000.0) && (!has(self.spec.defaultAction) || self.spec.defaultAction in ["", 'Pass'])`,message="the built-in tier kube-admin has order 1000 and defaultAction Pass"
// +kubebuilder:validation:XValidation:rule=`self.metadata.name != 'kube-baseline' || !has(self.spec) || (!has(self.spec.order) || self.spec.order == 10000000.0) && (!has(self.spec.defaultAction) || self.spec.defaultAction in ["", 'Pass'])`,message="the built-in tier kube-baseline has order 10000000 and defaultAction Pass"
type Tier struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// +kubebuilder:default={}
	Spec   TierSpec   `json:"spec,omitempty"`
	Status TierStatus `json:"status,omitempty"`
}

// TierSpec is the specification of a Tier.
type TierSpec struct {
	// Order among tiers, lowest first; none is last.
	// +optional
	Order *float64 `json:"order,omitempty"`
	// DefaultAction for an endpoint that policies of this tier select, when no rule decides: Deny (default) or Pass.
	// +kubebuilder:validation:Enum=Deny;Pass;""
	// +kubebuilder:default=Deny
	// +optional
	DefaultAction Action `json:"defaultAction,omitempty"`
}

// TierStatus is what the controller reports.
type TierStatus struct {
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// Policies is how many policies are in the tier, of all kinds, staged ones too. A tier that has some can't be deleted.
	// +optional
	Policies int `json:"policies,omitempty"`
}

// Profile gives labels and rules to the endpoints that name it.
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,categories=felid
// +kubebuilder:validation:XValidation:rule="!self.metadata.name.startsWith('kns.') && !self.metadata.name.startsWith('ksa.')",message="profiles named kns. and ksa. are made from namespaces and service accounts"
// +kubebuilder:printcolumn:name=Age,type=date,JSONPath=".metadata.creationTimestamp"
type Profile struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              ProfileSpec `json:"spec,omitempty"`
}

// ProfileSpec is the specification of a Profile.
//
// +kubebuilder:validation:XValidation:rule=`(!has(self.ingress) || self.ingress.all(r, !has(r.source) || !has(r.source.services) || has(r.source.services.__namespace__) && r.source.services.__namespace__ != "")) && (!has(self.egress) || self.egress.all(r, !has(r.destination) || !has(r.destination.services) || has(r.destination.services.__namespace__) && r.destination.services.__namespace__ != ""))`,message="services need a namespace here"
type ProfileSpec struct {
	// +kubebuilder:validation:MaxItems=1024
	// +kubebuilder:validation:items:XValidation:rule="!has(self.destination) || !has(self.destination.services)",message="services can't be used here; valid: the source of ingress rules, the destination of egress rules",fieldPath=".destination"
	// +kubebuilder:validation:items:XValidation:rule="!has(self.destination) || !has(self.destination.domains) || self.destination.domains.size() == 0",message="domains can't be used here; valid: the destination of egress rules",fieldPath=".destination"
	// +optional
	Ingress []Rule `json:"ingress,omitempty"`
	// +kubebuilder:validation:MaxItems=1024
	// +kubebuilder:validation:items:XValidation:rule="!has(self.source) || !has(self.source.services)",message="services can't be used here; valid: the source of ingress rules, the destination of egress rules",fieldPath=".source"
	// +kubebuilder:validation:items:XValidation:rule="!has(self.http)",message="http can't be used in an egress rule"
	// +optional
	Egress []Rule `json:"egress,omitempty"`
	// LabelsToApply are inherited by the endpoints; their own labels win.
	// +optional
	LabelsToApply map[string]string `json:"labelsToApply,omitempty"`
}
