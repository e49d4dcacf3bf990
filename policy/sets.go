package policy

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"net/netip"
	"strings"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/policy/selector"
)

// setUse is how a rule uses a set: an address that several endpoints claim, and a network set that can't be read in full, count
// so that nothing opens by them.
type setUse uint8

const (
	// everyClaimant: in a Deny or Pass, and negated, an address counts for every endpoint that claims it.
	everyClaimant setUse = iota
	// ownerOnly: in an Allow it counts for its owner alone.
	ownerOnly
	// negatedInAllow: a network set that lost an element might have held any address.
	negatedInAllow
)

// setSpec is what an IP set means. It depends on rules alone; its members depend on peers and services.
type setSpec struct {
	id   dataplane.IPSetID
	typ  dataplane.IPSetType
	text string
	use  setUse
	// selector of the peers that contribute; nil for a set that takes nothing from them.
	selector *selector.Selector
	// nodes are those that contribute their addresses, by their labels; nil for a set that takes nothing from them.
	nodes *selector.Selector
	// portName: the peers contribute where their port of this name listens ("" in a set of nets).
	portName string
	// fixed members are there whatever the peers.
	fixed []netip.Prefix
	// service that contributes its endpoints; the zero value for none.
	service serviceName
}

// serviceName identifies a service.
type serviceName struct{ namespace, name string }

func (s *setSpec) identify(text string) *setSpec {
	s.text = text
	switch s.use {
	case ownerOnly:
		text += " (owner)"
	case negatedInAllow:
		text += " (negated)"
	}
	prefix := "n-"
	if s.typ == dataplane.SetAddrPorts {
		prefix = "p-"
	}
	sum := sha256.Sum256([]byte(text))
	s.id = dataplane.IPSetID(prefix + base64.RawURLEncoding.EncodeToString(sum[:15]))
	return s
}

func selectorSet(sel *selector.Selector, use setUse) *setSpec {
	s := &setSpec{typ: dataplane.SetNets, use: use, selector: sel}
	return s.identify("selector " + sel.String())
}

// nodeSet holds addresses of nodes. No other selector means a node.
func nodeSet(sel *selector.Selector) *setSpec {
	s := &setSpec{typ: dataplane.SetNets, nodes: sel}
	return s.identify("nodes " + sel.String())
}

// namedPortSet holds the ports of that name of all endpoints, whatever selector stands beside them in the rule: that one has a set of
// its own, which may match an address by a network set where the port is an endpoint's.
func namedPortSet(name string, use setUse) *setSpec {
	s := &setSpec{typ: dataplane.SetAddrPorts, use: use, selector: selector.All(), portName: name}
	return s.identify("named port " + name)
}

func serviceSet(name serviceName, typ dataplane.IPSetType, use setUse) *setSpec {
	s := &setSpec{typ: typ, use: use, service: name}
	return s.identify("service " + name.namespace + "/" + name.name)
}

// domainSet holds what stands beside domains; names add no addresses yet.
func domainSet(domains []string, nets []netip.Prefix) *setSpec {
	s := &setSpec{typ: dataplane.SetNets, fixed: nets}
	text := "domains"
	for _, d := range domains {
		text += " " + d
	}
	text += " and" // a domain that reads like a net is none
	for _, n := range nets {
		text += " " + n.String()
	}
	return s.identify(text)
}

func newIPSet(s *setSpec) *dataplane.IPSet {
	return &dataplane.IPSet{ID: s.id, Type: s.typ, Text: s.text, Members: map[dataplane.Member]struct{}{}}
}

// everything is what a network set that lost an element stands for where that is the safe side.
var everything = []netip.Prefix{
	netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0),
}

// peers is the selector of the peers that contribute to the set; nil where none do. svc is the set's service, or nil.
func (s *setSpec) peers(svc *service) *selector.Selector {
	if svc != nil && len(svc.slices) == 0 {
		return svc.selector
	}
	return s.selector
}

// standing calls add for the members that are there whatever the peers: nets beside domains, endpoints that the service's slices list.
func (s *setSpec) standing(svc *service, add func(dataplane.Member)) {
	for _, net := range s.fixed {
		add(dataplane.Member{Prefix: net})
	}
	if svc == nil {
		return
	}
	for _, slice := range svc.slices {
		for _, e := range slice.Spec.Endpoints {
			if net, _, err := v3.ParseCIDR(e.Address); err == nil {
				s.addPorts(net, namedPorts(e.Ports), add)
			}
		}
	}
}

// contributeNode calls add for each address of a node, if its labels match.
func (s *setSpec) contributeNode(labels selector.Labels, n *dataplane.Node, add func(dataplane.Member)) {
	if s.nodes == nil || n == nil || !s.nodes.Evaluate(labels) {
		return
	}
	for _, net := range fullLength(n.Addresses) {
		add(dataplane.Member{Prefix: net})
	}
}

// contribute calls add for each member that a peer whose labels match contributes; it may repeat one.
func (s *setSpec) contribute(p *peer, svc *service, owners *claims, add func(dataplane.Member)) {
	if p.isSet && (s.typ == dataplane.SetAddrPorts || svc != nil) {
		return
	}
	if s.use == negatedInAllow && p.lossy {
		for _, net := range everything {
			add(dataplane.Member{Prefix: net})
		}
		return
	}
	ports := s.portsOf(p, svc)
	for _, net := range p.nets {
		if p.isSet || s.use != ownerOnly || owners.owns(p, net) {
			s.addPorts(net, ports, add)
		}
	}
}

func (s *setSpec) addPorts(net netip.Prefix, ports []dataplane.NamedPort, add func(dataplane.Member)) {
	if s.typ == dataplane.SetNets {
		add(dataplane.Member{Prefix: net})
		return
	}
	for _, port := range ports {
		add(dataplane.Member{Prefix: net, Protocol: port.Protocol, Port: port.Port})
	}
}

// portsOf are the ports of an endpoint that count in the set.
func (s *setSpec) portsOf(p *peer, svc *service) []dataplane.NamedPort {
	if s.typ == dataplane.SetNets {
		return nil
	}
	var ports []dataplane.NamedPort
	if svc != nil {
		for _, port := range svc.view.Spec.Ports {
			ports = append(ports, targets(port, p.ports)...)
		}
		return ports
	}
	for _, port := range p.ports {
		if port.Name == s.portName {
			ports = append(ports, port)
		}
	}
	return ports
}

// service is what is known of a service: its own view, and those of its slices. Where it has slices, they alone say who its
// endpoints are.
type service struct {
	view     *v3.ServiceEndpoints
	selector *selector.Selector              // of the view; nil without one
	slices   map[string]*v3.ServiceEndpoints // by name
}

func newService() *service { return &service{slices: map[string]*v3.ServiceEndpoints{}} }

// serviceOf names the service that a view is of, and tells whether it is one of its slices, which are named "SERVICE/SLICE".
func serviceOf(namespace, view string) (name serviceName, slice bool) {
	of, _, slice := strings.Cut(view, "/")
	return serviceName{namespace, of}, slice
}

// set replaces one of the views of the service; o is nil where it is gone.
func (s *service) set(name string, o *v3.ServiceEndpoints, slice bool, r *reader) {
	switch {
	case slice && o == nil:
		delete(s.slices, name)
	case slice:
		s.slices[name] = o
	default:
		s.view, s.selector = o, nil
		if o != nil && o.Spec.Selector != "" {
			s.selector = selector.And(selector.Equals(selector.LabelNamespace, o.Namespace), r.selector("spec.selector", o.Spec.Selector))
			if len(r.conditions) > 0 {
				s.selector = nil
			}
		}
	}
}

// targets are the ports on which an endpoint serves a port of a service.
func targets(port v3.ServicePort, own []dataplane.NamedPort) []dataplane.NamedPort {
	number, ok := port.Protocol.Number8()
	if !ok {
		return nil
	}
	if port.Target.Name == "" {
		return []dataplane.NamedPort{{Protocol: number, Port: cmp.Or(port.Target.Min, port.Port)}}
	}
	var out []dataplane.NamedPort
	for _, p := range own {
		if p.Name == port.Target.Name && p.Protocol == number {
			out = append(out, p)
		}
	}
	return out
}

func namedPorts(ports []v3.EndpointPort) []dataplane.NamedPort {
	out := make([]dataplane.NamedPort, 0, len(ports))
	for _, p := range ports {
		if number, ok := p.Protocol.Number8(); ok {
			out = append(out, dataplane.NamedPort{Name: p.Name, Protocol: number, Port: p.Port})
		}
	}
	return out
}
