package dataplane

import (
	"net/netip"
	"slices"
)

// State is everything that one host has to enforce and route. It is valid until Apply returns.
type State struct {
	Endpoints map[EndpointID]*Endpoint
	Policies  map[PolicyID]*Policy // profiles too, as kind Profile
	IPSets    map[IPSetID]*IPSet
	Nodes     map[NodeName]*Node
	Routes    map[netip.Prefix]Route // to other nodes, and blackholes for this node's blocks; not those to local endpoints
	VTEPs     map[NodeName]VTEP
	NAT       NAT
	Host      Host
}

// NewState is a State with empty, writable maps.
func NewState() *State {
	return &State{
		Endpoints: map[EndpointID]*Endpoint{},
		Policies:  map[PolicyID]*Policy{},
		IPSets:    map[IPSetID]*IPSet{},
		Nodes:     map[NodeName]*Node{},
		Routes:    map[netip.Prefix]Route{},
		VTEPs:     map[NodeName]VTEP{},
	}
}

// NodeName is the name of a node of the cluster.
type NodeName string

// EndpointID identifies an endpoint, in the form that people write it: "pod/NS/NAME" for eth0 of a pod, "pod/NS/NAME/IFACE" for
// another interface, "container/ID/IFACE" without a pod, "hostendpoint/NAME".
type EndpointID string

// PolicyID identifies a policy or a profile.
type PolicyID struct {
	Kind      string // NetworkPolicy, GlobalNetworkPolicy, KubernetesNetworkPolicy, Profile …
	Namespace string // "" for cluster-scoped kinds
	Name      string
}

// String is "NetworkPolicy web-ns/allow-db" or "Profile kns.web-ns".
func (p PolicyID) String() string {
	if p.Namespace == "" {
		return p.Kind + " " + p.Name
	}
	return p.Kind + " " + p.Namespace + "/" + p.Name
}

// Endpoint is one interface that policy applies to.
type Endpoint struct {
	ID        EndpointID
	Node      NodeName
	Interface string       // the host's side: a veth on Linux, an HNS endpoint id on Windows; "" while unknown
	Addresses []netip.Addr // sorted; of both families; one that several endpoints claim stays with all of them
	// AllowedSources are further prefixes it may send from.
	AllowedSources []netip.Prefix
	Ports          []NamedPort // sorted; for dataplanes that expand named ports per endpoint
	// Tiers are those in which a policy applies to the endpoint, in order.
	Tiers []EndpointTier
	// Profiles, in order, decide after the last tier; where none matches, the packet is dropped.
	Profiles []PolicyID
	// Probes are the ports that the kubelet's probes of the pod go to; sorted, without names. See HostToWorkloadProbePorts.
	Probes []NamedPort
	// Host is what more there is to an interface of the host itself; nil for a workload.
	Host *HostEndpoint
}

// HostEndpoint is the further policy of an endpoint that is an interface of the host. The endpoint's Interface is then its name, "*" for
// all that are neither workloads' nor loopback and have no endpoint of their own, or "" where it is the one that has one of Addresses. Its
// Tiers and Profiles are for packets that the host itself sends and gets; what it forwards is for Forward alone. An interface with
// no endpoint is not policed.
//
// A packet that comes in crosses Untracked, PreDNAT (both see the destination as it was sent), then Tiers or Forward (which see where it really goes);
// one that the host sends crosses Untracked, then Tiers; one that it forwards out, Forward alone. An Allow of Untracked or PreDNAT is the last word of this endpoint on the packet in this
// direction. At the end of the last tier of Untracked, PreDNAT and Forward, where nothing decided, the packet goes on.
type HostEndpoint struct {
	Untracked []EndpointTier // policies with doNotTrack; Default is Pass
	PreDNAT   []EndpointTier // policies with preDNAT: ingress only; Default is Pass
	Forward   []EndpointTier // policies with applyOnForward, which are in Tiers too
	// Fault says why the resource can't be read; "" where it can. With a fault all is denied in each direction, but for failsafe ports.
	Fault string
}

// EndpointTier is a tier as one endpoint sees it.
type EndpointTier struct {
	Name    string
	Ingress []PolicyID // in order; empty: the tier is skipped in this direction
	Egress  []PolicyID
	// Default is what happens at the end of the tier, where a policy applied but no rule decided: Deny or Pass.
	Default Action
}

// NamedPort is a port of an endpoint that rules may name.
type NamedPort struct {
	Name     string
	Protocol uint8 // IANA number
	Port     uint16
}

// Policy is an ordered list of rules per direction.
type Policy struct {
	ID      PolicyID
	Tier    string // "" for profiles
	Ingress []Rule
	Egress  []Rule
}

// IPSetID is derived from what the set means, so that rules which mean the same share one. At most 24 characters of
// [A-Za-z0-9_-].
type IPSetID string

// IPSetType says what members of a set are.
type IPSetType uint8

// The types of set.
const (
	SetNets      IPSetType = iota // members are prefixes, of both families
	SetAddrPorts                  // members are (address, protocol, port)
)

// IPSet is a set of prefixes, or of (address, protocol, port). A set may have members of both families; an empty one matches
// nothing.
type IPSet struct {
	ID      IPSetID
	Type    IPSetType
	Members map[Member]struct{}
	Text    string // what it means, for people: "selector role == \"db\"", "named port http (TCP)"
}

// Member of an IP set. In SetNets, Protocol and Port are 0; in SetAddrPorts, Prefix has full length. Prefixes are masked;
// addresses are unmapped (no ::ffff:a.b.c.d) and have no zone.
type Member struct {
	Prefix   netip.Prefix
	Protocol uint8
	Port     uint16
}

// Node is a node of the cluster.
type Node struct {
	Name      NodeName
	Addresses []netip.Addr // sorted
}

// Encap is how a packet gets to another node.
type Encap uint8

// The encapsulations.
const (
	EncapNone Encap = iota
	EncapIPIP
	EncapVXLAN
)

// Route is a route to a block of addresses.
type Route struct {
	Prefix    netip.Prefix
	Node      NodeName
	Via       netip.Addr // address of Node; invalid for a blackhole
	Encap     Encap
	Blackhole bool // this node's own block: what no endpoint has is dropped here, not sent around
}

// VTEP is the VXLAN tunnel end of a node.
type VTEP struct {
	Node NodeName
	Addr netip.Addr // inside the tunnel
	MAC  string
	Via  netip.Addr // underlay address
}

// NAT says which connections are masqueraded when they leave: from Masquerade, to anywhere but Exclude.
type NAT struct {
	Masquerade []netip.Prefix // pools with natOutgoing; sorted, no duplicates
	Exclude    []netip.Prefix // all pools; sorted, no duplicates
}

// Host is what concerns this host as such.
type Host struct {
	Node NodeName // "" in a State that treats every node's endpoints as local (offline answers)
	// Owner: felid is the network, and accepts what policy allows. Otherwise it is a guest beside another CNI: it marks and
	// returns, so that later rules of others still apply.
	Owner bool
	// InterfacePrefix of pods' interfaces on this host; one that has it and is no endpoint's is dropped.
	InterfacePrefix string
	// HostToWorkload says what a node may send to its own pods.
	HostToWorkload HostToWorkload
	// WorkloadToHost is what happens to a packet from a pod to this host that its egress policy allowed: Allow, Deny, or Pass (left to the
	// host's own rules).
	WorkloadToHost Action
	IPv6           bool // whether IPv6 is routed and policed; if not, pods' IPv6 is dropped
	MTU            int  // 0: leave
	// FailsafeInbound and FailsafeOutbound are what no policy on a host endpoint closes, so that nobody locks a host out: connections to these
	// ports of the host, and from the host to these ports elsewhere. The slices are never changed.
	FailsafeInbound, FailsafeOutbound []Failsafe
}

// Failsafe is a port that stays open on host endpoints.
type Failsafe struct {
	Protocol uint8 // IANA number
	Port     uint16
	Net      netip.Prefix // of the other side; the zero Prefix: anybody, of both families
}

// Equal tells whether two hosts are treated alike.
func (h *Host) Equal(o *Host) bool {
	a, b := *h, *o
	return slices.Equal(a.FailsafeInbound, b.FailsafeInbound) && slices.Equal(a.FailsafeOutbound, b.FailsafeOutbound) &&
		a.Node == b.Node && a.Owner == b.Owner && a.InterfacePrefix == b.InterfacePrefix && a.HostToWorkload == b.HostToWorkload &&
		a.WorkloadToHost == b.WorkloadToHost && a.IPv6 == b.IPv6 && a.MTU == b.MTU
}

// HostToWorkload is how traffic from a node to its own pods is treated.
type HostToWorkload uint8

// The treatments.
const (
	HostToWorkloadAll        HostToWorkload = iota // allowed
	HostToWorkloadPolicy                           // left to policy
	HostToWorkloadProbePorts                       // allowed to the ports that the pod's probes name; else left to policy
)
