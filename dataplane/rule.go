package dataplane

import (
	"net/netip"
)

// Action is what a rule does with a packet that it matches.
type Action uint8

// The actions.
const (
	Allow Action = iota + 1
	Deny
	Pass // on to the next tier; after the last, to the profiles
	Log  // note it and go on
)

// String is the action as written in YAML.
func (a Action) String() string {
	switch a {
	case Allow:
		return "Allow"
	case Deny:
		return "Deny"
	case Pass:
		return "Pass"
	case Log:
		return "Log"
	}
	return "none"
}

// Direction is seen from the endpoint.
type Direction uint8

// The directions.
const (
	Ingress Direction = iota // to the endpoint
	Egress                   // from the endpoint
)

// String is "ingress" or "egress".
func (d Direction) String() string {
	if d == Egress {
		return "egress"
	}
	return "ingress"
}

// Rule matches a packet when all of its fields do; the zero value of a field matches everything.
type Rule struct {
	Action      Action
	IPVersion   uint8 // 4, 6, or 0 for both
	Protocol    uint8 // IANA number; 0 any
	NotProtocol uint8 // 0 none
	ICMP        *ICMP // of the family's own ICMP
	NotICMP     *ICMP
	Src, Dst    Side

	// Index in the policy as stored. Rules that stand for an unreadable or unsupported one keep its index.
	Index int
	// Note says why the rule is not what was written ("deny all: notSelector can't be read"); "" where it is.
	Note string
}

// ICMP matches a type and, where Code is not negative, a code.
type ICMP struct {
	Type uint8
	Code int16 // -1 any
}

// Side matches the source or the destination of a packet.
type Side struct {
	Nets    []netip.Prefix // the address is in one of them; empty: any
	NotNets []netip.Prefix // the address is in none of them
	// IPSets: the address is in each of them (type SetNets).
	IPSets    []IPSetID
	NotIPSets []IPSetID // the address is in none of them
	// Ports and PortSets are one union: the port is in one of the ranges, or (address, protocol, port) is in one of the sets (type
	// SetAddrPorts). Both empty: any.
	Ports    []PortRange
	PortSets []IPSetID
	// NotPorts and NotPortSets likewise: in none of them.
	NotPorts    []PortRange
	NotPortSets []IPSetID
}

// PortRange is inclusive. It only matches TCP, UDP, SCTP and UDP-Lite.
type PortRange struct {
	Min, Max uint16
}

// Protocol numbers (IANA).
const (
	ProtoICMP    uint8 = 1
	ProtoTCP     uint8 = 6
	ProtoUDP     uint8 = 17
	ProtoICMPv6  uint8 = 58
	ProtoSCTP    uint8 = 132
	ProtoUDPLite uint8 = 136
)
