package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/flatten"
	"github.com/felid-net/felid/policy"
	"github.com/felid-net/felid/policy/selector"
)

// testScope is an end of an invariant as it is written: pods by their labels and those of their namespaces, or addresses.
type testScope struct {
	Pods       *string  `json:"pods"`
	Namespaces *string  `json:"namespaces"`
	Nets       []string `json:"nets"`
	NotNets    []string `json:"notNets"` // with nets
}

// String is as it may be written.
func (s *testScope) String() string {
	var parts []string
	for _, part := range []struct {
		name string
		text *string
	}{{"pods", s.Pods}, {"namespaces", s.Namespaces}} {
		if part.text != nil {
			parts = append(parts, part.name+": "+*part.text)
		}
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

func (s *testScope) read(data []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(s); err != nil {
		text := strings.TrimPrefix(strings.TrimPrefix(err.Error(), "json: "), "unknown field ")
		return fmt.Errorf("%s says nothing of endpoints; valid: pods and namespaces (selectors), nets and notNets (lists)", text)
	}
	return nil
}

// invariant is a claim about all connections between two ends.
type invariant struct {
	from, to   scope
	within     []flatten.Match
	want       dataplane.Action
	allowEmpty bool
}

// scope is an end of an invariant, read.
type scope struct {
	text     string
	selector *selector.Selector // nil: nets, or one
	nets     flatten.Addrs
	one      *end
}

// readInvariant reads a test one of whose ends is a scope; the error names all that is wrong with it.
func (t *testCase) readInvariant() (*invariant, error) {
	v := &invariant{allowEmpty: t.AllowEmpty}
	var errs []error
	note := func(field string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", field, err))
		}
	}
	var err error
	v.from, err = t.From.scope()
	note("from", err)
	v.to, err = t.To.scope()
	note("to", err)
	switch t.Expect {
	case "Allow":
		v.want = dataplane.Allow
	case "Deny":
		v.want = dataplane.Deny
	case "":
		note("expect", errors.New("is missing: an invariant has to say what is to be proven; valid: Allow, Deny"))
	}
	if t.By != "" {
		note("by", errors.New("has no meaning for an invariant, in which many policies may decide; leave it out"))
	}
	v.within, err = t.packets()
	return v, errors.Join(append(errs, err)...)
}

func (e *testEnd) scope() (scope, error) {
	if e.many == nil {
		one, err := parseEnd(e.one)
		if err == nil && one.host != "" {
			err = fmt.Errorf("%s: invariants are about the policy of pods; valid: pod/NS/NAME, node/NAME, an address, or a mapping", e.one)
		}
		return scope{text: e.one, one: &one, nets: flatten.AddrsOf()}, err
	}
	m := e.many
	s := scope{text: m.String(), nets: flatten.AddrsOf()}
	var errs []error
	if len(m.Nets)+len(m.NotNets) > 0 {
		if m.Pods != nil || m.Namespaces != nil {
			errs = append(errs, errors.New("nets and pods can't be combined: write a test for each"))
		}
		nets, err := netsOf("nets", m.Nets)
		notNets, notErr := netsOf("notNets", m.NotNets)
		s.nets = nets.Minus(notNets)
		errs = append(errs, err, notErr)
		if err == nil && notErr == nil && s.nets.Empty() {
			errs = append(errs, errors.New("nets: is no address; valid: prefixes, such as 0.0.0.0/0 and ::/0"))
		}
		return s, errors.Join(errs...)
	}
	if m.Pods == nil && m.Namespaces == nil {
		return s, errors.New("says nothing; valid: pods, namespaces, nets")
	}
	s.selector = selector.All()
	for _, part := range []struct {
		name string
		text *string
		of   func(*selector.Selector) *selector.Selector
	}{{"pods", m.Pods, func(s *selector.Selector) *selector.Selector { return s }}, {"namespaces", m.Namespaces, (*selector.Selector).ForNamespaces}} {
		if part.text == nil {
			continue
		}
		parsed, err := selector.Parse(*part.text)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", part.name, err))
			continue
		}
		s.selector = selector.And(s.selector, part.of(parsed))
	}
	return s, errors.Join(errs...)
}

func netsOf(field string, texts []string) (flatten.Addrs, error) {
	var nets []netip.Prefix
	var errs []error
	for i, text := range texts {
		p, _, err := v3.ParseCIDR(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s[%d]: %q is neither a prefix nor an address", field, i, text))
			continue
		}
		nets = append(nets, p.Masked())
	}
	return flatten.AddrsOf(nets...), errors.Join(errs...)
}

// packets are those that the test narrows itself to: all, where nothing is given.
func (t *testCase) packets() ([]flatten.Match, error) {
	text := t.text()
	text.from, text.to = "0.0.0.0", "0.0.0.0"
	if t.IPVersion == 6 {
		text.from, text.to = "::", "::"
	}
	flow, err := text.parse()
	if err != nil {
		return nil, err
	}
	m := flatten.Match{Src: flatten.Family(uint8(t.IPVersion)), Dst: flatten.Family(uint8(t.IPVersion))}
	if t.SourcePort != 0 {
		m.SrcPorts = flatten.PortsOf(dataplane.PortRange{Min: t.SourcePort, Max: t.SourcePort})
	}
	if len(t.Port) > 0 {
		var ranges []dataplane.PortRange
		for _, p := range t.Port {
			ranges = append(ranges, dataplane.PortRange{Min: p.Min, Max: p.Max})
		}
		m.DstPorts = flatten.PortsOf(ranges...)
	}
	switch {
	case flow.protocol == dataplane.ProtoICMP && (t.Protocol != nil || t.ICMP != nil):
		return ofICMP(m, t.ICMP, 4, 6), nil
	case flow.protocol == dataplane.ProtoICMPv6:
		return ofICMP(m, t.ICMP, 6), nil
	case t.Protocol != nil:
		m.Protocols = flatten.ProtocolsOf(flow.protocol)
	case len(t.Port) > 0 || t.SourcePort != 0:
		m.Protocols = withPorts
	}
	return []flatten.Match{m}, nil
}

// ofICMP is the ICMP of each of some families.
func ofICMP(m flatten.Match, i *icmpArgs, versions ...uint8) []flatten.Match {
	if i != nil {
		low, high := flatten.ICMPPort(i.Type, 0), flatten.ICMPPort(i.Type, 255)
		if i.Code != nil {
			low = flatten.ICMPPort(i.Type, *i.Code)
			high = low
		}
		m.DstPorts = flatten.PortsOf(dataplane.PortRange{Min: low, Max: high})
	}
	var out []flatten.Match
	for _, version := range versions {
		m := m
		m.Src, m.Protocols = m.Src.Intersect(flatten.Family(version)), flatten.ProtocolsOf(dataplane.ProtoICMP)
		if version == 6 {
			m.Protocols = flatten.ProtocolsOf(dataplane.ProtoICMPv6)
		}
		if !m.Src.Empty() {
			out = append(out, m)
		}
	}
	return out
}

// run proves the invariant, or finds a connection that breaks it.
func (v *invariant) run(all *cluster) (r testResult) {
	from, err := v.from.find(all)
	to, toErr := v.to.find(all)
	if err := errors.Join(inField("from", err), inField("to", toErr)); err != nil {
		r.Passed = v.allowEmpty && !isOther(err, errSelectsNothing)
		r.Error = strings.ReplaceAll(err.Error(), "\n", "; ")
		if r.Passed {
			r.Error = ""
		}
		return r
	}
	if r.Error = v.beyond(all.state, from, to); r.Error != "" {
		return r
	}
	counter, vacuous := flatten.Prove(all.state, flatten.Claim{From: from, To: to, Within: v.within, Want: v.want})
	switch {
	case vacuous && !v.allowEmpty:
		r.Error = "there is no connection that it is about, so that nothing is proven; allowEmpty: true takes that for a pass"
	case counter != nil:
		v.refute(&r, all, counter)
	default:
		r.Passed = true
	}
	return r
}

var errSelectsNothing = errors.New("selects no endpoint, so that nothing is proven; allowEmpty: true takes that for a pass")

func inField(field string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", field, err)
}

// isOther tells whether any of joined errors is not the one.
func isOther(err, one error) bool {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return !errors.Is(err, one)
	}
	return slices.ContainsFunc(joined.Unwrap(), func(e error) bool { return isOther(e, one) })
}

// find looks a scope up.
func (s *scope) find(c *cluster) (flatten.End, error) {
	e := flatten.End{Nets: s.nets}
	switch {
	case s.selector != nil:
		e.Endpoints = policy.Workloads(c.objects, s.selector)
		if len(e.Endpoints) == 0 {
			return e, fmt.Errorf("%s %w", s.text, errSelectsNothing)
		}
	case s.one != nil && s.one.endpoint != "":
		_, err := c.addresses(*s.one)
		e.Endpoints = []dataplane.EndpointID{s.one.endpoint}
		return e, err
	case s.one != nil:
		addrs, err := c.addresses(*s.one)
		e.Nets = flatten.AddrsOfSingles(addrs...)
		return e, err
	}
	return e, nil
}

// beyond says why an Allow can't be proven, "" where it can: host endpoints may deny what pods' policy allows.
func (v *invariant) beyond(s *dataplane.State, from, to flatten.End) string {
	if v.want != dataplane.Allow {
		return "" // what they deny besides changes nothing
	}
	for _, e := range sortedEndpoints(s) {
		if e.Host == nil {
			continue
		}
		forwards := e.Host.Fault != "" || len(e.Host.Untracked)+len(e.Host.PreDNAT)+len(e.Host.Forward) > 0
		meant := func(a netip.Addr) bool { return from.Nets.Contains(a) || to.Nets.Contains(a) }
		node := s.Nodes[e.Node]
		if forwards || slices.ContainsFunc(e.Addresses, meant) || node != nil && slices.ContainsFunc(node.Addresses, meant) {
			return fmt.Sprintf("can't be proven: %s may deny what the policy of pods allows, and invariants are about that alone", e.ID)
		}
	}
	return ""
}

// counterJSON is a connection that breaks an invariant.
type counterJSON struct {
	From            string `json:"from"`
	To              string `json:"to"`
	Source          string `json:"source"`
	Destination     string `json:"destination"`
	Protocol        string `json:"protocol"`
	SourcePort      uint16 `json:"sourcePort,omitempty"`
	Port            uint16 `json:"port,omitempty"`
	*policyICMPJSON `json:",omitempty"`
}

type policyICMPJSON struct {
	ICMPType int16 `json:"icmpType"`
	ICMPCode int16 `json:"icmpCode"`
}

// refute makes a counter-example the result.
func (v *invariant) refute(r *testResult, all *cluster, c *flatten.Counter) {
	f := flowOfPacket(c.Packet)
	answer := policy.ExplainBetween(all.state, c.From, c.To, f)
	r.Result = &answer
	r.Counter = &counterJSON{
		From: nameOfEnd(c.From, f.Src), To: nameOfEnd(c.To, f.Dst), Source: f.Src.String(), Destination: f.Dst.String(),
		Protocol: policy.ProtocolName(f.Protocol), SourcePort: f.SrcPort, Port: f.DstPort,
	}
	if f.ICMPType >= 0 {
		r.Counter.policyICMPJSON = &policyICMPJSON{f.ICMPType, f.ICMPCode}
	}
	what := fmt.Sprintf("%s to %s, %s", endText(c.From, f.Src), endText(c.To, f.Dst), matterOf(f))
	if f.SrcPort != 0 {
		what += fmt.Sprintf(" from port %d", f.SrcPort)
	}
	if answer.Verdict == v.want {
		r.Error = fmt.Sprintf("can't be proven: %s is denied by host endpoints alone, not by the policy of pods", what)
		return
	}
	r.Error = fmt.Sprintf("expected %s for all, but %s is %s: %s", v.want, what, answer.Verdict, decidedBy(answer))
}

func endText(id dataplane.EndpointID, a netip.Addr) string {
	if id == "" {
		return a.String()
	}
	return fmt.Sprintf("%s (%s)", id, a)
}

func nameOfEnd(id dataplane.EndpointID, a netip.Addr) string {
	if id == "" {
		return a.String()
	}
	return string(id)
}

// flowOfPacket is a packet as policy judges it.
func flowOfPacket(p flatten.Packet) policy.Flow {
	f := policy.Flow{Src: p.Src, Dst: p.Dst, Protocol: p.Protocol, ICMPType: -1, ICMPCode: -1}
	switch {
	case hasPorts(p.Protocol):
		f.SrcPort, f.DstPort = p.SrcPort, p.DstPort
	case p.Protocol == dataplane.ProtoICMP && p.Dst.Is4(), p.Protocol == dataplane.ProtoICMPv6 && p.Dst.Is6():
		f.ICMPType, f.ICMPCode = int16(p.DstPort>>8), int16(p.DstPort&255)
	}
	return f
}
