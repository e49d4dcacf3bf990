package dptest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/felid-net/felid/dataplane"
)

// ACLTrace is what a list of HNS ACLs says of a packet.
type ACLTrace struct {
	Action dataplane.Action // Allow or Deny
	// Index of the rule that decided in the list, and its Id; -1 where none matched.
	Index int
	ID    string
}

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

	index         int
	in            bool
	protocols     []uint8 // nil: any
	local, remote []netip.Prefix
	lports, rport []dataplane.PortRange
}

// TraceACLs runs a packet through the ACLs of one endpoint, given as a JSON list of HNS ACL settings. The lowest priority number
// wins; unmatched packets are blocked as soon as there is any rule. Rules of equal priority that overlap and differ in action are
// an error, because HNS decides between them as it likes; so is everything that HNS would refuse.
func TraceACLs(list []byte, dir dataplane.Direction, t Tuple) (ACLTrace, error) {
	rules, err := parseACLs(list)
	if err != nil {
		return ACLTrace{}, err
	}
	if err := checkTies(rules); err != nil {
		return ACLTrace{}, err
	}
	if len(rules) == 0 {
		return ACLTrace{Action: dataplane.Allow, Index: -1}, nil
	}
	// Rules of type Host are a layer of their own, behind the switch's; where none matches it lets the packet through.
	in := dir == dataplane.Ingress
	if host := bestACL(rules, "Host", in, t); host != nil && host.Action == "Block" {
		return host.trace(), nil
	}
	if best := bestACL(rules, "Switch", in, t); best != nil {
		return best.trace(), nil
	}
	return ACLTrace{Action: dataplane.Deny, Index: -1}, nil
}

func (r *aclRule) trace() ACLTrace {
	action := dataplane.Allow
	if r.Action == "Block" {
		action = dataplane.Deny
	}
	return ACLTrace{Action: action, Index: r.index, ID: r.ID}
}

func bestACL(rules []*aclRule, layer string, in bool, t Tuple) *aclRule {
	var best *aclRule
	for _, r := range rules {
		if r.RuleType == layer && r.in == in && r.matches(t) && (best == nil || r.Priority < best.Priority) {
			best = r
		}
	}
	return best
}

// matches is seen from the endpoint: going in, the packet's destination is local.
func (r *aclRule) matches(t Tuple) bool {
	local, remote, lport, rport := t.Src, t.Dst, t.SrcPort, t.DstPort
	if r.in {
		local, remote, lport, rport = t.Dst, t.Src, t.DstPort, t.SrcPort
	}
	if r.protocols != nil && !slices.Contains(r.protocols, t.Protocol) {
		return false
	}
	if len(r.local) > 0 && !within(local, r.local) || len(r.remote) > 0 && !within(remote, r.remote) {
		return false
	}
	return inRanges(lport, r.lports) && inRanges(rport, r.rport)
}

// inRanges is true for no ranges at all.
func inRanges(port uint16, ranges []dataplane.PortRange) bool {
	for _, r := range ranges {
		if r.Min <= port && port <= r.Max {
			return true
		}
	}
	return len(ranges) == 0
}

func parseACLs(list []byte) ([]*aclRule, error) {
	dec := json.NewDecoder(bytes.NewReader(list))
	dec.DisallowUnknownFields()
	var rules []*aclRule
	if err := dec.Decode(&rules); err != nil {
		return nil, fmt.Errorf("ACLs: %w", err)
	}
	for i, r := range rules {
		if r == nil {
			return nil, fmt.Errorf("ACL %d is null", i)
		}
		r.index = i
		if err := r.parse(); err != nil {
			return nil, fmt.Errorf("ACL %d (%s): %w", i, r.ID, err)
		}
	}
	return rules, nil
}

func (r *aclRule) parse() error {
	if r.Action != "Allow" && r.Action != "Block" {
		return fmt.Errorf("field Action: %q", r.Action)
	}
	if r.Direction != "In" && r.Direction != "Out" {
		return fmt.Errorf("field Direction: %q", r.Direction)
	}
	r.in = r.Direction == "In"
	switch {
	case r.RuleType != "Switch" && r.RuleType != "Host":
		return fmt.Errorf("field RuleType: %q", r.RuleType)
	case r.RuleType == "Switch" && (r.Priority < 100 || r.Priority > 65500):
		return fmt.Errorf("field Priority: %d is not in 100 to 65500", r.Priority)
	}
	var err error
	if r.protocols, err = aclProtocols(r.Protocols); err != nil {
		return err
	}
	if r.local, err = aclAddresses(r.LocalAddresses); err != nil {
		return err
	}
	if r.remote, err = aclAddresses(r.RemoteAddresses); err != nil {
		return err
	}
	if r.lports, err = aclPorts(r.LocalPorts, r.protocols); err != nil {
		return err
	}
	r.rport, err = aclPorts(r.RemotePorts, r.protocols)
	return err
}

func aclProtocols(text string) ([]uint8, error) {
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
	return protocols, nil
}

func aclAddresses(text string) ([]netip.Prefix, error) {
	if text == "" {
		return nil, nil
	}
	var prefixes []netip.Prefix
	for _, item := range strings.Split(text, ",") {
		good, bad := parseNets([]string{item})
		if bad > 0 {
			return nil, fmt.Errorf("address %q", item)
		}
		if p, err := netip.ParsePrefix(item); err == nil && p != p.Masked() {
			return nil, fmt.Errorf("address %q has host bits", item)
		}
		prefixes = append(prefixes, good...)
	}
	return prefixes, nil
}

func aclPorts(text string, protocols []uint8) ([]dataplane.PortRange, error) {
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
	var ranges []dataplane.PortRange
	for _, item := range strings.Split(text, ",") {
		low, high, ok := strings.Cut(item, "-")
		if !ok {
			high = low
		}
		a, err := strconv.ParseUint(low, 10, 16)
		if err != nil {
			return nil, fmt.Errorf("port %q: %w", item, err)
		}
		b, err := strconv.ParseUint(high, 10, 16)
		if err != nil || a > b {
			return nil, fmt.Errorf("port %q is not a range", item)
		}
		ranges = append(ranges, dataplane.PortRange{Min: uint16(a), Max: uint16(b)})
	}
	return ranges, nil
}

// checkTies finds two rules between which HNS would decide as it likes.
func checkTies(rules []*aclRule) error {
	for i, a := range rules {
		for _, b := range rules[:i] {
			if a.Priority == b.Priority && a.in == b.in && a.RuleType == b.RuleType && a.Action != b.Action && overlap(a, b) {
				return fmt.Errorf("ACLs %d (%s) and %d (%s) overlap with priority %d and differ in action", b.index, b.ID, a.index, a.ID, a.Priority)
			}
		}
	}
	return nil
}

func overlap(a, b *aclRule) bool {
	common := func(p uint8) bool { return slices.Contains(b.protocols, p) }
	return (a.protocols == nil || b.protocols == nil || slices.ContainsFunc(a.protocols, common)) &&
		netsOverlap(a.local, b.local) && netsOverlap(a.remote, b.remote) &&
		portsOverlap(a.lports, b.lports) && portsOverlap(a.rport, b.rport)
}

func netsOverlap(a, b []netip.Prefix) bool {
	for _, p := range a {
		for _, q := range b {
			if p.Overlaps(q) {
				return true
			}
		}
	}
	return len(a) == 0 || len(b) == 0
}

func portsOverlap(a, b []dataplane.PortRange) bool {
	for _, p := range a {
		for _, q := range b {
			if p.Min <= q.Max && q.Min <= p.Max {
				return true
			}
		}
	}
	return len(a) == 0 || len(b) == 0
}
