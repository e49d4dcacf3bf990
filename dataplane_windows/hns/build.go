package hns

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strconv"
)

const (
	policyACL = "ACL"
	policySet = "SetPolicy"
	setIPs    = "IPSET"

	requestAdd    = "Add"
	requestUpdate = "Update"
	requestRemove = "Remove"

	flagNonPersistent = 8
)

type setJSON struct {
	ID         string `json:"Id"`
	Name       string
	PolicyType string
	Values     string
}

// Raw is the ACL as HNS takes it. Equal ACLs give equal text.
func (a ACL) Raw() json.RawMessage {
	b := make([]byte, 0, 160+len(a.ID)+len(a.LocalAddresses)+len(a.RemoteAddresses)+len(a.LocalPorts)+len(a.RemotePorts))
	b = append(b, '{')
	for _, f := range [...]struct{ name, value string }{
		{"Id", a.ID}, {"Protocols", a.Protocols}, {"Action", string(a.Action)}, {"Direction", string(a.Direction)},
		{"LocalAddresses", a.LocalAddresses}, {"RemoteAddresses", a.RemoteAddresses}, {"LocalPorts", a.LocalPorts}, {"RemotePorts", a.RemotePorts},
		{"RuleType", string(a.RuleType)},
	} {
		if f.value == "" {
			continue
		}
		b = appendField(b, f.name)
		b = appendString(b, f.value)
	}
	if a.Priority != 0 {
		b = appendField(b, "Priority")
		b = strconv.AppendUint(b, uint64(a.Priority), 10)
	}
	return append(b, '}')
}

func appendField(b []byte, name string) []byte {
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	b = append(b, '"')
	b = append(b, name...)
	return append(b, `":`...)
}

// appendString appends a JSON string.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(s) // a string has always a form
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// policyRequest asks to modify the policies of one type of a network or endpoint.
func policyRequest(request, policy string, settings []json.RawMessage) json.RawMessage {
	n := 100
	for _, s := range settings {
		n += len(s) + 32
	}
	b := make([]byte, 0, n)
	b = append(b, `{"ResourceType":"Policy","RequestType":"`...)
	b = append(b, request...)
	b = append(b, `","Settings":{"Policies":[`...)
	for i, s := range settings {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"Type":"`...)
		b = append(b, policy...)
		b = append(b, `","Settings":`...)
		b = append(b, s...)
		b = append(b, '}')
	}
	return append(b, `]}}`...)
}

// Raw is the set as HNS takes it: all members at each change, as there is no delta.
func (s Set) Raw() json.RawMessage {
	values := make([]byte, 0, 16*len(s.Members))
	for i, p := range s.Members {
		if i > 0 {
			values = append(values, ',')
		}
		if p.IsSingleIP() {
			values = p.Addr().AppendTo(values)
		} else {
			values = p.AppendTo(values)
		}
	}
	b := append(make([]byte, 0, len(values)+len(s.ID)+len(s.Name)+64), '{')
	for _, f := range [...]struct{ name, value string }{{"Id", s.ID}, {"Name", s.Name}, {"PolicyType", setIPs}, {"Values", string(values)}} {
		b = appendField(b, f.name)
		b = appendString(b, f.value)
	}
	return append(b, '}')
}

func setsRequest(request string, sets []Set) json.RawMessage {
	settings := make([]json.RawMessage, len(sets))
	for i, s := range sets {
		settings[i] = s.Raw()
	}
	return policyRequest(request, policySet, settings)
}

func attachRequest(request, endpoint string) json.RawMessage {
	b := append([]byte(nil), `{"ResourceType":"Endpoint","RequestType":"`...)
	b = append(b, request...)
	b = append(b, `","Settings":{"EndpointId":`...)
	b = appendString(b, endpoint)
	return append(b, "}}"...)
}

// NewNetwork is a network to be made.
type NewNetwork struct {
	ID, Name string // ID may be empty: HNS gives one
	Type     string
	Subnets  []Subnet
	// Persistent networks are there again after a reboot, and after a restart of the service.
	Persistent bool
}

// Subnet of a new network. HNS takes none without a gateway.
type Subnet struct {
	Prefix  netip.Prefix
	Gateway netip.Addr
}

// NewEndpoint is an endpoint to be made.
type NewEndpoint struct {
	ID, Name  string // ID may be empty
	Network   string // ID
	Addresses []netip.Prefix
	ACLs      []json.RawMessage
	Others    []Policy
}

// Policy of another type than ACL.
type Policy struct {
	Type     string
	Settings json.RawMessage
}

type schemaJSON struct{ Major, Minor int }

type routeJSON struct{ NextHop, DestinationPrefix string }

type subnetJSON struct {
	IpAddressPrefix string
	Routes          []routeJSON
}

type ipamJSON struct {
	Type    string
	Subnets []subnetJSON
}

func (n NewNetwork) raw() (json.RawMessage, error) {
	j := struct {
		ID            string `json:",omitempty"`
		Name, Type    string
		Flags         int        `json:",omitempty"`
		Ipams         []ipamJSON `json:",omitempty"`
		SchemaVersion schemaJSON
	}{ID: n.ID, Name: n.Name, Type: n.Type, SchemaVersion: schemaJSON{Major: 2}}
	if !n.Persistent {
		j.Flags = flagNonPersistent
	}
	ipam := ipamJSON{Type: "Static"}
	for _, s := range n.Subnets {
		all := "0.0.0.0/0"
		if s.Prefix.Addr().Is6() {
			all = "::/0"
		}
		ipam.Subnets = append(ipam.Subnets, subnetJSON{s.Prefix.String(), []routeJSON{{s.Gateway.String(), all}}})
	}
	if len(ipam.Subnets) > 0 {
		j.Ipams = []ipamJSON{ipam}
	}
	return json.Marshal(j)
}

type addressJSON struct {
	IpAddress    string
	PrefixLength int
}

func (n NewEndpoint) raw() (json.RawMessage, error) {
	j := struct {
		ID                       string `json:",omitempty"`
		Name, HostComputeNetwork string
		IpConfigurations         []addressJSON `json:",omitempty"`
		Policies                 []Policy      `json:",omitempty"`
		SchemaVersion            schemaJSON
	}{ID: n.ID, Name: n.Name, HostComputeNetwork: n.Network, Policies: slices.Clone(n.Others), SchemaVersion: schemaJSON{Major: 2}}
	for _, a := range n.Addresses {
		j.IpConfigurations = append(j.IpConfigurations, addressJSON{a.Addr().String(), a.Bits()})
	}
	for _, a := range n.ACLs {
		j.Policies = append(j.Policies, Policy{policyACL, a})
	}
	return json.Marshal(j)
}

// Equal tells whether two sets are the same object with the same members, in any order.
func (s Set) Equal(o Set) bool {
	if s.ID != o.ID || s.Name != o.Name || len(s.Members) != len(o.Members) {
		return false
	}
	a, b := slices.Clone(s.Members), slices.Clone(o.Members)
	slices.SortFunc(a, netip.Prefix.Compare)
	slices.SortFunc(b, netip.Prefix.Compare)
	return slices.Equal(a, b)
}
