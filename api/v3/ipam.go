package v3

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// EncapMode says when packets between nodes are encapsulated.
// +kubebuilder:validation:Enum=Never;Always;CrossSubnet;""
type EncapMode string

// The modes.
const (
	EncapNever       EncapMode = "Never"
	EncapAlways      EncapMode = "Always"
	EncapCrossSubnet EncapMode = "CrossSubnet"
)

// IPPool is a range of addresses for workloads, with how to route them.
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=pool;pools,categories=felid
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name=CIDR,type=string,JSONPath=".spec.cidr"
// +kubebuilder:printcolumn:name=VXLAN,type=string,JSONPath=".spec.vxlanMode"
// +kubebuilder:printcolumn:name=IPIP,type=string,JSONPath=".spec.ipipMode"
// +kubebuilder:printcolumn:name=NAT,type=boolean,JSONPath=".spec.natOutgoing"
// +kubebuilder:printcolumn:name=Disabled,type=boolean,JSONPath=".spec.disabled"
// +kubebuilder:printcolumn:name=Uses,type=string,JSONPath=".spec.allowedUses"
// +kubebuilder:printcolumn:name=Allocatable,type=string,JSONPath=`.status.conditions[?(@.type=="Allocatable")].status`
// +kubebuilder:printcolumn:name=Accepted,type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name=Age,type=date,JSONPath=".metadata.creationTimestamp"
type IPPool struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// +required
	Spec   IPPoolSpec   `json:"spec,omitempty"`
	Status IPPoolStatus `json:"status,omitempty"`
}

// IPPoolSpec is the specification of an IPPool.
//
// +kubebuilder:validation:XValidation:rule="!has(self.blockSize) || self.blockSize == 0 || (self.cidr.contains(':') ? self.blockSize >= 116 && self.blockSize <= 128 : self.blockSize >= 20 && self.blockSize <= 32)",message="blockSize is 20 to 32 (IPv4), or 116 to 128 (IPv6)",fieldPath=".blockSize"
// +kubebuilder:validation:XValidation:rule="!isCIDR(self.cidr) || cidr(self.cidr).prefixLength() <= (has(self.blockSize) && self.blockSize != 0 ? self.blockSize : self.cidr.contains(':') ? 122 : 26)",message="cidr is smaller than one block",fieldPath=".cidr"
// +kubebuilder:validation:XValidation:rule=`!has(self.ipipMode) || self.ipipMode in ["", 'Never'] || !self.cidr.contains(':')`,message="IPIP carries IPv4 only; valid: Never",fieldPath=".ipipMode"
// +kubebuilder:validation:XValidation:rule=`!has(self.ipipMode) || self.ipipMode in ["", 'Never'] || !has(self.vxlanMode) || self.vxlanMode in ["", 'Never']`,message="one of vxlanMode and ipipMode must be Never",fieldPath=".vxlanMode"
// +kubebuilder:validation:XValidation:rule="!has(self.allowedUses) || !('LoadBalancer' in self.allowedUses) || self.allowedUses.size() == 1",message="LoadBalancer excludes other uses",fieldPath=".allowedUses"
// +kubebuilder:validation:XValidation:rule=`!has(self.allowedUses) || !('LoadBalancer' in self.allowedUses) || (!has(self.vxlanMode) || self.vxlanMode in ["", 'Never']) && (!has(self.ipipMode) || self.ipipMode in ["", 'Never']) && (!has(self.nodeSelector) || self.nodeSelector in ["", 'all()']) && (!has(self.disableBGPExport) || !self.disableBGPExport)`,message="allowedUses LoadBalancer needs vxlanMode and ipipMode Never, nodeSelector all(), and disableBGPExport false"
// +kubebuilder:validation:XValidation:rule="(has(self.blockSize) && self.blockSize != 0 ? self.blockSize : self.cidr.contains(':') ? 122 : 26) == (has(oldSelf.blockSize) && oldSelf.blockSize != 0 ? oldSelf.blockSize : oldSelf.cidr.contains(':') ? 122 : 26)",message="blockSize can't be changed; make another pool and delete this one",fieldPath=".blockSize"
type IPPoolSpec struct {
	// +kubebuilder:validation:MaxLength=49
	// +kubebuilder:validation:XValidation:rule="isCIDR(self) && (self.contains(':') ? cidr(self.substring(0, self.indexOf('/')) + '/128').containsIP(cidr(self).masked().ip()) : cidr(self.substring(0, self.indexOf('/')) + '/32').containsIP(cidr(self).masked().ip()))",message="is not a CIDR without host bits; valid: such as 10.0.0.0/16 or fd00::/48"
	// +kubebuilder:validation:XValidation:rule="!isCIDR(self) || !(cidr('169.254.0.0/16').containsCIDR(self) || cidr(self).containsCIDR('169.254.0.0/16') || cidr('fe80::/10').containsCIDR(self) || cidr(self).containsCIDR('fe80::/10'))",message="overlaps link-local addresses, which are not routed"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="can't be changed; make another pool and delete this one"
	CIDR string `json:"cidr"`
	// +kubebuilder:default=Never
	// +optional
	VXLANMode EncapMode `json:"vxlanMode,omitempty"`
	// +kubebuilder:default=Never
	// +optional
	IPIPMode EncapMode `json:"ipipMode,omitempty"`
	// +optional
	NATOutgoing bool `json:"natOutgoing,omitempty"`
	// +optional
	Disabled bool `json:"disabled,omitempty"`
	// +optional
	DisableBGPExport bool `json:"disableBGPExport,omitempty"`
	// BlockSize is a prefix length; absent, it is 26 for IPv4 and 122 for IPv6.
	// +optional
	BlockSize int `json:"blockSize,omitempty"`
	// +kubebuilder:default="all()"
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule=`!self.matches(r"global\s*\(")`,message="global() can't be used here; it belongs in the namespaceSelector of a rule"
	// +optional
	NodeSelector string `json:"nodeSelector,omitempty"`
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule=`!self.matches(r"global\s*\(")`,message="global() can't be used here; it belongs in the namespaceSelector of a rule"
	// +optional
	NamespaceSelector string `json:"namespaceSelector,omitempty"`
	// AllowedUses: Workload, Tunnel (both by default), LoadBalancer.
	// +kubebuilder:default={Workload,Tunnel}
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:Enum=Workload;Tunnel;LoadBalancer
	// +optional
	AllowedUses []string `json:"allowedUses,omitempty"`
	// AssignmentMode: Automatic (default) or Manual.
	// +kubebuilder:default=Automatic
	// +kubebuilder:validation:Enum=Automatic;Manual;""
	// +optional
	AssignmentMode string `json:"assignmentMode,omitempty"`
}

// IPPoolStatus is what the controller reports.
type IPPoolStatus struct {
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// IPReservation takes addresses out of use.
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,categories=felid
// +kubebuilder:printcolumn:name=CIDRs,type=string,JSONPath=".spec.reservedCIDRs"
// +kubebuilder:printcolumn:name=Age,type=date,JSONPath=".metadata.creationTimestamp"
type IPReservation struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              IPReservationSpec `json:"spec,omitempty"`
}

// IPReservationSpec is the specification of an IPReservation.
type IPReservationSpec struct {
	// +kubebuilder:validation:MaxItems=16384
	// +kubebuilder:validation:items:MaxLength=49
	// +kubebuilder:validation:items:XValidation:rule="isCIDR(self) || isIP(self)",message="is not a CIDR; valid: such as 10.0.0.0/8, 2001:db8::/32, or an address"
	ReservedCIDRs []string `json:"reservedCIDRs,omitempty"`
}

// IPAMConfiguration is named "default".
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=ipamconfig;ipamconfigs,categories=felid
// +kubebuilder:printcolumn:name=Age,type=date,JSONPath=".metadata.creationTimestamp"
// +kubebuilder:validation:XValidation:rule="self.metadata.name == 'default'",message="the one IPAMConfiguration is named default"
type IPAMConfiguration struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// +kubebuilder:default={}
	Spec IPAMConfigurationSpec `json:"spec,omitempty"`
}

// IPAMConfigurationSpec is the specification of an IPAMConfiguration.
type IPAMConfigurationSpec struct {
	// +optional
	StrictAffinity bool `json:"strictAffinity"`
	// +kubebuilder:default=20
	// +kubebuilder:validation:Minimum=0
	MaxBlocksPerHost int `json:"maxBlocksPerHost,omitempty"`
	// AutoAllocateBlocks: true where absent.
	// +kubebuilder:default=true
	AutoAllocateBlocks *bool `json:"autoAllocateBlocks,omitempty"`
	// +kubebuilder:default=Enabled
	// +kubebuilder:validation:Enum=Enabled;Disabled;""
	KubeVirtVMAddressPersistence string `json:"kubeVirtVMAddressPersistence,omitempty"`
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1200
	IPCooldownSeconds int `json:"ipCooldownSeconds,omitempty"`
}

// IPAMBlock is a piece of a pool; it alone says which of its addresses are taken, and by whom.
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,categories=felid
// +kubebuilder:printcolumn:name=CIDR,type=string,JSONPath=".spec.cidr"
// +kubebuilder:printcolumn:name=Affinity,type=string,JSONPath=".spec.affinity"
// +kubebuilder:printcolumn:name=Age,type=date,JSONPath=".metadata.creationTimestamp"
type IPAMBlock struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// +required
	Spec IPAMBlockSpec `json:"spec,omitempty"`
}

// IPAMBlockSpec is the specification of an IPAMBlock. The API server judges its size alone: agents write blocks at every pod's start.
//
// +kubebuilder:validation:XValidation:rule="!isCIDR(self.cidr) || (self.cidr.contains(':') ? 128 : 32) - cidr(self.cidr).prefixLength() <= 12",message="cidr is too large for a block; valid: at most 4096 addresses",fieldPath=".cidr"
// +kubebuilder:validation:XValidation:rule="!isCIDR(self.cidr) || (self.cidr.contains(':') ? 128 : 32) - cidr(self.cidr).prefixLength() > 12 || self.allocations.size() == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096][(self.cidr.contains(':') ? 128 : 32) - cidr(self.cidr).prefixLength()]",message="allocations has one element an address",fieldPath=".allocations"
type IPAMBlockSpec struct {
	// +kubebuilder:validation:MaxLength=49
	// +kubebuilder:validation:XValidation:rule="isCIDR(self) && (self.contains(':') ? cidr(self.substring(0, self.indexOf('/')) + '/128').containsIP(cidr(self).masked().ip()) : cidr(self.substring(0, self.indexOf('/')) + '/32').containsIP(cidr(self).masked().ip()))",message="is not a CIDR without host bits; valid: such as 10.0.0.0/16 or fd00::/48"
	CIDR string `json:"cidr"`
	// Affinity is "host:NODE" or "virtual:NAME"; nil for none.
	// +kubebuilder:validation:Pattern=`^(host|virtual):`
	Affinity          *string      `json:"affinity,omitempty"`
	AffinityClaimTime *metav1.Time `json:"affinityClaimTime,omitempty"`
	// Allocations has an entry per address: null where free, else an index into Attributes.
	// +kubebuilder:validation:MaxItems=4096
	Allocations []*int `json:"allocations"`
	// Unallocated are the ordinals that are free, first freed first.
	// +optional
	// +nullable
	Unallocated []int `json:"unallocated"`
	// +optional
	// +nullable
	Attributes []AllocationAttribute `json:"attributes"`
	// SequenceNumber grows with every write; SequenceNumberForAllocation has, for an ordinal in decimal, the number at its assignment.
	// +optional
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
// +kubebuilder:printcolumn:name=CIDR,type=string,JSONPath=".spec.cidr"
// +kubebuilder:printcolumn:name=Node,type=string,JSONPath=".spec.node"
// +kubebuilder:printcolumn:name=State,type=string,JSONPath=".spec.state"
// +kubebuilder:printcolumn:name=Age,type=date,JSONPath=".metadata.creationTimestamp"
type BlockAffinity struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// +required
	Spec BlockAffinitySpec `json:"spec,omitempty"`
}

// BlockAffinitySpec is the specification of a BlockAffinity.
type BlockAffinitySpec struct {
	// State is wanted (a node asks for a block of the pool whose CIDR it names), pending, confirmed or pendingDeletion.
	// +kubebuilder:validation:Enum=pending;confirmed;pendingDeletion;wanted
	State string `json:"state"`
	// +kubebuilder:validation:MinLength=1
	Node string `json:"node"`
	// +kubebuilder:default=host
	// +kubebuilder:validation:Enum=host;virtual;""
	Type string `json:"type,omitempty"`
	// +kubebuilder:validation:MaxLength=49
	// +kubebuilder:validation:XValidation:rule="isCIDR(self) && (self.contains(':') ? cidr(self.substring(0, self.indexOf('/')) + '/128').containsIP(cidr(self).masked().ip()) : cidr(self.substring(0, self.indexOf('/')) + '/32').containsIP(cidr(self).masked().ip()))",message="is not a CIDR without host bits; valid: such as 10.0.0.0/16 or fd00::/48"
	CIDR    string `json:"cidr"`
	Deleted bool   `json:"deleted,omitempty"`
}

// IPAMHandle groups addresses by owner; derived from the blocks, read for migration.
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,categories=felid
type IPAMHandle struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// +required
	Spec IPAMHandleSpec `json:"spec,omitempty"`
}

// IPAMHandleSpec is the specification of an IPAMHandle.
type IPAMHandleSpec struct {
	// +kubebuilder:validation:MinLength=1
	HandleID string `json:"handleID"`
	// +optional
	// +nullable
	Block   map[string]int `json:"block"`
	Deleted bool           `json:"deleted,omitempty"`
}
