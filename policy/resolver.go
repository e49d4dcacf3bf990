package policy

import (
	"reflect"
	"slices"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/policy/selector"
)

// Resolver computes, step by step, what Resolve computes from scratch: after any sequence of updates, Flush gives the State that
// Resolve gives for the resources of now. The work of an update is in proportion to what it touches.
//
// Selectors are matched as soon as either side changes: peers against sets in force, local endpoints against policies. Rules are
// compiled and sets filled at Flush, for policies that select a local endpoint by then, so that what comes and goes in between
// costs nothing.
type Resolver struct {
	node    dataplane.NodeName
	state   *dataplane.State
	changes *dataplane.Changes

	peers      map[v3.Key]*livePeer
	policies   map[v3.Key]*livePolicy
	profiles   profileSet
	tiers      map[string]*v3.Tier
	services   map[serviceName]*service
	claims     *claims
	conditions map[v3.Key][]Condition // of objects, but for their rules
	report     *Report                // nil where something has moved since it was made

	texts texts

	elected  map[dataplane.EndpointID]*livePeer
	defeated map[dataplane.EndpointID][]*livePeer // that claim the id of an elected one
	hosts    map[dataplane.NodeName]*hostSeats
	programs map[dataplane.PolicyID]*program
	sets     map[dataplane.IPSetID]*liveSet

	everyone   *peerIndex                  // to find the peers of a set
	locals     *peerIndex                  // to find the endpoints of a policy: elected ones only
	bySet      *selectorIndex[*liveSet]    // to find the sets of a peer
	byPolicy   *selectorIndex[*livePolicy] // to find the policies of an endpoint
	nodeLabels map[dataplane.NodeName]selector.Map
	nodeSets   map[*liveSet]struct{}      // that nodes contribute to
	ofService  map[serviceName][]*liveSet // sets that a service contributes to

	dirtyEndpoints map[dataplane.EndpointID]struct{}
	dirtyPrograms  map[*program]struct{}
	dirtySets      map[*liveSet]struct{}
}

// NewResolver has no resources yet.
func NewResolver(opts Options) *Resolver {
	r := &Resolver{
		node: opts.Node, state: dataplane.NewState(), changes: dataplane.NewChanges(),
		peers: map[v3.Key]*livePeer{}, policies: map[v3.Key]*livePolicy{}, profiles: profileSet{}, tiers: map[string]*v3.Tier{},
		services: map[serviceName]*service{}, claims: newClaims(), conditions: map[v3.Key][]Condition{},
		elected: map[dataplane.EndpointID]*livePeer{}, defeated: map[dataplane.EndpointID][]*livePeer{}, hosts: map[dataplane.NodeName]*hostSeats{},
		programs: map[dataplane.PolicyID]*program{}, sets: map[dataplane.IPSetID]*liveSet{},
		everyone: newPeerIndex(), locals: newPeerIndex(),
		bySet: newSelectorIndex[*liveSet](), byPolicy: newSelectorIndex[*livePolicy](), ofService: map[serviceName][]*liveSet{},
		nodeLabels: map[dataplane.NodeName]selector.Map{}, nodeSets: map[*liveSet]struct{}{},
		dirtyEndpoints: map[dataplane.EndpointID]struct{}{}, dirtyPrograms: map[*program]struct{}{}, dirtySets: map[*liveSet]struct{}{},
	}
	r.state.Host = opts.Host
	r.changes.Host = true
	return r
}

// Update takes in the resource of a key as it is now; o is nil where it is gone.
func (r *Resolver) Update(key v3.Key, o v3.Object) {
	read := &reader{key: key, texts: &r.texts}
	switch key.Kind {
	case v3.KindNode:
		node, _ := o.(*v3.Node)
		r.updateNode(dataplane.NodeName(key.Name), node, read)
	case v3.KindTier:
		tier, _ := o.(*v3.Tier)
		r.updateTier(key.Name, tier)
	case v3.KindProfile:
		profile, _ := o.(*v3.Profile)
		r.updateProfile(key.Name, profile)
	case v3.KindIPAMBlock:
		block, _ := o.(*v3.IPAMBlock)
		r.disputing(r.claims.disputed(), func() { r.claims.setBlock(key.Name, block) })
	case v3.KindServiceEndpoints:
		view, _ := o.(*v3.ServiceEndpoints)
		r.updateService(key, view, read)
	case v3.KindNetworkPolicy, v3.KindGlobalNetworkPolicy, v3.KindKubernetesNetworkPolicy, v3.KindClusterNetworkPolicy:
		r.updatePolicy(key, newPolicy(o, read))
	case v3.KindWorkloadEndpoint, v3.KindHostEndpoint, v3.KindNetworkSet, v3.KindGlobalNetworkSet:
		r.updatePeer(key, newPeer(o, r.node, r.profiles, read))
	default:
		if _, ok := o.(*v3.Unenforced); ok {
			read.reportUnenforced()
		}
	}
	r.setConditions(key, read.conditions)
}

func (r *Resolver) setConditions(key v3.Key, conditions []Condition) {
	if len(conditions) == 0 && len(r.conditions[key]) == 0 {
		return
	}
	r.report = nil
	setOrDelete(r.conditions, key, conditions)
}

// Flush brings the State up to date and says what moved in it since the last Flush. The State is the same each time, changed in
// place.
func (r *Resolver) Flush() (*dataplane.State, *dataplane.Changes) {
	r.install()
	for id := range r.dirtyEndpoints {
		r.flushEndpoint(id)
	}
	r.dirtyEndpoints = emptied(r.dirtyEndpoints)
	for set := range r.dirtySets {
		if set.fresh {
			r.changes.IPSets[set.id] = nil
		} else if d := set.delta(); d != nil {
			r.changes.IPSets[set.id] = d
		}
		set.fresh = false
	}
	r.dirtySets = emptied(r.dirtySets)
	changes := r.changes
	r.changes = dataplane.NewChanges()
	return r.state, changes
}

// Report says what does not count as written, as of the last Flush. It is made anew only where something has moved, and is not to be
// changed.
func (r *Resolver) Report() *Report {
	if r.report == nil {
		r.report = r.newReport()
	}
	return r.report
}

func (r *Resolver) newReport() *Report {
	var all []Condition
	for _, conditions := range r.conditions {
		all = append(all, conditions...)
	}
	for _, seats := range r.hosts {
		for _, rivalry := range seats.rivals {
			all = append(all, rivalry.condition())
		}
	}
	for id, prog := range r.programs {
		if prog.installed == nil {
			continue
		}
		all = append(all, prog.installed.conditions...)
		if p := r.policies[keyOf(id)]; p != nil && r.tier(p.tier).missing {
			all = append(all, missingTier(p.policy))
		}
	}
	return newReport(all)
}

func keyOf(id dataplane.PolicyID) v3.Key {
	return v3.Key{Kind: v3.Kind(id.Kind), Namespace: id.Namespace, Name: id.Name}
}

func (r *Resolver) tier(name string) tier { return tierNamed(name, r.tiers[name]) }

// updateTier may move the tier among the others of any endpoint that has it.
func (r *Resolver) updateTier(name string, o *v3.Tier) {
	r.report = nil
	if o == nil {
		delete(r.tiers, name)
	} else {
		r.tiers[name] = o
	}
	for id, p := range r.elected {
		if slices.ContainsFunc(p.policies, func(l *livePolicy) bool { return l.tier == name }) {
			r.dirtyEndpoints[id] = struct{}{}
		}
	}
}

// updatePolicy replaces a policy; p is nil where it is gone or can't be read.
func (r *Resolver) updatePolicy(key v3.Key, p *policy) {
	r.report = nil
	old := r.policies[key]
	if old != nil {
		r.byPolicy.remove(old)
		for len(old.peers) > 0 {
			r.detach(old.peers[0], old)
		}
		if old.everywhere {
			r.disuse(policyID(key))
		}
		delete(r.policies, key)
	}
	if p == nil {
		if old != nil {
			r.touchProgram(policyID(key))
		}
		return
	}
	live := &livePolicy{policy: p}
	r.policies[key] = live
	r.touchProgram(p.id())
	if p.everywhere {
		r.use(p.id())
	}
	r.byPolicy.add(live, p.selector)
	r.locals.matches(p.selector, r.profiles, func(e *livePeer) {
		if p.mayBeFor(e.peer) {
			r.attach(e, live)
		}
	})
}

// attach notes that a policy selects an elected endpoint; detach, that it no longer does.
func (r *Resolver) attach(e *livePeer, p *livePolicy) {
	e.policies, p.peers = append(e.policies, p), append(p.peers, e)
	if len(p.peers) == 1 {
		r.use(p.id())
	}
	r.touchEndpoint(e)
}

func (r *Resolver) detach(e *livePeer, p *livePolicy) {
	e.policies, p.peers = without(e.policies, p), without(p.peers, e)
	if len(p.peers) == 0 {
		r.disuse(p.id())
	}
	r.touchEndpoint(e)
}

// touchEndpoint notes that an elected endpoint is to be looked at by the next Flush.
func (r *Resolver) touchEndpoint(e *livePeer) {
	if !e.dirty {
		e.dirty = true
		r.dirtyEndpoints[e.endpoint.ID] = struct{}{}
	}
}

func (r *Resolver) flushEndpoint(id dataplane.EndpointID) {
	old := r.state.Endpoints[id]
	p := r.elected[id]
	if p == nil {
		if old != nil {
			delete(r.state.Endpoints, id)
			r.changes.Endpoints[id] = struct{}{}
		}
		return
	}
	p.dirty = false
	policies := make([]*policy, len(p.policies))
	for i, l := range p.policies {
		policies[i] = l.policy
	}
	ep := p.resolved(policies, r.tier)
	if old == nil || !reflect.DeepEqual(old, ep) {
		r.state.Endpoints[id] = ep
		r.changes.Endpoints[id] = struct{}{}
	}
}
