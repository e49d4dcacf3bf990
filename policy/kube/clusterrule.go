package kube

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"

	v3 "github.com/felid-net/felid/api/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kjson "sigs.k8s.io/json"
)

// clusterRule is a written rule; from is for ingress, to for egress.
type clusterRule struct {
	Name      json.RawMessage   `json:"name"`
	Action    json.RawMessage   `json:"action"`
	From      []json.RawMessage `json:"from"`
	To        []json.RawMessage `json:"to"`
	Protocols []json.RawMessage `json:"protocols"`
}

// rules converts the rules of a direction, in order.
func (c *clusterConverter) rules(field string, raw json.RawMessage, egress bool) []v3.Rule {
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	written, err := readList(raw)
	if err != nil {
		c.report(field, err.Error()+"; it denies everything", "a list of rules")
		return []v3.Rule{{Action: v3.Deny, Invalid: "the list of rules " + err.Error(), Written: 1}}
	}
	c.limit(len(written) <= maxClusterItems, field, fmt.Sprintf("has %d rules", len(written)), fmt.Sprintf("at most %d", maxClusterItems))
	var out []v3.Rule
	for i, rule := range written {
		r := clusterRuleConverter{clusterConverter: c, field: fmt.Sprintf("%s[%d]", field, i), egress: egress}
		made := r.convert(rule)
		for n := range made {
			made[n].Written = i + 1
		}
		out = append(out, made...)
	}
	return out
}

// readList is readPart for a list whose elements are read later.
func readList(raw json.RawMessage) ([]json.RawMessage, error) {
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, errors.New("is no list")
	}
	return list, nil
}

// clusterRuleConverter converts one rule.
type clusterRuleConverter struct {
	*clusterConverter
	field  string
	egress bool
	action v3.Action
	lost   string // what could not be read, first; the rule is wider without it
	// byName: a protocol names a port of pods; outside: a peer has none to name.
	byName, outside bool
}

// lose notes a part that can't be read.
func (r *clusterRuleConverter) lose(at, problem, valid string) {
	r.report(r.field+at, problem, valid)
	if r.lost == "" {
		r.lost = r.field + at + ": " + problem
	}
}

func (r *clusterRuleConverter) convert(raw json.RawMessage) []v3.Rule {
	var in clusterRule
	faults, err := kjson.UnmarshalStrict(raw, &in)
	problem, action := "", in.Action
	switch twice := slices.IndexFunc(faults, isDuplicate); {
	case err != nil:
		problem, action = err.Error(), actionAlone(raw)
	case string(raw) == "null":
		problem = "null stands where a rule should"
	case twice >= 0:
		problem, action = faults[twice].Error(), nil
	}
	r.readAction(action)
	if problem != "" {
		r.report(r.field, problem, "a rule: name, action, from or to, protocols, each once")
		return []v3.Rule{{Action: r.action, Invalid: problem}}
	}
	r.readFaults(&in, faults)
	peers, protocols := r.peers(&in), r.protocols(in.Protocols)
	if r.byName && r.outside {
		r.lose(".protocols", "destinationNamedPort names a port of pods, and a peer is none", "numbers beside networks, nodes and domainNames")
		protocols = []portMatch{{}}
	}
	name := r.name(in.Name)
	if r.lost != "" && r.action == v3.Allow {
		return []v3.Rule{{Action: v3.Allow, Unsupported: r.lost, Metadata: r.metadata(name, &v3.EntityRule{})}}
	}
	return r.combine(peers, protocols, name)
}

// combine makes a rule for each peer and protocol.
func (r *clusterRuleConverter) combine(peers []v3.EntityRule, protocols []portMatch, name string) []v3.Rule {
	var out []v3.Rule
	for _, peer := range peers {
		metadata := r.metadata(name, &peer)
		for _, p := range protocols {
			rule := v3.Rule{Action: r.action, Protocol: p.protocol, Unsupported: r.lost, Metadata: metadata}
			if r.egress {
				rule.Destination = peer
			} else {
				rule.Source = peer
			}
			rule.Destination.Ports = p.ports
			out = append(out, rule)
		}
	}
	return out
}

// actionAlone finds the action of a rule that can't be read as a whole.
func actionAlone(raw json.RawMessage) json.RawMessage {
	var in struct {
		Action json.RawMessage `json:"action"`
	}
	if kjson.UnmarshalCaseSensitivePreserveInts(raw, &in) != nil {
		return nil
	}
	return in.Action
}

// readAction leaves what it does not know as it is: whoever resolves the policy denies.
func (r *clusterRuleConverter) readAction(raw json.RawMessage) {
	action, _ := readPart[string](raw)
	r.action = v3.Action(action)
	switch action {
	case "Accept":
		r.action = v3.Allow
	case "Deny", "Pass":
	default:
		if action == string(v3.Allow) || action == string(v3.Log) {
			r.action = "" // not words of this API
		}
		r.report(r.field+".action", fmt.Sprintf("%q is no action; it denies everything", action), "Accept, Deny or Pass")
	}
}

func isDuplicate(fault error) bool {
	_, problem := faultOf(fault)
	return problem != unknownField
}

// readFaults notes fields that are unknown, and those of the other direction.
func (r *clusterRuleConverter) readFaults(in *clusterRule, faults []error) {
	for _, fault := range faults {
		field, problem := faultOf(fault)
		r.lose("."+field, problem, "name, action, from or to, protocols")
	}
	if r.egress && in.From != nil {
		r.lose(".from", "is for ingress rules", "to")
	}
	if !r.egress && in.To != nil {
		r.lose(".to", "is for egress rules", "from")
	}
}

func (r *clusterRuleConverter) name(raw json.RawMessage) string {
	if len(raw) == 0 {
		return ""
	}
	name, err := readPart[string](raw)
	r.limit(err == nil && len(name) <= maxRuleName, r.field+".name", "is no text of that length", fmt.Sprintf("at most %d characters", maxRuleName))
	return name
}

// The annotations of a rule: its name, and what of it the form of the view has no room for, so that nobody who prints it is misled.
const (
	annotationName        = "policy.networking.k8s.io/name"
	annotationNodes       = "felid.dev/nodes"
	annotationUnsupported = "felid.dev/unsupported"
)

func (r *clusterRuleConverter) metadata(name string, peer *v3.EntityRule) *v3.RuleMetadata {
	annotations := map[string]string{}
	for key, value := range map[string]string{annotationName: name, annotationNodes: peer.NodeSelector, annotationUnsupported: r.lost} {
		if value != "" {
			annotations[key] = value
		}
	}
	if len(annotations) == 0 {
		return nil
	}
	return &v3.RuleMetadata{Annotations: annotations}
}

// peers is what each peer means; where one can't be read, anybody.
func (r *clusterRuleConverter) peers(in *clusterRule) []v3.EntityRule {
	list, raw := ".from", in.From
	if r.egress {
		list, raw = ".to", in.To
	}
	if len(raw) == 0 {
		r.lose(list, "there is no peer", "at least one")
		return []v3.EntityRule{{}}
	}
	r.limit(len(raw) <= maxClusterItems, r.field+list, fmt.Sprintf("has %d peers", len(raw)), fmt.Sprintf("at most %d", maxClusterItems))
	var out []v3.EntityRule
	unread := false
	for i, one := range raw {
		at := fmt.Sprintf("%s[%d]", list, i)
		e, err := r.peer(at, one)
		if err != nil {
			unread = true
			r.lose(at+err.at, err.problem, err.valid)
			continue
		}
		r.outside = r.outside || e.Selector == ""
		out = append(out, e)
	}
	if unread {
		return []v3.EntityRule{{}}
	}
	return out
}

// clusterPeer is a peer; an ingress rule takes pods alone.
type clusterPeer struct {
	clusterSelection `json:",inline"`
	Nodes            *metav1.LabelSelector `json:"nodes"`
	Networks         []string              `json:"networks"`
	DomainNames      []string              `json:"domainNames"`
}

// partError says where, below what was read, something is wrong.
type partError struct{ at, problem, valid string }

const egressPeers, ingressPeers = "one of namespaces, pods, nodes, networks, domainNames", "one of namespaces and pods"

func (r *clusterRuleConverter) peer(at string, raw json.RawMessage) (v3.EntityRule, *partError) {
	p, err := readPart[clusterPeer](raw)
	valid := egressPeers
	given := count(p.Namespaces != nil, p.Pods != nil, p.Nodes != nil, p.Networks != nil, p.DomainNames != nil)
	outside := p.Nodes != nil || p.Networks != nil || p.DomainNames != nil
	if !r.egress {
		valid = ingressPeers
	}
	switch {
	case err == nil && given != 1:
		err = errors.New("not one of the known peers is set")
	case err == nil && outside && !r.egress:
		err = errors.New("nodes, networks and domainNames are for egress rules")
	}
	if err != nil {
		return v3.EntityRule{}, &partError{"", err.Error(), valid}
	}
	switch {
	case p.Nodes != nil:
		nodes, err := labelSelector(p.Nodes)
		if err != nil {
			return v3.EntityRule{}, &partError{".nodes", err.Error(), "a label selector"}
		}
		return v3.EntityRule{NodeSelector: nodes.String()}, nil
	case p.Networks != nil:
		return r.networks(at, p.Networks)
	case p.DomainNames != nil:
		return r.domains(at, p.DomainNames)
	}
	e, err := p.pods()
	if err != nil {
		return e, &partError{"", err.Error(), "label selectors"}
	}
	return e, nil
}

func count(given ...bool) int {
	n := 0
	for _, g := range given {
		if g {
			n++
		}
	}
	return n
}

func (r *clusterRuleConverter) networks(at string, texts []string) (v3.EntityRule, *partError) {
	r.items(at+".networks", len(texts))
	if len(texts) == 0 {
		return v3.EntityRule{}, &partError{".networks", "is empty", "at least one CIDR"}
	}
	var e v3.EntityRule
	for i, text := range texts {
		net, ok := parsePrefix(text)
		if !ok {
			return e, &partError{fmt.Sprintf(".networks[%d]", i), fmt.Sprintf("can't read %q", text), "a CIDR, such as 10.0.0.0/8 or fd00::/8"}
		}
		e.Nets = append(e.Nets, net.String())
	}
	return e, nil
}

func (r *clusterRuleConverter) items(at string, n int) {
	r.limit(n <= maxClusterItems, r.field+at, fmt.Sprintf("has %d elements", n), fmt.Sprintf("at most %d", maxClusterItems))
}

var clusterDomain = regexp.MustCompile(`^(\*\.)?([a-zA-Z0-9]([-a-zA-Z0-9_]*[a-zA-Z0-9])?\.)+[a-zA-Z0-9]([-a-zA-Z0-9_]*[a-zA-Z0-9])?\.?$`)

// domains are for rules that accept: a denial of names that may not be known is no denial.
func (r *clusterRuleConverter) domains(at string, names []string) (v3.EntityRule, *partError) {
	r.items(at+".domainNames", len(names))
	if r.action != v3.Allow {
		return v3.EntityRule{}, &partError{".domainNames", "can't be matched by " + string(r.action), "domainNames in Accept rules"}
	}
	if len(names) == 0 {
		return v3.EntityRule{}, &partError{".domainNames", "is empty", "at least one name"}
	}
	for i, name := range names {
		if !clusterDomain.MatchString(name) {
			return v3.EntityRule{}, &partError{fmt.Sprintf(".domainNames[%d]", i), fmt.Sprintf("%q is no domain name", name), "such as example.com or *.example.com"}
		}
	}
	return v3.EntityRule{Domains: names}, nil
}

// protocols has an entry per protocol, in order of first mention; one without a protocol is of ports by name. None at all are any, as is
// one that can't be read.
func (r *clusterRuleConverter) protocols(raw []json.RawMessage) []portMatch {
	if raw == nil {
		return []portMatch{{}}
	}
	r.items(".protocols", len(raw))
	if len(raw) == 0 {
		r.lose(".protocols", "is empty", "at least one protocol, or no such field")
		return []portMatch{{}}
	}
	var out []portMatch
	unread := false
	for i, one := range raw {
		name, port, err := readClusterProtocol(one)
		if err != nil {
			unread = true
			r.lose(fmt.Sprintf(".protocols[%d]%s", i, err.at), err.problem, err.valid)
			continue
		}
		at := slices.IndexFunc(out, func(m portMatch) bool { return protocolName(m.protocol) == name })
		if at < 0 {
			at = len(out)
			out = append(out, portMatch{})
		}
		if name != "" {
			out[at].protocol = &v3.Protocol{Name: name}
		}
		r.byName = r.byName || name == ""
		out[at].ports = append(out[at].ports, port)
	}
	if unread {
		return []portMatch{{}}
	}
	for i := range out {
		out[i].ports = mergePorts(out[i].ports)
	}
	return out
}

func protocolName(p *v3.Protocol) string {
	if p == nil {
		return ""
	}
	return p.Name
}

// clusterProtocol is one protocol with its port.
type clusterProtocol struct {
	TCP                  *clusterTransport `json:"tcp"`
	UDP                  *clusterTransport `json:"udp"`
	SCTP                 *clusterTransport `json:"sctp"`
	DestinationNamedPort *string           `json:"destinationNamedPort"`
}

type clusterTransport struct {
	DestinationPort *clusterPort `json:"destinationPort"`
}

type clusterPort struct {
	Number *int32            `json:"number"`
	Range  *clusterPortRange `json:"range"`
}

type clusterPortRange struct {
	Start int32 `json:"start"`
	End   int32 `json:"end"`
}

// readClusterProtocol is a port of a protocol, or a port by its name.
func readClusterProtocol(raw json.RawMessage) (protocol string, port v3.Port, wrong *partError) {
	p, err := readPart[clusterProtocol](raw)
	if err == nil && count(p.TCP != nil, p.UDP != nil, p.SCTP != nil, p.DestinationNamedPort != nil) != 1 {
		err = errors.New("not one of the known protocols is set")
	}
	if err != nil {
		return "", port, &partError{"", err.Error(), "one of tcp, udp, sctp, destinationNamedPort"}
	}
	if p.DestinationNamedPort != nil {
		port = v3.Port{Name: *p.DestinationNamedPort}
		if port.Name == "" || port.Problem() != nil {
			return "", port, &partError{".destinationNamedPort", fmt.Sprintf("%q is no name of a port", port.Name), "the name of a port of a pod"}
		}
		return "", port, nil
	}
	protocol = "TCP"
	if p.UDP != nil {
		protocol = "UDP"
	} else if p.SCTP != nil {
		protocol = "SCTP"
	}
	port, wrong = cmp.Or(p.TCP, p.UDP, p.SCTP).port()
	return protocol, port, wrong
}

// port is the destination's; a transport without one may ask for what this version does not know.
func (t *clusterTransport) port() (v3.Port, *partError) {
	d := t.DestinationPort
	if d == nil || (d.Number == nil) == (d.Range == nil) {
		return v3.Port{}, &partError{"", "has no destinationPort with one of number and range", "destinationPort, with one of number and range"}
	}
	low, high := d.Number, d.Number
	if d.Range != nil {
		low, high = &d.Range.Start, &d.Range.End
	}
	first, ok := portNumber(*low)
	last, fine := portNumber(*high)
	if !ok || !fine || d.Range != nil && first >= last {
		return v3.Port{}, &partError{"", fmt.Sprintf("port %d to %d is no range", *low, *high), "numbers from 1 to 65535, the start of a range before its end"}
	}
	return v3.Port{Min: first, Max: last}, nil
}
