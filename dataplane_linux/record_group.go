package linux

import (
	"slices"

	"github.com/felid-net/felid/dataplane"
)

// groupKey is a group's chain.
type groupKey struct {
	family Family
	name   string
}

// groupRecords are the groups in use, and those that are to be rendered or removed.
type groupRecords struct {
	byKey    map[groupKey]*groupRecord
	byPolicy map[dataplane.PolicyID]map[groupKey]struct{}
	moved    map[groupKey]struct{}
}

// groupRecord is a group and who uses it.
type groupRecord struct {
	group
	users map[dataplane.EndpointID]struct{}
}

func newGroupRecords() groupRecords {
	return groupRecords{map[groupKey]*groupRecord{}, map[dataplane.PolicyID]map[groupKey]struct{}{}, map[groupKey]struct{}{}}
}

// use notes that an endpoint uses the groups now, and not old.
func (g *groupRecords) use(f Family, id dataplane.EndpointID, old, now []group) {
	for i := range now {
		key := groupKey{f, now[i].name}
		rec := g.byKey[key]
		if rec == nil {
			rec = &groupRecord{now[i], map[dataplane.EndpointID]struct{}{}}
			g.byKey[key] = rec
			g.moved[key] = struct{}{}
		}
		rec.users[id] = struct{}{}
	}
	for i := range old {
		if slices.ContainsFunc(now, func(n group) bool { return n.name == old[i].name }) {
			continue
		}
		key := groupKey{f, old[i].name}
		if delete(g.byKey[key].users, id); len(g.byKey[key].users) == 0 {
			g.moved[key] = struct{}{}
		}
	}
}

// index notes which policies are in a group, or no longer are.
func (g *groupRecords) index(key groupKey, policies []dataplane.PolicyID, in bool) {
	for _, id := range policies {
		switch {
		case !in:
			if delete(g.byPolicy[id], key); len(g.byPolicy[id]) == 0 {
				delete(g.byPolicy, id)
			}
		case g.byPolicy[id] == nil:
			g.byPolicy[id] = map[groupKey]struct{}{key: {}}
		default:
			g.byPolicy[id][key] = struct{}{}
		}
	}
}

// groupChains renders groups that are new or have a policy that changed, and removes those that nobody uses.
func (c *record) groupChains(s *dataplane.State, changed map[dataplane.PolicyID]struct{}) {
	g := &c.groups
	for id := range changed {
		for key := range g.byPolicy[id] {
			g.moved[key] = struct{}{}
		}
	}
	for key := range g.moved {
		rec := g.byKey[key]
		g.index(key, rec.policies, len(rec.users) > 0)
		if len(rec.users) == 0 {
			delete(g.byKey, key)
			c.filter(key.family).RemoveChain(key.name)
			continue
		}
		chain := c.r.groupChain(key.family, &rec.group, s)
		c.filter(key.family).SetChain(chain.Name, chain.Rules)
	}
	clear(g.moved)
}
