package linux

import (
	"iter"
	"maps"
	"slices"

	"github.com/felid-net/felid/dataplane"
)

// hostRecord is what was rendered for host endpoints. They are few, so that whatever moves at one renders all of them anew.
type hostRecord struct {
	ids    map[dataplane.EndpointID]struct{}
	chains map[tableKey]map[string]dataplane.EndpointID // whose each is; "": of all
	moved  bool
}

func newHostRecord() hostRecord {
	return hostRecord{ids: map[dataplane.EndpointID]struct{}{}, chains: map[tableKey]map[string]dataplane.EndpointID{}}
}

// takes tells whether an endpoint is one of the host's, or was.
func (h *hostRecord) takes(id dataplane.EndpointID, ep *dataplane.Endpoint) bool {
	_, was := h.ids[id]
	if is := ep != nil && ep.Host != nil; !is && !was {
		return false
	}
	h.ids[id] = struct{}{} // until it is rendered
	h.moved = true
	return true
}

// turns tells whether changes bring the first host endpoint, or take the last.
func (h *hostRecord) turns(s *dataplane.State, changes *dataplane.Changes) bool {
	n := len(h.ids)
	for id := range changes.Endpoints {
		_, was := h.ids[id]
		ep := s.Endpoints[id]
		switch is := ep != nil && ep.Host != nil; {
		case is && !was:
			n++
		case was && !is:
			n--
		}
	}
	return (n == 0) != (len(h.ids) == 0)
}

// of are the host endpoints by their interfaces.
func (h *hostRecord) of(r *renderer, s *dataplane.State) *hosts {
	return r.hosts(func(yield func(*dataplane.Endpoint) bool) {
		for id := range h.ids {
			if ep := s.Endpoints[id]; ep != nil && !yield(ep) {
				return
			}
		}
	})
}

// hostEndpoints renders all of them anew; policies that gain their first user or lose their last are added to policies.
func (c *record) hostEndpoints(s *dataplane.State, policies map[dataplane.PolicyID]struct{}) {
	c.hosts.moved, c.moved = false, true
	h := c.hosts.of(c.r, s)
	for id := range c.hosts.ids {
		rec := &endpointRecord{fault: h.faults[id]}
		ep := s.Endpoints[id]
		if ep != nil && rec.fault == nil {
			eachHostUse(ep, func(p dataplane.PolicyID, st stage) { rec.uses = append(rec.uses, use{p, st}) })
		}
		var old []use
		if was := c.endpoints[id]; was != nil {
			old = was.uses
		}
		for _, f := range Families {
			for _, u := range old {
				c.use(f, u, id, slices.Contains(rec.uses, u), policies)
			}
			for _, u := range rec.uses {
				c.use(f, u, id, true, policies)
			}
		}
		if c.endpoints[id] = rec; ep == nil {
			delete(c.endpoints, id)
			delete(c.hosts.ids, id)
		}
	}
	for _, f := range Families {
		c.hostTables(f, h, stateEffects(f, s))
	}
}

// hostTables renders the chains of host endpoints, and the hooks of the tables that are theirs alone.
func (c *record) hostTables(f Family, h *hosts, eff effects) {
	now := map[tableKey]map[string]dataplane.EndpointID{}
	for _, chain := range c.r.hostChains(f, h, eff) {
		key := tableKey{f, chain.table}
		if now[key] == nil {
			now[key] = map[string]dataplane.EndpointID{}
		}
		now[key][chain.Name] = chain.owner
		c.tables[key].SetChain(chain.Name, chain.Rules)
	}
	for _, table := range append(hostTables[:], "filter") {
		key := tableKey{f, table}
		for name := range c.hosts.chains[key] {
			if _, still := now[key][name]; !still {
				c.tables[key].RemoveChain(name)
			}
		}
		c.hosts.chains[key] = now[key]
	}
	for _, table := range hostTables {
		for _, kernel := range hostKernelChains {
			var rules []string
			if rule := c.r.hostHook(h, table, kernel); rule != "" {
				rules = []string{rule}
			}
			c.tables[tableKey{f, table}].SetHooks(kernel, rules)
		}
	}
}

// probePorts notes which ports of probes an endpoint had, and has.
func (c *record) probePorts(old, now []dataplane.Member) {
	for _, m := range old {
		if c.probes[m]--; c.probes[m] == 0 {
			delete(c.probes, m)
		}
		c.probed[m] = struct{}{}
	}
	for _, m := range now {
		c.probes[m]++
		c.probed[m] = struct{}{}
	}
}

// probeSets brings what moved in the ports of probes into their sets.
func (c *record) probeSets() {
	for _, f := range Families {
		name := setName(f, setProbes)
		switch {
		case !c.r.probes() || !c.r.enabled(f):
			c.sets.Remove(name)
		case !c.sets.Has(name):
			set := probeSet(f, maps.Keys(c.probes))
			c.setDesired(&set)
		default:
			c.sets.AddMembers(name, familyMembers(f, c.probedThat(true)))
			c.sets.RemoveMembers(name, familyMembers(f, c.probedThat(false)))
		}
	}
	clear(c.probed)
}

// probedThat are the ports that moved and that an endpoint has now, or that none has.
func (c *record) probedThat(has bool) iter.Seq[dataplane.Member] {
	return func(yield func(dataplane.Member) bool) {
		for m := range c.probed {
			if _, is := c.probes[m]; is == has && !yield(m) {
				return
			}
		}
	}
}
