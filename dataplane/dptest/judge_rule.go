package dptest

import (
	"net/netip"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
)

// read is a rule as far as it can be read and enforced on packets.
type read struct {
	v3.Rule
	action   dataplane.Action
	skip     bool // an Allow or Log that can't be read or enforced: left out
	all      bool // a Deny or Pass that can't be read: it denies its direction
	src, dst readSide
}

// readSide is one side with what could be read of its lists.
type readSide struct {
	v3.EntityRule
	nets, notNets   []netip.Prefix
	ports, notPorts []v3.Port
}

// readRule applies what holds for invalid input: a bad element of a list is left out; an Allow that negates such a list is left out
// whole, and a Pass that does denies what it might cover; a rule that can't be read is left out where it allows, and denies its direction where it denies or passes.
func readRule(rule *v3.Rule) read {
	r := read{Rule: *rule}
	var badSrc, badDst, lossySrc, lossyDst bool
	r.src, lossySrc, badSrc = readEntity(rule.Source)
	r.dst, lossyDst, badDst = readEntity(rule.Destination)
	if rule.Action != v3.Allow && rule.Action != v3.Log && len(rule.Source.Domains)+len(rule.Destination.Domains) > 0 {
		badDst = true // a denial of names that nobody knows yet can't be kept
	}
	unreadable := badSrc || badDst || rule.Invalid != "" || !readableMatch(rule)
	switch rule.Action {
	case v3.Allow:
		r.action = dataplane.Allow
		r.skip = unreadable || lossySrc || lossyDst || len(rule.Unknown) > 0 || rule.HTTP != nil
	case v3.Log:
		r.action, r.skip = dataplane.Log, true
	case v3.Pass:
		r.action = dataplane.Pass
		if len(rule.Unknown) > 0 || rule.HTTP != nil || lossySrc || lossyDst {
			r.action = dataplane.Deny
		}
	default:
		r.action = dataplane.Deny
		unreadable = unreadable || rule.Action != v3.Deny
	}
	if unreadable && !r.skip {
		r.all, r.action = true, dataplane.Deny
	}
	return r
}

// readEntity also tells whether a negated list lost an element, and whether the side can't be read at all.
func readEntity(e v3.EntityRule) (s readSide, lossy, bad bool) {
	s.EntityRule = e
	var lostNets, lostPorts, n int
	s.nets, n = parseNets(e.Nets)
	bad = n > 0 && len(s.nets) == 0 && len(e.Domains) == 0
	s.notNets, lostNets = parseNets(e.NotNets)
	s.ports, n = readPorts(e.Ports)
	bad = bad || n > 0 && len(s.ports) == 0
	s.notPorts, lostPorts = readPorts(e.NotPorts)
	selectors := []string{e.Selector, e.NotSelector, e.NamespaceSelector}
	if e.ServiceAccounts != nil {
		selectors = append(selectors, e.ServiceAccounts.Selector)
	}
	if m := e.Services; m != nil && m.Name == "" {
		bad = true
	}
	for _, text := range selectors {
		if _, err := parseSelector(text); err != nil {
			bad = true
		}
	}
	return s, lostNets+lostPorts > 0, bad
}

func readPorts(ports []v3.Port) (good []v3.Port, bad int) {
	for _, p := range ports {
		if p.Problem() != nil || p.Name == "" && p.Max == 0 {
			bad++
			continue
		}
		good = append(good, p)
	}
	return good, bad
}

// readableMatch judges the matches on the packet itself.
func readableMatch(r *v3.Rule) bool {
	for _, p := range []*v3.Protocol{r.Protocol, r.NotProtocol} {
		if p != nil && p.Name != "" {
			if _, ok := p.Number8(); !ok {
				return false
			}
		}
	}
	for _, i := range []*v3.ICMPFields{r.ICMP, r.NotICMP} {
		if i == nil {
			continue
		}
		if i.Type == nil && i.Code != nil || i.Type != nil && (*i.Type < 0 || *i.Type > 254) || i.Code != nil && (*i.Code < 0 || *i.Code > 255) {
			return false
		}
	}
	return r.IPVersion == nil || *r.IPVersion == 4 || *r.IPVersion == 6
}

// matches tells whether all fields of the rule match; namespace is that of a namespaced policy, else "".
func (w *world) matches(r read, namespace string, t Tuple) bool {
	if r.all {
		return true
	}
	if r.IPVersion != nil && *r.IPVersion != int(t.Family()) {
		return false
	}
	if r.Protocol != nil && !isProtocol(r.Protocol, t.Protocol) || r.NotProtocol != nil && isProtocol(r.NotProtocol, t.Protocol) {
		return false
	}
	if r.ICMP != nil && !icmpMatches(r.ICMP, t) || r.NotICMP != nil && icmpMatches(r.NotICMP, t) {
		return false
	}
	allow := r.action == dataplane.Allow
	return w.sideMatches(r.src, namespace, allow, t.Src, t.Protocol, t.SrcPort) &&
		(r.Source.Services == nil || w.serviceHas(r.Source.Services, namespace, allow, t.Src, anyPort)) &&
		w.sideMatches(r.dst, namespace, allow, t.Dst, t.Protocol, t.DstPort) &&
		(r.Destination.Services == nil || w.serviceHas(r.Destination.Services, namespace, allow, t.Dst, servesOn(t.Protocol, t.DstPort)))
}

func isProtocol(p *v3.Protocol, number uint8) bool {
	n, ok := p.Number8()
	return ok && n == number
}

// icmpMatches is about the family's own ICMP.
func icmpMatches(i *v3.ICMPFields, t Tuple) bool {
	own := dataplane.ProtoICMP
	if t.Family() == 6 {
		own = dataplane.ProtoICMPv6
	}
	return t.Protocol == own && (i.Type == nil || *i.Type == int(t.ICMPType)) && (i.Code == nil || *i.Code == int(t.ICMPCode))
}

func (w *world) sideMatches(s readSide, namespace string, allow bool, a netip.Addr, protocol uint8, port uint16) bool {
	if len(s.Nets)+len(s.Domains) > 0 && !within(a, s.nets) || within(a, s.notNets) {
		return false
	}
	if !w.peerMatches(s.EntityRule, namespace, allow, a) {
		return false
	}
	if len(s.Ports) > 0 && !w.portIn(s.ports, a, protocol, port) {
		return false
	}
	return !w.portIn(s.notPorts, a, protocol, port)
}

// portIn tells whether the port is one of the numbers, or one that an endpoint of this address gave the name to.
func (w *world) portIn(ports []v3.Port, a netip.Addr, protocol uint8, port uint16) bool {
	if !hasPorts(protocol) {
		return false
	}
	for _, p := range ports {
		if p.Name == "" && p.Min <= port && port <= p.Max || p.Name != "" && w.hasNamedPort(p.Name, a, protocol, port) {
			return true
		}
	}
	return false
}

func (w *world) hasNamedPort(name string, a netip.Addr, protocol uint8, port uint16) bool {
	for _, e := range w.endpoints {
		if !e.claims(a) {
			continue
		}
		for _, p := range e.ports {
			if p.Name == name && p.Port == port && isProtocol(&p.Protocol, protocol) {
				return true
			}
		}
	}
	return false
}
