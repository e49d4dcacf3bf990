package windows

import (
	"maps"
	"net/netip"
	"slices"

	"go4.org/netipx"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane_windows/hns"
)

// Set is a set of HNS with the members that the State gives it, as few prefixes as possible, in order. Without members it must not stand
// on a network (H37).
func (r *Renderer) Set(ref SetRef) hns.Set {
	set := hns.Set{ID: ref.ID(), Name: ref.ID()}
	for _, p := range r.sets.Nets(ref.Set).Prefixes(ref.Family) {
		set.Members = append(set.Members, halves(p)...)
	}
	return set
}

// halves are two prefixes for that of everything, which no product has put into a set of HNS.
func halves(p netip.Prefix) []netip.Prefix {
	if p.Bits() > 0 {
		return []netip.Prefix{p}
	}
	low := netip.PrefixFrom(p.Addr(), 1)
	return []netip.Prefix{low, netip.PrefixFrom(netipx.PrefixLastIP(low).Next(), 1)}
}

// Index knows what the lists of a node's endpoints were made from, so that the work for a change is for those that it may concern.
type Index struct {
	endpoints map[dataplane.EndpointID]*sources
	policies  users[dataplane.PolicyID]
	expanded  users[dataplane.IPSetID]
	named     users[SetRef]
	present   users[SetRef]
	absent    users[SetRef]
}

// sources of one list.
type sources struct {
	policies               []dataplane.PolicyID
	expanded               []dataplane.IPSetID
	named, present, absent []SetRef
}

// users are the endpoints that use something.
type users[K comparable] map[K]map[dataplane.EndpointID]struct{}

func (u users[K]) add(id dataplane.EndpointID, keys []K) {
	for _, k := range keys {
		if u[k] == nil {
			u[k] = map[dataplane.EndpointID]struct{}{}
		}
		u[k][id] = struct{}{}
	}
}

func (u users[K]) remove(id dataplane.EndpointID, keys []K) {
	for _, k := range keys {
		if delete(u[k], id); len(u[k]) == 0 {
			delete(u, k)
		}
	}
}

// NewIndex is of no endpoint.
func NewIndex() *Index {
	return &Index{
		endpoints: map[dataplane.EndpointID]*sources{}, policies: users[dataplane.PolicyID]{}, expanded: users[dataplane.IPSetID]{},
		named: users[SetRef]{}, present: users[SetRef]{}, absent: users[SetRef]{},
	}
}

// Put notes the list that has been made for an endpoint.
func (x *Index) Put(ep *dataplane.Endpoint, l *List) {
	x.Remove(ep.ID)
	s := &sources{policies: policiesOf(ep), expanded: l.Expanded, named: l.Sets, present: l.Present, absent: l.Absent}
	x.endpoints[ep.ID] = s
	x.policies.add(ep.ID, s.policies)
	x.expanded.add(ep.ID, s.expanded)
	x.named.add(ep.ID, s.named)
	x.present.add(ep.ID, s.present)
	x.absent.add(ep.ID, s.absent)
}

// Remove forgets an endpoint.
func (x *Index) Remove(id dataplane.EndpointID) {
	s := x.endpoints[id]
	if s == nil {
		return
	}
	delete(x.endpoints, id)
	x.policies.remove(id, s.policies)
	x.expanded.remove(id, s.expanded)
	x.named.remove(id, s.named)
	x.present.remove(id, s.present)
	x.absent.remove(id, s.absent)
}

func policiesOf(ep *dataplane.Endpoint) []dataplane.PolicyID {
	ids := slices.Clone(ep.Profiles)
	for i := range ep.Tiers {
		ids = slices.Concat(ids, ep.Tiers[i].Ingress, ep.Tiers[i].Egress)
	}
	return ids
}

// Affected are the endpoints whose lists may be others since the changes, sorted: those that changed or came or went themselves, and those
// put into the index that a policy, a set or the node concerns. Nil changes may concern all.
func (x *Index) Affected(s *dataplane.State, c *dataplane.Changes) []dataplane.EndpointID {
	out := map[dataplane.EndpointID]struct{}{}
	if c == nil || c.Host || concerns(c.Nodes, s.Host.Node) {
		for id := range s.Endpoints {
			out[id] = struct{}{}
		}
		for id := range x.endpoints {
			out[id] = struct{}{}
		}
		return slices.Sorted(maps.Keys(out))
	}
	maps.Copy(out, c.Endpoints)
	for id := range c.Policies {
		maps.Copy(out, x.policies[id])
	}
	for id, delta := range c.IPSets {
		maps.Copy(out, x.expanded[id])
		for _, family := range []uint8{4, 6} {
			maps.Copy(out, x.turned(SetRef{id, family}, s.IPSets[id], delta))
		}
	}
	return slices.Sorted(maps.Keys(out))
}

// turned are the endpoints for which a set that had no members of its family has come to have some, or has lost the last.
func (x *Index) turned(ref SetRef, set *dataplane.IPSet, delta *dataplane.SetDelta) map[dataplane.EndpointID]struct{} {
	present, absent := x.present[ref], x.absent[ref]
	ofFamily := func(m dataplane.Member) bool { return familyOf(m.Prefix.Addr()) == ref.Family }
	switch {
	case len(present)+len(absent) == 0:
		return nil
	case delta != nil && !slices.ContainsFunc(delta.Added, ofFamily) && !slices.ContainsFunc(delta.Removed, ofFamily):
		return nil
	case hasFamily(set, ref.Family):
		return absent
	}
	return present
}

func concerns(nodes map[dataplane.NodeName]struct{}, own dataplane.NodeName) bool {
	_, ok := nodes[own]
	return ok
}

// hasFamily tells whether a set has members of a family.
func hasFamily(set *dataplane.IPSet, family uint8) bool {
	if set == nil {
		return false
	}
	for m := range set.Members {
		if familyOf(m.Prefix.Addr()) == family {
			return true
		}
	}
	return false
}

// Users are the endpoints whose lists name a set, sorted.
func (x *Index) Users(ref SetRef) []dataplane.EndpointID {
	return slices.Sorted(maps.Keys(x.named[ref]))
}
