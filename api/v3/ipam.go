package v3

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// EncapMode says when packets between nodes are encapsulated.
// +kubebuilder:validation:Enum=Never;Always;CrossSubnet
type EncapMode string

// The modes.
const (
	EncapNever       EncapMode = "Never"
	EncapAlways      EncapMode = "Always"
	EncapCrossSubnet EncapMode = "CrossSubnet"
)

// IPPool is a range of addresses for workloads, with how to route them.
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=ippools,categories=felid
type IPPool struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              IPPoolSpec   `json:"spec,omitempty"`
	Status            IPPoolStatus `json:"status,omitempty"`
}

// IPPoolSpec is the specification of an IPPool.
type IPPoolSpec struct {
	CIDR string `json:"cidr"`
	// +optional
	VXLANMode EncapMode `json:"vxlanMode,omitempty"`
	// +optional
	IPIPMode EncapMode `json:"ipipMode,omitempty"`
	// +optional
	NATOutgoing bool `json:"natOutgoing,omitempty"`
	// +optional
	Disabled bool `json:"disabled,omitempty"`
	// +optional
	DisableBGPExport bool `json:"disableBGPExport,omitempty"`
	// BlockSize is a prefix length: 26 and 122 by default.
	// +optional
	BlockSize int `json:"blockSize,omitempty"`
	// +optional
	NodeSelector string `json:"nodeSelector,omitempty"`
	// +optional
	NamespaceSelector string `json:"namespaceSelector,omitempty"`
	// AllowedUses: Workload, Tunnel (both by default), LoadBalancer.
	// +optional
	AllowedUses []string `json:"allowedUses,omitempty"`
	// AssignmentMode: Automatic (default) or Manual.
	// +kubebuilder:validation:Enum=Automatic;Manual
	// +optional
	AssignmentMode string `json:"assignmentMode,omitempty"`
}

// IPPoolStatus is what the controller reports.
type IPPoolStatus struct {
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// IPReservation takes addresses out of use.
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,categories=felid
type IPReservation struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              IPReservationSpec `json:"spec,omitempty"`
}

// IPReservationSpec is the specification of an IPReservation.
type IPReservationSpec struct {
	ReservedCIDRs []string `json:"reservedCIDRs,omitempty"`
}

// IPAMConfiguration is named "default".
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,categories=felid
type IPAMConfiguration struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              IPAMConfigurationSpec `json:"spec,omitempty"`
}

// IPAMConfigurationSpec is the specification of an IPAMConfiguration.
type IPAMConfigurationSpec struct {
	StrictAffinity   bool `json:"strictAffinity"`
	MaxBlocksPerHost int  `json:"maxBlocksPerHost,omitempty"`
	// AutoAllocateBlocks: true where absent.
	AutoAllocateBlocks           *bool  `json:"autoAllocateBlocks,omitempty"`
	KubeVirtVMAddressPersistence string `json:"kubeVirtVMAddressPersistence,omitempty"`
	IPCooldownSeconds            int    `json:"ipCooldownSeconds,omitempty"`
}

// IPAMBlock is a piece of a pool; it alone says which of its addresses are taken, and by whom.
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,categories=felid
type IPAMBlock struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              IPAMBlockSpec `json:"spec,omitempty"`
}

// IPAMBlockSpec is the specification of an IPAMBlock.
type IPAMBlockSpec struct {
	CIDR string `json:"cidr"`
	// Affinity is "host:NODE" or "virtual:NAME"; nil for none.
	Affinity          *string      `json:"affinity,omitempty"`
	AffinityClaimTime *metav1.Time `json:"affinityClaimTime,omitempty"`
	// Allocations has an entry per address: null where free, else an index into Attributes.
	Allocations []*int `json:"allocations"`
	// Unallocated are the ordinals that are free, first freed first.
	Unallocated []int                 `json:"unallocated"`
	Attributes  []AllocationAttribute `json:"attributes"`
	// SequenceNumber grows with every write; SequenceNumberForAllocation has, for an ordinal in decimal, the number at its assignment.
	SequenceNumber              uint64            `json:"sequenceNumber"`
	SequenceNumberForAllocation map[string]uint64 `json:"sequenceNumberForAllocation,omitempty"`
	Deleted                     bool              `json:"deleted,omitempty"`
}

// AllocationAttribute says whose an address is. Secondary holds pod, namespace, node, type, timestamp, interface, container.
type AllocationAttribute struct {
	HandleID            *string           `json:"handle_id,omitempty"`
	Secondary           map[string]string `json:"secondary,omitempty"`
	AlternateOwnerAttrs map[string]string `json:"alternateOwnerAttrs,omitempty"`
	ReleasedAt          *metav1.Time      `json:"releasedAt,omitempty"`
}

// BlockAffinity is a node's claim to a block.
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,categories=felid
type BlockAffinity struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              BlockAffinitySpec `json:"spec,omitempty"`
}

// BlockAffinitySpec is the specification of a BlockAffinity; State is pending, confirmed or pendingDeletion.
type BlockAffinitySpec struct {
	State   string `json:"state"`
	Node    string `json:"node"`
	Type    string `json:"type,omitempty"`
	CIDR    string `json:"cidr"`
	Deleted bool   `json:"deleted,omitempty"`
}

// IPAMHandle groups addresses by owner; derived from the blocks, read for migration.
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,categories=felid
type IPAMHandle struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              IPAMHandleSpec `json:"spec,omitempty"`
}

// IPAMHandleSpec is the specification of an IPAMHandle.
type IPAMHandleSpec struct {
	HandleID string         `json:"handleID"`
	Block    map[string]int `json:"block"`
	Deleted  bool           `json:"deleted,omitempty"`
}
