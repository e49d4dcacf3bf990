package linux

import (
	"iter"
	"maps"
	"net/netip"
	"slices"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane_linux/ipset"
)

// chainSink is a table that is told what chains it should hold: an iptables.Table, or a map in tests.
type chainSink interface {
	SetChain(name string, rules []string)
	RemoveChain(name string)
	SetHooks(kernelChain string, rules []string)
}

// setSink is told what sets should be there: ipset.Sets, or a map in tests.
type setSink interface {
	SetDesired(name string, t ipset.Type, f ipset.Family, members iter.Seq[ipset.Member])
	AddMembers(name string, members iter.Seq[ipset.Member])
	RemoveMembers(name string, members iter.Seq[ipset.Member])
	Remove(name string)
	Has(name string) bool
}

// record turns changes of the state into changes of chains and sets. It remembers which names belong to which object, and who uses a
// policy, so that an update costs what it touches; it keeps no part of the state. What the sinks hold after an update equals what
// Render makes of the same state.
type record struct {
	r      *renderer
	tables map[tableKey]chainSink
	sets   setSink

	endpoints map[dataplane.EndpointID]*endpointRecord
	claims    map[string][]dataplane.EndpointID // by interface; more than one: nobody gets it
	policies  map[dataplane.PolicyID]*policyRecord
	ipsets    map[dataplane.IPSetID]struct{}
	derived   map[string]int                 // sets for nets of rules, with the number of chains that use them
	fixed     map[Family]map[string]struct{} // chains of the dispatch trees, and static ones
	moved     bool                           // interfaces came or went
	hosts     hostRecord
	groups    groupRecords
	probes    map[dataplane.Member]int      // ports of pods' probes, with the number of endpoints that have them
	probed    map[dataplane.Member]struct{} // those that moved
}

// endpointRecord is what was rendered for an endpoint.
type endpointRecord struct {
	iface  string
	chains map[Family][]string // in table filter; those of host endpoints are in hostRecord
	groups map[Family][]group
	uses   []use
	probes []dataplane.Member
	// addresses, where the host's packets to pods are found by them.
	addresses []netip.Addr
	fault     error
}

// policyRecord is what was rendered for a policy.
type policyRecord struct {
	users  map[userKey]map[dataplane.EndpointID]struct{}
	chains map[chainKey]chainRecord
}

// userKey is where a policy is used.
type userKey struct {
	family Family
	stage  stage
}

type chainKey struct {
	userKey
	direction dataplane.Direction
}

// table that the chain is in.
func (k *userKey) table() tableKey { return tableKey{k.family, k.stage.table()} }

type chainRecord struct {
	effect effect
	nets   []string // derived sets
}

func newRecord(tables map[tableKey]chainSink, sets setSink) *record {
	return &record{
		tables: tables, sets: sets, hosts: newHostRecord(), groups: newGroupRecords(), probes: map[dataplane.Member]int{}, probed: map[dataplane.Member]struct{}{},
		endpoints: map[dataplane.EndpointID]*endpointRecord{}, claims: map[string][]dataplane.EndpointID{},
		policies: map[dataplane.PolicyID]*policyRecord{}, ipsets: map[dataplane.IPSetID]struct{}{},
		derived: map[string]int{}, fixed: map[Family]map[string]struct{}{},
	}
}

// filter is the table of a family in which pods' chains are.
func (c *record) filter(f Family) chainSink { return c.tables[tableKey{f, "filter"}] }

// families are those that are policed for pods.
func (c *record) families() []Family {
	if c.r.host.IPv6 {
		return Families[:]
	}
	return Families[:1]
}

// update takes in what moved; nil changes are everything. The renderer is for the host of this state.
func (c *record) update(s *dataplane.State, changes *dataplane.Changes, r *renderer) {
	if c.r == nil || changes == nil || !c.r.host.Equal(r.host) || !r.host.IPv6 && c.hosts.turns(s, changes) {
		changes = c.everything(s, r)
	}
	c.hosts.moved = c.hosts.moved || !maps.Equal(c.r.cfg.Devices, r.cfg.Devices)
	c.r = r
	dirty := maps.Clone(changes.Endpoints)
	if dirty == nil {
		dirty = map[dataplane.EndpointID]struct{}{}
	}
	for id := range changes.Policies {
		c.effects(s, id, dirty)
	}
	for id := range maps.Clone(dirty) {
		c.claim(s, id, dirty)
	}
	policies := maps.Clone(changes.Policies)
	if policies == nil {
		policies = map[dataplane.PolicyID]struct{}{}
	}
	for id := range dirty {
		c.endpoint(s, id, policies)
	}
	if c.hosts.moved {
		c.hostEndpoints(s, policies)
	}
	for id := range policies {
		c.policy(s, id)
	}
	c.groupChains(s, changes.Policies)
	if c.moved {
		c.dispatch(s)
	}
	c.ipSets(s, changes)
	c.probeSets()
	if changes.NAT {
		c.masquerade(s)
	}
}

// everything is changes that name all that is in the state and all that is remembered. Where the host's treatment of pods is another
// than before, each chain may be.
func (c *record) everything(s *dataplane.State, r *renderer) *dataplane.Changes {
	c.r = r
	all := dataplane.NewChanges()
	all.NAT, c.moved, c.hosts.moved = true, true, true
	for id := range s.Endpoints {
		all.Endpoints[id] = struct{}{}
	}
	for id := range c.endpoints {
		all.Endpoints[id] = struct{}{}
	}
	for id := range s.Policies {
		all.Policies[id] = struct{}{}
	}
	for id := range c.policies {
		all.Policies[id] = struct{}{}
	}
	for id := range s.IPSets {
		all.IPSets[id] = nil
	}
	for id := range c.ipsets {
		all.IPSets[id] = nil
	}
	return all
}

// effects marks the endpoints whose chains depend on a policy that now has another effect.
func (c *record) effects(s *dataplane.State, id dataplane.PolicyID, dirty map[dataplane.EndpointID]struct{}) {
	rec, p := c.policies[id], s.Policies[id]
	if rec == nil || p == nil {
		return
	}
	for key, users := range rec.users {
		for _, d := range key.stage.directions() {
			if len(users) > 0 && effectOf(key.family, rulesOf(p, d)) != rec.chains[chainKey{key, d}].effect {
				maps.Copy(dirty, users)
			}
		}
	}
}

// claim notes which interface an endpoint has, and marks those who had or have the same.
func (c *record) claim(s *dataplane.State, id dataplane.EndpointID, dirty map[dataplane.EndpointID]struct{}) {
	old, iface := "", ""
	if rec := c.endpoints[id]; rec != nil {
		old = rec.iface
	}
	if ep := s.Endpoints[id]; ep != nil && ep.Host == nil && interfaceFault(c.r.host.InterfacePrefix, ep) == nil {
		iface = ep.Interface
	}
	if old == iface {
		return
	}
	if old != "" {
		c.claims[old] = slices.DeleteFunc(c.claims[old], func(e dataplane.EndpointID) bool { return e == id })
		if len(c.claims[old]) == 0 {
			delete(c.claims, old)
		}
	}
	if iface != "" {
		c.claims[iface] = append(c.claims[iface], id)
	}
	for _, list := range [][]dataplane.EndpointID{c.claims[old], c.claims[iface]} {
		for _, other := range list {
			dirty[other] = struct{}{}
		}
	}
}

// endpoint renders one endpoint anew; policies that gain their first user or lose their last are added to policies.
func (c *record) endpoint(s *dataplane.State, id dataplane.EndpointID, policies map[dataplane.PolicyID]struct{}) {
	ep := s.Endpoints[id]
	if c.hosts.takes(id, ep) {
		return
	}
	rec := &endpointRecord{chains: map[Family][]string{}, groups: map[Family][]group{}}
	old := c.endpoints[id]
	if old == nil {
		old = &endpointRecord{}
	}
	if ep != nil {
		c.endpointChains(s, ep, rec)
	}
	c.probePorts(old.probes, rec.probes)
	c.moved = c.moved || !slices.Equal(old.addresses, rec.addresses)
	for _, f := range Families {
		c.moved = c.moved || old.iface != rec.iface || (len(old.chains[f]) == 0) != (len(rec.chains[f]) == 0)
		for _, name := range old.chains[f] {
			if !slices.Contains(rec.chains[f], name) {
				c.removeUnlessTaken(f, name, id)
			}
		}
		c.groups.use(f, id, old.groups[f], rec.groups[f])
		for _, u := range old.uses {
			c.use(f, u, id, len(rec.chains[f]) > 0 && slices.Contains(rec.uses, u), policies)
		}
		for _, u := range rec.uses {
			c.use(f, u, id, len(rec.chains[f]) > 0, policies)
		}
	}
	if ep == nil {
		delete(c.endpoints, id)
		return
	}
	c.endpoints[id] = rec
}

// removeUnlessTaken removes a chain that an endpoint has no longer, unless its interface has become another's meanwhile.
func (c *record) removeUnlessTaken(f Family, name string, id dataplane.EndpointID) {
	for other, rec := range c.endpoints {
		if other != id && slices.Contains(rec.chains[f], name) {
			return
		}
	}
	c.filter(f).RemoveChain(name)
}

// endpointChains renders into the table, and notes it.
func (c *record) endpointChains(s *dataplane.State, ep *dataplane.Endpoint, rec *endpointRecord) {
	if rec.fault = interfaceFault(c.r.host.InterfacePrefix, ep); rec.fault != nil {
		return
	}
	rec.iface = ep.Interface
	if claims := c.claims[ep.Interface]; len(claims) > 1 {
		rec.fault = contested(ep.ID, ep.Interface, claims)
		return
	}
	rec.probes = probeMembers(ep)
	if c.r.redirects(IPv4) || c.r.redirects(IPv6) {
		rec.addresses = slices.Clone(ep.Addresses)
	}
	eachPolicy(ep, func(id dataplane.PolicyID) { rec.uses = append(rec.uses, use{id, stageLocal}) })
	for _, f := range c.families() {
		chains, groups := c.r.endpointChains(f, ep, stateEffects(f, s))
		rec.groups[f] = groups
		for _, chain := range chains {
			c.filter(f).SetChain(chain.Name, chain.Rules)
			rec.chains[f] = append(rec.chains[f], chain.Name)
		}
	}
}

// use notes whether an endpoint uses a policy at a stage in a family.
func (c *record) use(f Family, u use, id dataplane.EndpointID, uses bool, policies map[dataplane.PolicyID]struct{}) {
	rec, key := c.policies[u.policy], userKey{f, u.stage}
	if rec == nil {
		if !uses {
			return
		}
		rec = &policyRecord{users: map[userKey]map[dataplane.EndpointID]struct{}{}, chains: map[chainKey]chainRecord{}}
		c.policies[u.policy] = rec
	}
	before := len(rec.users[key])
	if uses {
		if before == 0 {
			rec.users[key] = map[dataplane.EndpointID]struct{}{}
		}
		rec.users[key][id] = struct{}{}
	} else {
		delete(rec.users[key], id)
	}
	if (before == 0) != (len(rec.users[key]) == 0) {
		policies[u.policy] = struct{}{}
	}
}

// policy renders the chains of a policy anew, where it is used.
func (c *record) policy(s *dataplane.State, id dataplane.PolicyID) {
	rec := c.policies[id]
	if rec == nil {
		return
	}
	p := s.Policies[id]
	for where, users := range rec.users {
		for _, d := range where.stage.directions() {
			key := chainKey{where, d}
			old, had := rec.chains[key]
			if p == nil || len(users) == 0 || !c.policyChain(p, key, rec) {
				delete(rec.chains, key)
				if had {
					c.tables[key.table()].RemoveChain(policyChain(key.stage, d, id))
				}
			}
			for _, name := range old.nets {
				c.release(name)
			}
		}
		if len(users) == 0 {
			delete(rec.users, where)
		}
	}
	if len(rec.users) == 0 {
		delete(c.policies, id)
	}
}

// policyChain renders one chain into the table; false where it would be empty.
func (c *record) policyChain(p *dataplane.Policy, key chainKey, rec *policyRecord) bool {
	var nets []string
	chain, ok := c.r.policyChain(key.family, p, key.stage, key.direction, func(set Set) {
		if c.derived[set.Name]++; c.derived[set.Name] == 1 {
			c.setDesired(&set)
		}
		nets = append(nets, set.Name)
	})
	if ok {
		c.tables[key.table()].SetChain(chain.Name, chain.Rules)
		rec.chains[key] = chainRecord{effectOf(key.family, rulesOf(p, key.direction)), nets}
	}
	return ok
}

// release gives back a derived set.
func (c *record) release(name string) {
	if c.derived[name]--; c.derived[name] == 0 {
		delete(c.derived, name)
		c.sets.Remove(name)
	}
}

// dispatch renders the static chains and the trees.
func (c *record) dispatch(s *dataplane.State) {
	c.moved = false
	ifaces := make(map[string]*dataplane.Endpoint, len(c.endpoints))
	for id, rec := range c.endpoints {
		if rec.fault == nil && rec.iface != "" {
			ifaces[rec.iface] = s.Endpoints[id]
		}
	}
	h := c.hosts.of(c.r, s)
	for _, f := range Families {
		chains := c.r.staticChains(f, h)
		if c.r.enabled(f) {
			chains = append(chains, c.r.dispatch(endpointNames(f, ifaces))...)
		}
		chains = append(chains, c.r.redirectedChain(f, ifaces)...)
		now := make(map[string]struct{}, len(chains))
		for _, chain := range chains {
			now[chain.Name] = struct{}{}
			c.filter(f).SetChain(chain.Name, chain.Rules)
		}
		for name := range c.fixed[f] {
			if _, still := now[name]; !still {
				c.filter(f).RemoveChain(name)
			}
		}
		c.fixed[f] = now
		for _, h := range filterHooks() {
			c.filter(f).SetHooks(h.Kernel, []string{h.Rule})
		}
	}
}

// ipSets takes in what moved in the sets of the state.
func (c *record) ipSets(s *dataplane.State, changes *dataplane.Changes) {
	for id, delta := range changes.IPSets {
		set := s.IPSets[id]
		if set == nil {
			delete(c.ipsets, id)
		} else {
			c.ipsets[id] = struct{}{}
		}
		for _, f := range Families {
			name := setName(f, string(id))
			switch {
			case set == nil || !c.r.enabled(f) && len(c.hosts.ids) == 0:
				c.sets.Remove(name)
			case delta == nil || !c.sets.Has(name):
				whole := stateSet(f, set)
				c.setDesired(&whole)
			default:
				c.sets.AddMembers(name, familyMembers(f, slices.Values(delta.Added)))
				c.sets.RemoveMembers(name, familyMembers(f, slices.Values(delta.Removed)))
			}
		}
	}
}

// masquerade renders the nat tables and their sets.
func (c *record) masquerade(s *dataplane.State) {
	for _, f := range Families {
		sets := natSets(f, &s.NAT)
		if c.r.masquerades(f, &s.NAT) {
			t := c.r.natTable(f)
			for i := range sets {
				c.setDesired(&sets[i])
			}
			for _, chain := range t.chains {
				c.tables[tableKey{f, "nat"}].SetChain(chain.Name, chain.Rules)
			}
			for _, h := range t.hooks {
				c.tables[tableKey{f, "nat"}].SetHooks(h.Kernel, []string{h.Rule})
			}
			continue
		}
		c.tables[tableKey{f, "nat"}].SetHooks("POSTROUTING", nil)
		c.tables[tableKey{f, "nat"}].RemoveChain(chainPostrouting)
		for i := range sets {
			c.sets.Remove(sets[i].Name)
		}
	}
}

// familyMembers are those that the kernel's set of one family gets.
func familyMembers(f Family, members iter.Seq[dataplane.Member]) iter.Seq[ipset.Member] {
	return func(yield func(ipset.Member) bool) {
		for m := range members {
			if f.of(m.Prefix.Addr()) && !yield(ipset.Member(m)) {
				return
			}
		}
	}
}

func (c *record) setDesired(set *Set) {
	c.sets.SetDesired(set.Name, set.Type, ipset.Family(set.Family), familyMembers(set.Family, set.members))
}
