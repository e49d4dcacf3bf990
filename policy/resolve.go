package policy

import (
	"maps"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/policy/selector"
)

// Options say whose State is wanted.
type Options struct {
	// Node whose endpoints are local; "" treats those of all nodes so, for answers without an agent.
	Node dataplane.NodeName
	// Host is passed on in the State.
	Host dataplane.Host
}

// Resolve computes, from all resources, what one host has to enforce: its endpoints with the policies that select them, the rules
// of those policies, and the members of the IP sets that those rules use. It is the definition of what Resolver computes step by
// step. Routes, VTEPs and NAT are left empty.
func Resolve(objects []v3.Object, opts Options) (*dataplane.State, *Report) {
	w := newWorld(opts)
	for _, o := range objects {
		w.read(o)
	}
	w.electHosts()
	for _, p := range w.locals {
		w.resolveEndpoint(p)
	}
	for _, p := range w.policies {
		if p.everywhere {
			w.usePolicy(p)
		}
	}
	for _, spec := range w.sets {
		w.resolveSet(spec)
	}
	return w.state, newReport(w.conditions)
}

// world is the resources of now, each read by itself, and the State that comes of them.
type world struct {
	node     dataplane.NodeName
	peers    []*peer
	locals   map[dataplane.EndpointID]*peer
	hosts    map[dataplane.NodeName][]*peer // local host endpoints, before it is decided which of them count
	claims   *claims
	policies []*policy
	profiles profileSet
	tiers    map[string]*v3.Tier
	services map[serviceName]*service
	// nodeLabels are those of the nodes of state.
	nodeLabels map[dataplane.NodeName]selector.Map

	state      *dataplane.State
	sets       map[dataplane.IPSetID]*setSpec // that the policies of state use
	conditions []Condition
}

func newWorld(opts Options) *world {
	w := &world{
		node:   opts.Node,
		locals: map[dataplane.EndpointID]*peer{}, hosts: map[dataplane.NodeName][]*peer{}, claims: newClaims(), profiles: profileSet{},
		tiers: map[string]*v3.Tier{}, services: map[serviceName]*service{},
		nodeLabels: map[dataplane.NodeName]selector.Map{},
		state:      dataplane.NewState(), sets: map[dataplane.IPSetID]*setSpec{},
	}
	w.state.Host = opts.Host
	return w
}

// read takes in one resource.
func (w *world) read(o v3.Object) {
	r := &reader{key: v3.KeyOf(o)}
	switch o := o.(type) {
	case *v3.Node:
		node := newNode(o, r)
		w.state.Nodes[node.Name], w.nodeLabels[node.Name] = node, o.Labels
	case *v3.Tier:
		w.tiers[o.Name] = o
	case *v3.Profile:
		w.profiles.named(o.Name).set(o)
	case *v3.IPAMBlock:
		w.claims.setBlock(o.Name, o)
	case *v3.ServiceEndpoints:
		w.readService(o, r)
	case *v3.Unenforced:
		r.reportUnenforced()
	default:
		if p := newPolicy(o, r); p != nil {
			w.policies = append(w.policies, p)
		}
		if p := newPeer(o, w.node, w.profiles, r); p != nil {
			w.readPeer(p)
		}
	}
	w.conditions = append(w.conditions, r.conditions...)
}

func (w *world) readPeer(p *peer) {
	w.peers = append(w.peers, p)
	w.claims.add(p)
	switch {
	case p.endpoint == nil:
	case p.endpoint.Host != nil:
		w.hosts[p.endpoint.Node] = append(w.hosts[p.endpoint.Node], p)
	default:
		if other := w.locals[p.endpoint.ID]; other == nil || p.compareClaim(other) < 0 {
			w.locals[p.endpoint.ID] = p
		}
	}
}

func (w *world) electHosts() {
	for _, hosts := range w.hosts {
		elected, rivals := electHosts(hosts)
		for _, p := range elected {
			w.locals[p.endpoint.ID] = p
		}
		for _, r := range rivals {
			w.conditions = append(w.conditions, r.condition())
		}
	}
}

func (w *world) readService(o *v3.ServiceEndpoints, r *reader) {
	name, slice := serviceOf(o.Namespace, o.Name)
	if w.services[name] == nil {
		w.services[name] = newService()
	}
	w.services[name].set(o.Name, o, slice, r)
}

func (w *world) tier(name string) tier { return tierNamed(name, w.tiers[name]) }

// resolveEndpoint adds a local endpoint, and every policy and profile that has a say about it.
func (w *world) resolveEndpoint(p *peer) {
	var mine []*policy
	for _, candidate := range w.policies {
		if candidate.selects(p) {
			mine = append(mine, candidate)
			w.usePolicy(candidate)
		}
	}
	for _, named := range p.profiles {
		if named.decides() {
			w.use(named.id(), func() *compiled { return compileProfile(named) })
		}
	}
	w.state.Endpoints[p.endpoint.ID] = p.resolved(mine, w.tier)
}

func (w *world) usePolicy(p *policy) {
	w.use(p.id(), func() *compiled {
		if w.tier(p.tier).missing {
			w.conditions = append(w.conditions, missingTier(p))
		}
		return compilePolicy(p)
	})
}

// use adds a policy and notes its sets, the first time it is met.
func (w *world) use(id dataplane.PolicyID, compile func() *compiled) {
	if w.state.Policies[id] != nil {
		return
	}
	c := compile()
	w.state.Policies[id] = c.policy
	w.conditions = append(w.conditions, c.conditions...)
	maps.Copy(w.sets, c.sets)
}

// resolveSet adds a set with all its members.
func (w *world) resolveSet(spec *setSpec) {
	set := newIPSet(spec)
	w.state.IPSets[spec.id] = set
	add := func(m dataplane.Member) { set.Members[m] = struct{}{} }

	for name, node := range w.state.Nodes {
		spec.contributeNode(w.nodeLabels[name], node, add)
	}
	svc := w.services[spec.service]
	spec.standing(svc, add)
	if sel := spec.peers(svc); sel != nil {
		for _, p := range w.peers {
			if sel.Evaluate(p) {
				spec.contribute(p, svc, w.claims, add)
			}
		}
	}
}
