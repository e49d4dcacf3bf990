package v3

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// NetworkSet is a set of addresses that selectors of its namespace's policies find by label.
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Namespaced,shortName=netset;netsets,categories=felid
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name=Accepted,type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name=Age,type=date,JSONPath=".metadata.creationTimestamp"
type NetworkSet struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              NetworkSetSpec `json:"spec,omitempty"`
	Status            Status         `json:"status,omitzero"`
}

// GlobalNetworkSet is a set of addresses that selectors find by label.
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=gns,categories=felid
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name=Accepted,type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name=Age,type=date,JSONPath=".metadata.creationTimestamp"
type GlobalNetworkSet struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              NetworkSetSpec `json:"spec,omitempty"`
	Status            Status         `json:"status,omitzero"`
}

// NetworkSetSpec is the specification of both.
type NetworkSetSpec struct {
	// Nets are CIDRs or addresses of either family.
	// +kubebuilder:validation:MaxItems=131072
	// +kubebuilder:validation:items:MaxLength=49
	// +kubebuilder:validation:items:XValidation:rule="isCIDR(self) || isIP(self)",message="is not a CIDR; valid: such as 10.0.0.0/8, 2001:db8::/32, or an address"
	// +optional
	Nets []string `json:"nets,omitempty"`
	// AllowedEgressDomains are names, "*." wildcards included.
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:items:Pattern=`^(\*\.)?([a-zA-Z0-9_]([-a-zA-Z0-9_]{0,61}[a-zA-Z0-9_])?\.)*[a-zA-Z0-9_]([-a-zA-Z0-9_]{0,61}[a-zA-Z0-9_])?\.?$`
	// +optional
	AllowedEgressDomains []string `json:"allowedEgressDomains,omitempty"`
}

// HostEndpoint is an interface of a node, or all of them.
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=hep;heps,categories=felid
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name=Node,type=string,JSONPath=".spec.node"
// +kubebuilder:printcolumn:name=Interface,type=string,JSONPath=".spec.interfaceName"
// +kubebuilder:printcolumn:name=Addresses,type=string,JSONPath=".spec.expectedIPs"
// +kubebuilder:printcolumn:name=Accepted,type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name=Age,type=date,JSONPath=".metadata.creationTimestamp"
type HostEndpoint struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// +required
	Spec   HostEndpointSpec `json:"spec,omitempty"`
	Status Status           `json:"status,omitzero"`
}

// HostEndpointSpec is the specification of a HostEndpoint; interfaceName or expectedIPs is required.
//
// +kubebuilder:validation:XValidation:rule=`has(self.interfaceName) && self.interfaceName != "" || has(self.expectedIPs) && self.expectedIPs.size() > 0`,message="interfaceName or expectedIPs is needed"
type HostEndpointSpec struct {
	// +kubebuilder:validation:MinLength=1
	Node string `json:"node"`
	// InterfaceName, or "*" for all interfaces but those of workloads.
	// +kubebuilder:validation:Pattern=`^(\*|[^\s/:*<>]{0,15})$`
	// +optional
	InterfaceName string `json:"interfaceName,omitempty"`
	// +kubebuilder:validation:MaxItems=1024
	// +kubebuilder:validation:items:MaxLength=45
	// +kubebuilder:validation:items:XValidation:rule="isIP(self)",message="is not an address; valid: such as 10.0.0.1 or 2001:db8::1"
	// +optional
	ExpectedIPs []string `json:"expectedIPs,omitempty"`
	// +optional
	Profiles []string `json:"profiles,omitempty"`
	// +optional
	Ports []EndpointPort `json:"ports,omitempty"`

	// Invalid says what of the object can't be read ("" if all can) but for its node and elements of its lists: whom it is for, or by which policies.
	// Only decoders that are not strict fill it. InterfaceName is then UnreadableInterface where it is the interface that can't be read.
	// +kubebuilder:skipversion
	Invalid string `json:"-"`
}

// UnreadableInterface is what stands for the name of an interface that can't be read: no interface has it.
const UnreadableInterface = "<unreadable>"

// InterfaceProblem says why interfaceName can't be read; nil where it can, or is left out.
func (s *HostEndpointSpec) InterfaceProblem() error {
	if s.InterfaceName == "" || s.InterfaceName == "*" || interfaceName.MatchString(s.InterfaceName) {
		return nil
	}
	return fmt.Errorf("%q is not an interface; valid: \"*\", or a name of at most 15 characters", s.InterfaceName)
}

// EndpointPort is a named port of an endpoint.
type EndpointPort struct {
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[0-9]*[a-zA-Z_.-][a-zA-Z0-9_.-]*$`
	Name     string   `json:"name"`
	Protocol Protocol `json:"protocol"`
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port uint16 `json:"port"`
}

// Node is a view of a node of the cluster: its addresses, and what it needs for routing.
// +kubebuilder:object:root=true
type Node struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              NodeSpec `json:"spec,omitempty"`
}

// NodeSpec is the specification of a Node.
type NodeSpec struct {
	// Addresses of the node, of both families.
	Addresses []NodeAddress `json:"addresses,omitempty"`
	// OrchRefs, BGP and tunnel fields are kept as stored.
	OrchRefs             []OrchRef    `json:"orchRefs,omitempty"`
	BGP                  *NodeBGPSpec `json:"bgp,omitempty"`
	IPv4VXLANTunnelAddr  string       `json:"ipv4VXLANTunnelAddr,omitempty"`
	IPv6VXLANTunnelAddr  string       `json:"ipv6VXLANTunnelAddr,omitempty"`
	VXLANTunnelMACAddr   string       `json:"vxlanTunnelMACAddr,omitempty"`
	VXLANTunnelMACAddrV6 string       `json:"vxlanTunnelMACAddrV6,omitempty"`
}

// NodeAddress is one address; Type is InternalIP, ExternalIP or CalicoNodeIP.
type NodeAddress struct {
	Address string `json:"address"`
	Type    string `json:"type,omitempty"`
}

// OrchRef names the node as an orchestrator does.
type OrchRef struct {
	NodeName     string `json:"nodeName,omitempty"`
	Orchestrator string `json:"orchestrator"`
}

// NodeBGPSpec is the BGP part of a Node.
type NodeBGPSpec struct {
	ASNumber                *uint32 `json:"asNumber,omitempty"`
	IPv4Address             string  `json:"ipv4Address,omitempty"`
	IPv6Address             string  `json:"ipv6Address,omitempty"`
	IPv4IPIPTunnelAddr      string  `json:"ipv4IPIPTunnelAddr,omitempty"`
	RouteReflectorClusterID string  `json:"routeReflectorClusterID,omitempty"`
	Interface               string  `json:"interface,omitempty"`
}

// WorkloadEndpoint is a view of one interface of a pod.
// +kubebuilder:object:root=true
type WorkloadEndpoint struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              WorkloadEndpointSpec `json:"spec,omitempty"`
}

// WorkloadEndpointSpec is the specification of a WorkloadEndpoint.
type WorkloadEndpointSpec struct {
	Orchestrator string `json:"orchestrator,omitempty"`
	Workload     string `json:"workload,omitempty"`
	Node         string `json:"node,omitempty"`
	ContainerID  string `json:"containerID,omitempty"`
	Pod          string `json:"pod,omitempty"`
	// Endpoint is the interface's name inside the pod: eth0.
	Endpoint           string `json:"endpoint,omitempty"`
	ServiceAccountName string `json:"serviceAccountName,omitempty"`
	// IPNetworks are /32 and /128 prefixes, or plain addresses.
	IPNetworks  []string `json:"ipNetworks,omitempty"`
	IPNATs      []IPNAT  `json:"ipNATs,omitempty"`
	IPv4Gateway string   `json:"ipv4Gateway,omitempty"`
	IPv6Gateway string   `json:"ipv6Gateway,omitempty"`
	Profiles    []string `json:"profiles,omitempty"`
	// InterfaceName is the host's side: a veth on Linux, an HNS endpoint id on Windows.
	InterfaceName              string         `json:"interfaceName,omitempty"`
	MAC                        string         `json:"mac,omitempty"`
	Ports                      []EndpointPort `json:"ports,omitempty"`
	AllowSpoofedSourcePrefixes []string       `json:"allowSpoofedSourcePrefixes,omitempty"`
	// ProbePorts are the TCP ports that the kubelet's probes of the pod go to.
	ProbePorts []uint16 `json:"probePorts,omitempty"`
}

// IPNAT is a floating address.
type IPNAT struct {
	InternalIP string `json:"internalIP"`
	ExternalIP string `json:"externalIP"`
}

// ServiceEndpoints is a view of a Service (Selector and Ports) or of one of its EndpointSlices (Service and Endpoints).
// +kubebuilder:object:root=true
type ServiceEndpoints struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              ServiceEndpointsSpec `json:"spec,omitempty"`
}

// ServiceEndpointsSpec is the specification of a ServiceEndpoints. A view of a Service is named by the service; a view of a slice
// is named "SERVICE/SLICE". Where a service has slices they alone count; else its pods are found by Selector, with the target
// ports of Ports.
type ServiceEndpointsSpec struct {
	Service   string            `json:"service,omitempty"`
	Selector  string            `json:"selector,omitempty"`
	Ports     []ServicePort     `json:"ports,omitempty"`
	Endpoints []ServiceEndpoint `json:"endpoints,omitempty"`
}

// ServicePort is a port of a Service: Target is a number or the name of a port of the pod.
type ServicePort struct {
	Name     string   `json:"name,omitempty"`
	Protocol Protocol `json:"protocol"`
	Port     uint16   `json:"port"`
	Target   Port     `json:"target"`
}

// ServiceEndpoint is an address behind a service, with the ports it serves on.
type ServiceEndpoint struct {
	Address string         `json:"address"`
	Ports   []EndpointPort `json:"ports,omitempty"`
}
