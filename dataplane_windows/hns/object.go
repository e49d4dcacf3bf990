package hns

import (
	"encoding/json"
	"net/netip"
)

// Network of HNS: a virtual switch and the subnets behind it.
type Network struct {
	ID, Name string
	Type     string // Overlay, L2Bridge, L2Tunnel, Transparent, NAT …
	Subnets  []netip.Prefix
	Sets     []Set // those of type IPSET that stand on it, whoever made them
}

// Endpoint of HNS: a port of the switch. An ID is a GUID in upper case, without braces.
type Endpoint struct {
	ID, Name  string
	Network   string // ID
	Namespace string // ID of the network namespace that it is attached to; "" for none
	State     State
	Remote    bool // somewhere else: kube-proxy keeps such
	Addresses []netip.Addr
	// ACLs are all there are on it, in HNS's order. Raw keeps the settings of each as HNS gave them, so that what is not ours is written back as it was.
	ACLs []ACL
	Raw  []json.RawMessage
	// Others are the types of its policies that are no ACLs, in HNS's order: OutBoundNAT, SDNRoute …
	Others []string
}

// State of an endpoint.
type State int

// The states.
const (
	StateUnknown State = iota
	StateCreated
	StateAttached
	StateAttachedSharing
	StateDetached
	StateDegraded
	StateDestroyed
)

// Set is a set of addresses that hangs on a network (SetPolicy of type IPSET, since HNS 13.0). ACLs of the network's endpoints name it by its ID.
type Set struct {
	ID, Name string
	Members  []netip.Prefix
}
