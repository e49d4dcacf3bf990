package hns

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// What HNS gives is read with patience: a field that can't be read counts as absent where it can be somebody else's, so that one odd object
// does not hide all others. An object without an ID is an error.

const flagRemote = 1

type policyJSON struct {
	Type     string
	Settings json.RawMessage
}

// ParseNetwork reads a network of schema 2.
func ParseNetwork(raw json.RawMessage) (Network, error) {
	var n struct {
		ID, Name, Type string
		Ipams          []struct {
			Subnets []struct{ IpAddressPrefix string }
		}
		Policies []policyJSON
	}
	if err := json.Unmarshal(raw, &n); err != nil {
		return Network{}, fmt.Errorf("network: %w", err)
	}
	out := Network{ID: guid(n.ID), Name: n.Name, Type: n.Type}
	if out.ID == "" {
		return Network{}, errors.New("network: no ID")
	}
	if out.Type == "" {
		out.Type = "NAT" // HNS leaves its first type out
	}
	for _, ipam := range n.Ipams {
		for _, s := range ipam.Subnets {
			if p, err := netip.ParsePrefix(s.IpAddressPrefix); err == nil {
				out.Subnets = append(out.Subnets, p.Masked())
			}
		}
	}
	for _, p := range n.Policies {
		if p.Type != policySet {
			continue
		}
		if s, ok := parseSet(p.Settings); ok {
			out.Sets = append(out.Sets, s)
		}
	}
	return out, nil
}

// parseSet reads the settings of a SetPolicy; ok only for those of type IPSET.
func parseSet(raw json.RawMessage) (s Set, ok bool) {
	var j setJSON
	if json.Unmarshal(raw, &j) != nil || j.ID == "" || j.PolicyType != setIPs {
		return Set{}, false
	}
	s = Set{ID: j.ID, Name: j.Name}
	for v := range strings.SplitSeq(j.Values, ",") {
		if p, ok := parseMember(strings.TrimSpace(v)); ok {
			s.Members = append(s.Members, p)
		}
	}
	return s, true
}

func parseMember(s string) (netip.Prefix, bool) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a.Unmap().WithZone(""), a.Unmap().BitLen()), true
	}
	p, err := netip.ParsePrefix(s)
	if err != nil || p.Addr().Is4In6() {
		return netip.Prefix{}, false
	}
	return p.Masked(), true
}

// ParseEndpoint reads an endpoint of schema 2. That has no State; where HNS gives one all the same, it counts.
func ParseEndpoint(raw json.RawMessage) (Endpoint, error) {
	var e struct {
		ID, Name, HostComputeNetwork, HostComputeNamespace string
		Flags                                              uint32
		State                                              json.Number
		IpConfigurations                                   []struct{ IpAddress string }
		Policies                                           []policyJSON
	}
	if err := json.Unmarshal(raw, &e); err != nil {
		return Endpoint{}, fmt.Errorf("endpoint: %w", err)
	}
	out := Endpoint{ID: guid(e.ID), Name: e.Name, Network: guid(e.HostComputeNetwork), Namespace: guid(e.HostComputeNamespace), Remote: e.Flags&flagRemote != 0}
	if out.ID == "" {
		return Endpoint{}, errors.New("endpoint: no ID")
	}
	if out.Namespace == noGUID {
		out.Namespace = ""
	}
	if n, err := e.State.Int64(); err == nil && n > 0 && n <= int64(StateDestroyed) {
		out.State = State(n)
	}
	for _, c := range e.IpConfigurations {
		if a, err := netip.ParseAddr(c.IpAddress); err == nil {
			out.Addresses = append(out.Addresses, a.Unmap().WithZone(""))
		}
	}
	for _, p := range e.Policies {
		if p.Type != policyACL {
			out.Others = append(out.Others, p.Type)
			continue
		}
		if len(p.Settings) == 0 {
			continue
		}
		acl, err := ParseACL(p.Settings)
		if err != nil {
			acl = ACL{} // of no form of ours, so somebody else's: Raw has it
		}
		out.ACLs, out.Raw = append(out.ACLs, acl), append(out.Raw, p.Settings)
	}
	return out, nil
}

// text is a field that schema 2 has as a string, and objects made through schema 1 as a number.
type text string

func (t *text) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] != '"' {
		var n json.Number
		if err := json.Unmarshal(b, &n); err != nil {
			return err
		}
		*t = text(n)
		return nil
	}
	return json.Unmarshal(b, (*string)(t))
}

// aclJSON is an ACL with its texts as T.
type aclJSON[T text | string] struct {
	ID                                                                  T `json:"Id"`
	Protocols, LocalAddresses, RemoteAddresses, LocalPorts, RemotePorts T
	Action                                                              Action
	Direction                                                           Direction
	RuleType                                                            RuleType
	Priority                                                            uint16
}

func (j *aclJSON[T]) acl() ACL {
	return ACL{
		ID: string(j.ID), Protocols: string(j.Protocols), Action: j.Action, Direction: j.Direction,
		LocalAddresses: string(j.LocalAddresses), RemoteAddresses: string(j.RemoteAddresses),
		LocalPorts: string(j.LocalPorts), RemotePorts: string(j.RemotePorts), RuleType: j.RuleType, Priority: j.Priority,
	}
}

// ParseACL reads the settings of an endpoint policy of type ACL. Protocol 256, which is any, is read as none.
func ParseACL(raw json.RawMessage) (ACL, error) {
	var a ACL
	var plain aclJSON[string]
	if json.Unmarshal(raw, &plain) == nil {
		a = plain.acl()
	} else { // some of its texts may be numbers
		var odd aclJSON[text]
		if err := json.Unmarshal(raw, &odd); err != nil {
			return ACL{}, fmt.Errorf("ACL: %w", err)
		}
		a = odd.acl()
	}
	if a.Protocols == "256" {
		a.Protocols = ""
	}
	if a.Action == "" || a.Direction == "" {
		return ACL{}, errors.New("ACL: no Action, or no Direction")
	}
	return a, nil
}

// Namespace is a network compartment that endpoints are attached to.
type Namespace struct {
	ID          string
	Compartment uint32 // number of the compartment, for sockets
	Endpoints   []string
}

// ParseNamespace reads a namespace of schema 2.
func ParseNamespace(raw json.RawMessage) (Namespace, error) {
	var n struct {
		ID          string
		NamespaceId uint32
		Resources   []struct {
			Type string
			Data struct{ ID string }
		}
	}
	if err := json.Unmarshal(raw, &n); err != nil {
		return Namespace{}, fmt.Errorf("namespace: %w", err)
	}
	out := Namespace{ID: guid(n.ID), Compartment: n.NamespaceId}
	if out.ID == "" {
		return Namespace{}, errors.New("namespace: no ID")
	}
	for _, r := range n.Resources {
		if id := guid(r.Data.ID); r.Type == string(KindEndpoint) && id != "" {
			out.Endpoints = append(out.Endpoints, id)
		}
	}
	return out, nil
}

const noGUID = "00000000-0000-0000-0000-000000000000"

// guid brings an ID into the form that HNS gives: upper case, without braces.
func guid(s string) string {
	return strings.ToUpper(strings.Trim(s, "{}"))
}
