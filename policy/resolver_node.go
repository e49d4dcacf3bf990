package policy

import (
	"slices"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/policy/selector"
)

// updateNode replaces a node; o is nil where it is gone. Its addresses move from the sets of nodes that it was in to those that it is in.
func (r *Resolver) updateNode(name dataplane.NodeName, o *v3.Node, read *reader) {
	old, labels := r.state.Nodes[name], r.nodeLabels[name]
	for s := range r.nodeSets {
		s.contributeNode(labels, old, s.remove)
	}
	delete(r.nodeLabels, name)
	var node *dataplane.Node
	if o != nil {
		node = newNode(o, read)
		r.nodeLabels[name] = selector.Map(o.Labels)
	}
	for s := range r.nodeSets {
		s.contributeNode(r.nodeLabels[name], node, s.add)
		r.dirtySets[s] = struct{}{}
	}
	switch {
	case node == nil && old == nil, node != nil && old != nil && slices.Equal(old.Addresses, node.Addresses):
		return
	case node == nil:
		delete(r.state.Nodes, name)
	default:
		r.state.Nodes[name] = node
	}
	r.changes.Nodes[name] = struct{}{}
}

// fillNodes adds the nodes to an empty set of nodes.
func (r *Resolver) fillNodes(s *liveSet) {
	if s.nodes == nil {
		return
	}
	r.nodeSets[s] = struct{}{}
	for name, node := range r.state.Nodes {
		s.contributeNode(r.nodeLabels[name], node, s.add)
	}
}
