package routing

import (
	"net/netip"
	"slices"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
)

// Resolve fills Routes, VTEPs and NAT of s from all objects at once, as seen from the node self. Other kinds are left alone.
func Resolve(self dataplane.NodeName, objects []v3.Object, s *dataplane.State) {
	nodes, pools, blocks := map[string]*node{}, map[string]*pool{}, map[string][]dest{}
	for _, o := range objects {
		switch o := o.(type) {
		case *v3.Node:
			nodes[o.Name] = readNode(o)
		case *v3.IPPool:
			if p := readPool(o); p != nil {
				pools[o.Name] = p
			}
		case *v3.IPAMBlock:
			blocks[o.Name] = readBlock(o)
		}
	}
	clear(s.Routes)
	from := map[netip.Prefix]string{}
	for name, list := range blocks {
		for _, d := range list {
			if r, ok := route(string(self), d, nodes, pools); ok && (from[d.prefix] == "" || name < from[d.prefix]) {
				s.Routes[d.prefix], from[d.prefix] = r, name
			}
		}
	}
	clear(s.VTEPs)
	for _, n := range nodes {
		if v, ok := n.vtep(); ok {
			s.VTEPs[n.resourceName] = v
		}
	}
	s.NAT = nat(pools)
}

// Resolver holds the objects, and recomputes what an update touches.
type Resolver struct {
	self   string
	nodes  map[string]*node
	pools  map[string]*pool
	blocks map[string][]dest

	byNode   map[string]map[string]struct{}       // blocks that lead to a node
	byPrefix map[netip.Prefix]map[string]struct{} // blocks that have something to say of a prefix
	prefixes map[netip.Prefix]struct{}            // to be looked at again
	vteps    map[string]struct{}                  // nodes whose VTEP is to be looked at again
	nat      bool                                 // to be looked at again
}

// NewResolver is a Resolver for the node self, without objects.
func NewResolver(self dataplane.NodeName) *Resolver {
	return &Resolver{
		self: string(self), nodes: map[string]*node{}, pools: map[string]*pool{}, blocks: map[string][]dest{},
		byNode: map[string]map[string]struct{}{}, byPrefix: map[netip.Prefix]map[string]struct{}{},
		prefixes: map[netip.Prefix]struct{}{}, vteps: map[string]struct{}{}, nat: true,
	}
}

// Update takes in an object, or with nil that it is gone. Other kinds are left alone.
func (r *Resolver) Update(key v3.Key, o v3.Object) {
	switch key.Kind {
	case v3.KindNode:
		n, _ := o.(*v3.Node)
		r.updateNode(key.Name, n)
	case v3.KindIPPool:
		p, _ := o.(*v3.IPPool)
		r.updatePool(key.Name, p)
	case v3.KindIPAMBlock:
		b, _ := o.(*v3.IPAMBlock)
		r.updateBlock(key.Name, b)
	}
}

func (r *Resolver) updateNode(name string, o *v3.Node) {
	old := r.nodes[name]
	delete(r.nodes, name)
	if o != nil {
		n := readNode(o)
		if old != nil && *old == *n {
			r.nodes[name] = old
			return
		}
		r.nodes[name] = n
	}
	r.vteps[name] = struct{}{}
	if name == r.self {
		r.allPrefixes() // its subnet decides about encapsulation
		return
	}
	for block := range r.byNode[name] {
		r.touch(r.blocks[block])
	}
}

func (r *Resolver) updatePool(name string, o *v3.IPPool) {
	delete(r.pools, name)
	if o != nil {
		if p := readPool(o); p != nil {
			r.pools[name] = p
		}
	}
	r.nat = true
	r.allPrefixes()
}

func (r *Resolver) updateBlock(name string, o *v3.IPAMBlock) {
	var now []dest
	if o != nil {
		now = readBlock(o)
	}
	old := r.blocks[name]
	if slices.Equal(old, now) {
		return
	}
	for _, d := range old {
		remove(r.byNode, d.node, name)
		remove(r.byPrefix, d.prefix, name)
	}
	delete(r.blocks, name)
	for _, d := range now {
		add(r.byNode, d.node, name)
		add(r.byPrefix, d.prefix, name)
		r.blocks[name] = now
	}
	r.touch(old)
	r.touch(now)
}

func add[K comparable](m map[K]map[string]struct{}, k K, block string) {
	if m[k] == nil {
		m[k] = map[string]struct{}{}
	}
	m[k][block] = struct{}{}
}

func remove[K comparable](m map[K]map[string]struct{}, k K, block string) {
	if delete(m[k], block); len(m[k]) == 0 {
		delete(m, k)
	}
}

func (r *Resolver) touch(list []dest) {
	for _, d := range list {
		r.prefixes[d.prefix] = struct{}{}
	}
}

func (r *Resolver) allPrefixes() {
	for p := range r.byPrefix {
		r.prefixes[p] = struct{}{}
	}
}

// Flush brings s up to date and names in c what moved. It must be given the same State each time, or one that equals it.
func (r *Resolver) Flush(s *dataplane.State, c *dataplane.Changes) {
	for p := range r.prefixes {
		now, ok := r.route(p)
		old, was := s.Routes[p]
		switch {
		case !ok && was:
			delete(s.Routes, p)
		case ok && (!was || old != now):
			s.Routes[p] = now
		default:
			continue
		}
		c.Routes[p] = struct{}{}
	}
	for name := range r.vteps {
		r.flushVTEP(dataplane.NodeName(name), s, c)
	}
	if r.nat {
		now := nat(r.pools)
		if !slices.Equal(now.Masquerade, s.NAT.Masquerade) || !slices.Equal(now.Exclude, s.NAT.Exclude) {
			s.NAT, c.NAT = now, true
		}
	}
	clear(r.prefixes)
	clear(r.vteps)
	r.nat = false
}

// route to a prefix: of blocks that claim the same, which only happens by hand, the first by name that leads anywhere.
func (r *Resolver) route(p netip.Prefix) (best dataplane.Route, found bool) {
	from := ""
	for name := range r.byPrefix[p] {
		if found && from < name {
			continue
		}
		for _, d := range r.blocks[name] {
			if d.prefix != p {
				continue
			}
			if now, ok := route(r.self, d, r.nodes, r.pools); ok {
				best, from, found = now, name, true
				break
			}
		}
	}
	return best, found
}

func (r *Resolver) flushVTEP(name dataplane.NodeName, s *dataplane.State, c *dataplane.Changes) {
	var now dataplane.VTEP
	ok := false
	if n := r.nodes[string(name)]; n != nil {
		now, ok = n.vtep()
	}
	old, was := s.VTEPs[name]
	switch {
	case !ok && was:
		delete(s.VTEPs, name)
	case ok && (!was || old != now):
		s.VTEPs[name] = now
	default:
		return
	}
	c.VTEPs[name] = struct{}{}
}
