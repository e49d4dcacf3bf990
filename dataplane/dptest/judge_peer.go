package dptest

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/policy/selector"
)

// parseSelector reads a selector; the two that only namespace selectors know are read too.
func parseSelector(text string) (*selector.Selector, error) {
	return selector.Parse(text)
}

// mustSelect evaluates a selector that has been found readable.
func mustSelect(text string, labels map[string]string) bool {
	s, err := parseSelector(text)
	return err == nil && s.Evaluate(selector.Map(labels))
}

// namespaceMatches evaluates a namespace selector: all() means any namespace, global() none.
func namespaceMatches(text, namespace string, labels map[string]string) bool {
	switch strings.Join(strings.Fields(text), "") {
	case "global()":
		return namespace == ""
	case "all()":
		return namespace != ""
	}
	return mustSelect(text, labels)
}

// peerMatches is about selector, notSelector, namespaceSelector and serviceAccounts. A namespaced policy that names no namespace
// means its own.
func (w *world) peerMatches(e v3.EntityRule, namespace string, allow bool, a netip.Addr) bool {
	positive := e.Selector != "" || e.NamespaceSelector != "" || e.ServiceAccounts != nil
	if namespace != "" && e.NotSelector != "" {
		positive = true
	}
	if positive && !w.somePeer(e, namespace, allow, a) {
		return false
	}
	if e.NotSelector == "" {
		return true
	}
	return !w.someLabelled(e.NotSelector, a) && !(allow && w.brokenSet(e.NotSelector))
}

// brokenSet tells whether a network set that matches has an element that can't be read: then an Allow may not use it negated.
func (w *world) brokenSet(text string) bool {
	return slices.ContainsFunc(w.sets, func(s *netSet) bool { return s.broken && mustSelect(text, s.labels) })
}

// somePeer tells whether the address is one of an endpoint or network set that matches. Where several endpoints claim an address,
// it counts in an Allow for its owner alone; host endpoints of one node are one owner.
func (w *world) somePeer(e v3.EntityRule, namespace string, allow bool, a netip.Addr) bool {
	if owner := w.owner(a); owner != nil {
		for _, p := range w.endpoints {
			if p.claims(a) && (!allow || p == owner || p.host && owner.host && p.node == owner.node) && endpointMatches(e, namespace, p) {
				return true
			}
		}
	}
	for _, s := range w.sets {
		if e.ServiceAccounts == nil && within(a, s.nets) && inScope(e, namespace, s.namespace, s.nsLabels) && mustSelect(e.Selector, s.labels) {
			return true
		}
	}
	return false
}

func endpointMatches(e v3.EntityRule, namespace string, p *endpoint) bool {
	if !inScope(e, namespace, p.namespace, p.nsLabels) || !mustSelect(e.Selector, p.labels) {
		return false
	}
	sa := e.ServiceAccounts
	if sa == nil {
		return true
	}
	if len(sa.Names) > 0 && !slices.Contains(sa.Names, p.saName) {
		return false
	}
	return sa.Selector == "" || p.saName != "" && mustSelect(sa.Selector, p.account)
}

func inScope(e v3.EntityRule, namespace, peer string, labels map[string]string) bool {
	if e.NamespaceSelector != "" {
		return namespaceMatches(e.NamespaceSelector, peer, labels)
	}
	return namespace == "" || namespace == peer
}

// someLabelled tells whether an endpoint or network set with this address matches a selector, wherever it is.
func (w *world) someLabelled(text string, a netip.Addr) bool {
	for _, p := range w.endpoints {
		if p.claims(a) && mustSelect(text, p.labels) {
			return true
		}
	}
	for _, s := range w.sets {
		if within(a, s.nets) && mustSelect(text, s.labels) {
			return true
		}
	}
	return false
}

// claims tells whether rules find the address by the endpoint's labels and ports: not those of a host endpoint that can't be read, for it may be
// they that are lost.
func (e *endpoint) claims(a netip.Addr) bool {
	return slices.Contains(e.addrs, a) && !e.lost
}

// owner is the endpoint that an address belongs to: whom the block says, else the newest, else the first by name.
func (w *world) owner(a netip.Addr) *endpoint {
	var claimants []*endpoint
	for _, e := range w.endpoints {
		if e.claims(a) {
			claimants = append(claimants, e)
		}
	}
	if len(claimants) == 0 {
		return nil
	}
	namespace, pod := w.blockOwner(a)
	for _, e := range claimants {
		if pod != "" && e.namespace == namespace && e.pod == pod {
			return e
		}
	}
	return slices.MinFunc(claimants, func(a, b *endpoint) int { return cmp.Or(b.created.Compare(a.created), cmp.Compare(a.id, b.id)) })
}

// blockOwner is whom the IPAM block gives the address to.
func (w *world) blockOwner(a netip.Addr) (namespace, pod string) {
	for _, b := range w.blocks {
		cidr, err := netip.ParsePrefix(b.Spec.CIDR)
		if err != nil || !cidr.Contains(a) {
			continue
		}
		i := 0
		for at := cidr.Masked().Addr(); at != a; at = at.Next() {
			i++
		}
		if i >= len(b.Spec.Allocations) || b.Spec.Allocations[i] == nil {
			continue
		}
		attr := b.Spec.Attributes[*b.Spec.Allocations[i]].Secondary
		return attr["namespace"], attr["pod"]
	}
	return "", ""
}

// serviceHas tells whether the address serves the service. As a source the ports do not count; as a destination the packet must be
// to one of them.
func (w *world) serviceHas(m *v3.ServiceMatch, namespace string, allow bool, a netip.Addr, serves func(v3.EndpointPort) bool) bool {
	for _, e := range w.serviceEndpoints(cmp.Or(m.Namespace, namespace), m.Name, allow) {
		at, err := netip.ParseAddr(e.Address)
		if err == nil && at == a && (serves == nil || slices.ContainsFunc(e.Ports, serves)) {
			return true
		}
	}
	return false
}

// anyPort is for sources: to serve at all is enough.
var anyPort func(v3.EndpointPort) bool

func servesOn(protocol uint8, port uint16) func(v3.EndpointPort) bool {
	return func(p v3.EndpointPort) bool { return p.Port == port && isProtocol(&p.Protocol, protocol) }
}

// serviceEndpoints are those of the slices where there are any, else the pods that the service selects.
func (w *world) serviceEndpoints(namespace, name string, allow bool) []v3.ServiceEndpoint {
	var endpoints []v3.ServiceEndpoint
	var view *v3.ServiceEndpoints
	found := false
	for _, s := range w.services {
		if s.Namespace != namespace || s.Name != name && s.Spec.Service != name {
			continue
		}
		if s.Name == name {
			view = s
			continue
		}
		found = true
		endpoints = append(endpoints, s.Spec.Endpoints...)
	}
	if found || view == nil {
		return endpoints
	}
	return w.selectedBy(view, allow)
}

// selectedBy are the pods of a service without slices; in an Allow an address that several claim is its owner's.
func (w *world) selectedBy(view *v3.ServiceEndpoints, allow bool) []v3.ServiceEndpoint {
	var endpoints []v3.ServiceEndpoint
	if view.Spec.Selector == "" {
		return nil
	}
	for _, e := range w.endpoints {
		if e.namespace != view.Namespace || !mustSelect(view.Spec.Selector, e.labels) {
			continue
		}
		for _, a := range e.addrs {
			if allow && w.owner(a) != e {
				continue
			}
			endpoints = append(endpoints, v3.ServiceEndpoint{Address: a.String(), Ports: targets(view.Spec.Ports, e)})
		}
	}
	return endpoints
}

// targets are the ports on which e serves.
func targets(ports []v3.ServicePort, e *endpoint) []v3.EndpointPort {
	var out []v3.EndpointPort
	for _, p := range ports {
		if p.Target.Name == "" {
			out = append(out, v3.EndpointPort{Name: p.Name, Protocol: p.Protocol, Port: cmp.Or(p.Target.Min, p.Port)})
			continue
		}
		for _, own := range e.ports {
			if number, _ := own.Protocol.Number8(); own.Name == p.Target.Name && isProtocol(&p.Protocol, number) {
				out = append(out, v3.EndpointPort{Name: p.Name, Protocol: own.Protocol, Port: own.Port})
			}
		}
	}
	return out
}
