package policy

import (
	"net/netip"
	"slices"

	"github.com/felid-net/felid/dataplane"
)

// Explainer answers many questions about one State, which must not change meanwhile: it finds endpoints and nodes by address without looking at all of
// them each time. It is for one goroutine.
type Explainer struct {
	state *dataplane.State
	// Each is made when it is first asked for.
	byAddress map[netip.Addr]dataplane.EndpointID
	nodes     map[netip.Addr]dataplane.NodeName
	hosts     map[dataplane.NodeName][]*dataplane.Endpoint // host endpoints, by id
}

// NewExplainer is for questions about s.
func NewExplainer(s *dataplane.State) *Explainer { return &Explainer{state: s} }

// EndpointAt is the endpoint with that address: a workload before a host endpoint, the first by id where several have it. An address of a node is
// that of the node's host endpoint (see HostEndpointAt). "" for none.
func (e *Explainer) EndpointAt(address netip.Addr) dataplane.EndpointID {
	if e.byAddress == nil {
		e.byAddress = make(map[netip.Addr]dataplane.EndpointID, len(e.state.Endpoints))
		for id, ep := range e.state.Endpoints {
			for _, a := range ep.Addresses {
				if other := e.state.Endpoints[e.byAddress[a]]; other == nil || comesBefore(ep, other) {
					e.byAddress[a] = id
				}
			}
		}
	}
	id := e.byAddress[address]
	if ep := e.state.Endpoints[id]; ep != nil && ep.Host == nil {
		return id
	}
	if node := e.nodeAt(address); node != "" {
		return e.HostEndpointAt(node, address)
	}
	return id
}

// comesBefore tells which of two that have an address is meant by it.
func comesBefore(a, b *dataplane.Endpoint) bool {
	if workload := a.Host == nil; workload != (b.Host == nil) {
		return workload
	}
	return a.ID < b.ID
}

// nodeAt is the node with that address, the first by name where several have it; "" for none.
func (e *Explainer) nodeAt(address netip.Addr) dataplane.NodeName {
	if e.nodes == nil {
		e.nodes = make(map[netip.Addr]dataplane.NodeName, len(e.state.Nodes))
		for name, n := range e.state.Nodes {
			for _, a := range n.Addresses {
				if other, taken := e.nodes[a]; !taken || name < other {
					e.nodes[a] = name
				}
			}
		}
	}
	return e.nodes[address]
}

func (e *Explainer) hostsOf(node dataplane.NodeName) []*dataplane.Endpoint {
	if e.hosts == nil {
		e.hosts = map[dataplane.NodeName][]*dataplane.Endpoint{}
		for _, ep := range e.state.Endpoints {
			if ep.Host != nil {
				e.hosts[ep.Node] = append(e.hosts[ep.Node], ep)
			}
		}
		for _, list := range e.hosts {
			slices.SortFunc(list, func(a, b *dataplane.Endpoint) int { return compareBools(comesBefore(b, a), comesBefore(a, b)) })
		}
	}
	return e.hosts[node]
}

// HostEndpointAt is the host endpoint of a node that has one of the addresses, the first by name where several do; else that of all interfaces
// without one of their own, whatever addresses it has; "" for none.
func (e *Explainer) HostEndpointAt(node dataplane.NodeName, addresses ...netip.Addr) dataplane.EndpointID {
	for _, ep := range e.hostsOf(node) {
		if ep.Interface != anyInterface && slices.ContainsFunc(ep.Addresses, func(a netip.Addr) bool { return slices.Contains(addresses, a) }) {
			return ep.ID
		}
	}
	return e.hostEndpointOfAll(node)
}

// hostEndpointOfAll is the host endpoint of all interfaces of a node that have none of their own; "" for none.
func (e *Explainer) hostEndpointOfAll(node dataplane.NodeName) dataplane.EndpointID {
	for _, ep := range e.hostsOf(node) {
		if ep.Interface == anyInterface {
			return ep.ID
		}
	}
	return ""
}
