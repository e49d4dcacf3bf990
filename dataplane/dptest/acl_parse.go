package dptest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/felid-net/felid/dataplane"
)

// aclRule is an ACL as HNS takes it in schema 2.
type aclRule struct {
	ID              string `json:"Id"`
	Protocols       string
	Action          string
	Direction       string
	LocalAddresses  string
	RemoteAddresses string
	LocalPorts      string
	RemotePorts     string
	RuleType        string
	Priority        uint16
	// What ACLs made through the older interface show besides; it says nothing more.
	Scope, InternalPort, LocalPort, RemotePort, Protocol, ServiceName, Type json.RawMessage

	index          int
	in, host       bool
	protocols      []uint8 // nil: any
	local, remote  aclAddrs
	lports, rports []dataplane.PortRange
}

// aclAddrs is an address field: prefixes, or names of sets, or nothing.
type aclAddrs struct {
	prefixes []netip.Prefix
	sets     []string
}

func (a aclAddrs) any() bool { return len(a.prefixes)+len(a.sets) == 0 }

func (r *aclRule) names(set string) bool {
	return slices.Contains(r.local.sets, set) || slices.Contains(r.remote.sets, set)
}

func (r *aclRule) namesSets() bool { return len(r.local.sets)+len(r.remote.sets) > 0 }

// limits are how many items a field takes, and how many rules a list.
func (m *HNS) limits() (items, rules int) {
	if m.False[H29] {
		return 100, 60
	}
	return 4000, 20000
}

func (n *HNSNetwork) parseACLs(list []byte) ([]*aclRule, error) {
	dec := json.NewDecoder(bytes.NewReader(list))
	dec.DisallowUnknownFields()
	var rules []*aclRule
	if err := dec.Decode(&rules); err != nil {
		return nil, fmt.Errorf("ACLs: %w", err)
	}
	if _, most := n.model.limits(); len(rules) > most {
		return nil, fmt.Errorf("%d ACLs, at most %d", len(rules), most)
	}
	for i, r := range rules {
		if r == nil {
			return nil, fmt.Errorf("ACL %d is null", i)
		}
		r.index = i
		if err := n.parse(r); err != nil {
			return nil, fmt.Errorf("ACL %d (%s): %w", i, r.ID, err)
		}
	}
	return rules, nil
}

func (n *HNSNetwork) parse(r *aclRule) error {
	if err := r.parseWords(); err != nil {
		return err
	}
	var err error
	if r.protocols, err = n.model.parseProtocols(r.Protocols); err != nil {
		return err
	}
	if r.local, err = n.parseAddresses(r.LocalAddresses); err != nil {
		return err
	}
	if r.remote, err = n.parseAddresses(r.RemoteAddresses); err != nil {
		return err
	}
	if err := r.checkMix(); err != nil {
		return err
	}
	if r.lports, err = n.model.parsePortField(r.LocalPorts, r.protocols); err != nil {
		return err
	}
	r.rports, err = n.model.parsePortField(r.RemotePorts, r.protocols)
	return err
}

func (r *aclRule) parseWords() error {
	if r.Action != "Allow" && r.Action != "Block" {
		return fmt.Errorf("field Action: %q", r.Action)
	}
	if r.Direction != "In" && r.Direction != "Out" {
		return fmt.Errorf("field Direction: %q", r.Direction)
	}
	r.in, r.host = r.Direction == "In", r.RuleType == "Host"
	switch {
	case r.RuleType != "Switch" && r.RuleType != "Host" && r.RuleType != "": // others leave it out, and HNS takes it for Switch
		return fmt.Errorf("field RuleType: %q", r.RuleType)
	case !r.host && (r.Priority < 100 || r.Priority > 65500):
		return fmt.Errorf("field Priority: %d is not in 100 to 65500", r.Priority)
	}
	return nil
}

// checkMix refuses what nobody knows the meaning of.
func (r *aclRule) checkMix() error {
	prefixes := slices.Concat(r.local.prefixes, r.remote.prefixes)
	if r.namesSets() && len(prefixes) > 0 {
		return fmt.Errorf("sets are mixed with addresses: local %q, remote %q", r.LocalAddresses, r.RemoteAddresses)
	}
	for _, p := range prefixes {
		if p.Addr().Is4() != prefixes[0].Addr().Is4() {
			return errors.New("addresses of both families in one ACL")
		}
	}
	return nil
}

func (m *HNS) parseProtocols(text string) ([]uint8, error) {
	if text == "" || text == "256" {
		return nil, nil
	}
	var protocols []uint8
	for _, p := range strings.Split(text, ",") {
		n, err := strconv.ParseUint(p, 10, 8)
		if err != nil {
			return nil, fmt.Errorf("field Protocols: %q: %w", text, err)
		}
		protocols = append(protocols, uint8(n))
	}
	if m.False[H11] {
		protocols = protocols[:1]
	}
	return protocols, nil
}

// parseAddresses reads a field of addresses, or of names of sets.
func (n *HNSNetwork) parseAddresses(text string) (aclAddrs, error) {
	var out aclAddrs
	if text == "" {
		return out, nil
	}
	items := strings.Split(text, ",")
	if most, _ := n.model.limits(); len(items) > most {
		return out, fmt.Errorf("%d addresses in a field, at most %d", len(items), most)
	}
	for _, item := range items {
		p, err := parseAddress(item)
		switch {
		case err == nil:
			err = n.model.checkAddress(item, p)
			out.prefixes = append(out.prefixes, p)
		case n.model.hasSets() && !errors.Is(err, errHostBits) && (n.has(item) || n.model.False[H39]):
			err = nil
			out.sets = append(out.sets, item)
		}
		if err != nil {
			return out, err
		}
	}
	if len(out.sets) > 0 && len(out.prefixes) > 0 {
		return out, fmt.Errorf("sets are mixed with addresses: %q", text)
	}
	if n.model.False[H8] && len(out.prefixes) > 1 {
		out.prefixes = out.prefixes[:1]
	}
	return out, nil
}

func (m *HNS) checkAddress(text string, p netip.Prefix) error {
	switch {
	case p.Addr().Is6() && !m.IPv6:
		return fmt.Errorf("address %q: the network has no IPv6", text)
	case m.False[H9] && !strings.Contains(text, "/"):
		return fmt.Errorf("address %q without a length", text)
	}
	return nil
}

func (m *HNS) parsePortField(text string, protocols []uint8) ([]dataplane.PortRange, error) {
	if text == "" {
		return nil, nil
	}
	if len(protocols) == 0 {
		return nil, fmt.Errorf("ports %q without a protocol", text)
	}
	for _, p := range protocols {
		if !hasPorts(p) {
			return nil, fmt.Errorf("ports %q with protocol %d", text, p)
		}
	}
	items := strings.Split(text, ",")
	if most, _ := m.limits(); len(items) > most {
		return nil, fmt.Errorf("%d ports in a field, at most %d", len(items), most)
	}
	var ranges []dataplane.PortRange
	for _, item := range items {
		r, err := parsePortItem(item)
		if err != nil {
			return nil, err
		}
		if m.False[H10] {
			r.Max = r.Min
		}
		ranges = append(ranges, r)
	}
	return ranges, nil
}

func parsePortItem(item string) (dataplane.PortRange, error) {
	low, high, ok := strings.Cut(item, "-")
	if !ok {
		high = low
	}
	a, err := strconv.ParseUint(low, 10, 16)
	if err != nil {
		return dataplane.PortRange{}, fmt.Errorf("port %q: %w", item, err)
	}
	b, err := strconv.ParseUint(high, 10, 16)
	if err != nil || a > b {
		return dataplane.PortRange{}, fmt.Errorf("port %q is not a range", item)
	}
	return dataplane.PortRange{Min: uint16(a), Max: uint16(b)}, nil
}
