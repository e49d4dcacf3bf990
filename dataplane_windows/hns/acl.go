package hns

// ACL is the settings of an endpoint policy of type ACL. Among the ACLs of an endpoint that match a packet, the one with the lowest
// Priority decides; between equal ones HNS decides as it likes. Empty lists match everything: addresses, ports, protocols.
//
// Local is the endpoint's side and Remote the other, in both directions; ports likewise.
type ACL struct {
	// ID is a name for people and traces. HNS takes it since version 7.2.
	ID string `json:"Id,omitempty"`
	// Protocols are IANA numbers, separated by commas.
	Protocols string `json:",omitempty"`
	Action    Action
	Direction Direction
	// LocalAddresses and RemoteAddresses are addresses and masked CIDRs, separated by commas.
	LocalAddresses  string `json:",omitempty"`
	RemoteAddresses string `json:",omitempty"`
	// LocalPorts and RemotePorts are numbers and ranges "a-b", separated by commas, for protocols that have ports.
	LocalPorts  string `json:",omitempty"`
	RemotePorts string `json:",omitempty"`
	RuleType    RuleType
	// Priority of a rule of type Switch is 100 to 65500; those of type Host have none since HNS 7.2.
	Priority uint16 `json:",omitempty"`
}

// Action of an ACL.
type Action string

// The actions.
const (
	Allow Action = "Allow"
	Block Action = "Block"
)

// Direction is seen from the endpoint.
type Direction string

// The directions.
const (
	In  Direction = "In"
	Out Direction = "Out"
)

// RuleType says where an ACL is enforced: at the port of the virtual switch, or in the network compartment of the host.
type RuleType string

// The types.
const (
	Switch RuleType = "Switch"
	Host   RuleType = "Host"
)
