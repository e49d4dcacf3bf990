package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// KindNodeReport is the kind of a NodeReport.
const KindNodeReport = "NodeReport"

// The types of condition of a NodeReport.
const (
	// NodeReady: the agent has seen everything in the datastore, has brought its host in line with it once, and takes pods.
	NodeReady = "Ready"
	// NodeEnforcing: all of it is in force.
	NodeEnforcing = "Enforcing"
)

// NodeReport is what the agent of one node says of it; its name is the node's. Agents write theirs, nobody else's. It is written at most every few
// seconds while something changes, less often the more nodes there are, and otherwise every few minutes.
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=nr,categories=felid
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Enforcing",type=string,JSONPath=`.status.conditions[?(@.type=="Enforcing")].status`
// +kubebuilder:printcolumn:name="Dataplane",type=string,JSONPath=`.status.dataplane`
// +kubebuilder:printcolumn:name="Endpoints",type=integer,JSONPath=`.status.endpoints`
// +kubebuilder:printcolumn:name="Policies",type=integer,JSONPath=`.status.policies`
// +kubebuilder:printcolumn:name="Failed",type=integer,JSONPath=`.status.failedCount`
// +kubebuilder:printcolumn:name="Uncovered",type=integer,JSONPath=`.status.uncoveredCount`
// +kubebuilder:printcolumn:name="Ungated",type=integer,JSONPath=`.status.ungatedCount`
// +kubebuilder:printcolumn:name="Stale-Since",type=date,JSONPath=`.status.staleSince`
// +kubebuilder:printcolumn:name="Reported",type=date,JSONPath=`.status.reported`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Enforcing")].message`
type NodeReport struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Status NodeReportStatus `json:"status,omitempty"`
}

// MaxNamed is how many objects a list of a NodeReport names at most; the counts beside the lists are of all.
const MaxNamed = 64

// NodeReportStatus is all that a NodeReport says.
type NodeReportStatus struct {
	// Reported is when the agent wrote this.
	Reported metav1.Time `json:"reported,omitempty"`
	// Dataplane that enforces (nft, legacy, hns), and DataplaneReason why that one.
	// +optional
	Dataplane string `json:"dataplane,omitempty"`
	// +optional
	DataplaneReason string `json:"dataplaneReason,omitempty"`
	// OS of the node: linux or windows.
	// +optional
	OS string `json:"os,omitempty"`
	// Assumptions are what the dataplane takes for granted about its host (docs/windows.md) and the node has found false, or could not try.
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	// +optional
	Assumptions []Assumption `json:"assumptions,omitempty"`

	// Applied says up to which revision of the datastore the node has applied each kind of policy: all that it knew by then is in force, but for
	// what Failed names.
	// +listType=map
	// +listMapKey=kind
	// +optional
	Applied []AppliedRevision `json:"applied,omitempty"`
	// Endpoints of the node.
	Endpoints int `json:"endpoints"`
	// Policies, and profiles, that apply to them.
	Policies int `json:"policies"`

	// Failed are objects that are not in force as they should be, and are tried again.
	// +kubebuilder:validation:MaxItems=64
	// +optional
	Failed []FailedObject `json:"failed,omitempty"`
	// +optional
	FailedCount int `json:"failedCount,omitempty"`
	// Unsupported are rules that the dataplane can't express.
	// +kubebuilder:validation:MaxItems=64
	// +optional
	Unsupported []UnsupportedRule `json:"unsupported,omitempty"`
	// +optional
	UnsupportedCount int `json:"unsupportedCount,omitempty"`
	// Uncovered are pods of the node that policy should hold for, and does not as it should: what they send and get is dropped, or an older state
	// holds.
	// +kubebuilder:validation:MaxItems=64
	// +optional
	Uncovered []string `json:"uncovered,omitempty"`
	// +optional
	UncoveredCount int `json:"uncoveredCount,omitempty"`
	// Ungated are pods that ran before their policy was in force, because felid's plugin was not in the chain when they came.
	// +kubebuilder:validation:MaxItems=64
	// +optional
	Ungated []string `json:"ungated,omitempty"`
	// +optional
	UngatedCount int `json:"ungatedCount,omitempty"`

	// Stale are kinds of resource of which the datastore is not heard; what was known of them stays in force.
	// +listType=map
	// +listMapKey=kind
	// +optional
	Stale []StaleKind `json:"stale,omitempty"`
	// StaleSince is the earliest time of these.
	// +optional
	StaleSince *metav1.Time `json:"staleSince,omitempty"`

	// Conditions are Ready and Enforcing.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Assumption is something that a dataplane takes for granted about its host.
type Assumption struct {
	// Name is its number in the documentation: H7.
	Name string `json:"name"`
	// Outcome is False or NotTried.
	Outcome string `json:"outcome"`
	// Message says what is assumed, and what was seen instead, or why it was not tried.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Message string `json:"message,omitempty"`
}

// AppliedRevision is how far a node is with a kind.
type AppliedRevision struct {
	Kind string `json:"kind"`
	// Revision is a resourceVersion of the kind.
	Revision string `json:"revision"`
}

// FailedObject is not in force as it should be.
type FailedObject struct {
	// Object by the name that people write: "pod/web/front", "NetworkPolicy web/allow-db", "routes".
	Object string `json:"object"`
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message"`
	// Policies that are not in force everywhere on the node for that, and are not named by an entry before; absent where there are none, or more than can
	// be named: see AllPolicies.
	// +kubebuilder:validation:MaxItems=64
	// +optional
	Policies []PolicyReference `json:"policies,omitempty"`
	// AllPolicies: any policy may be concerned.
	// +optional
	AllPolicies bool `json:"allPolicies,omitempty"`
}

// UnsupportedRule is one that the node's dataplane can't express.
type UnsupportedRule struct {
	Policy PolicyReference `json:"policy"`
	// Direction is ingress or egress.
	Direction string `json:"direction"`
	// Rule counts from 0, in the direction, as written.
	Rule int `json:"rule"`
	// Reason says what is done instead.
	// +kubebuilder:validation:MaxLength=1024
	Reason string `json:"reason"`
}

// StaleKind is a kind of which the datastore is not heard.
type StaleKind struct {
	Kind  string      `json:"kind"`
	Since metav1.Time `json:"since"`
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Reason string `json:"reason,omitempty"`
}

// NodeReportList is several.
// +kubebuilder:object:root=true
type NodeReportList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []NodeReport `json:"items"`
}
