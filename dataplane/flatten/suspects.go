package flatten

import (
	"slices"

	"github.com/felid-net/felid/dataplane"
)

// suspects are disjoint matches that have all packets of a group which its two chains may decide differently: where the tiers correspond,
// what single policies, of which the other chain has none or one that differs, do differently.
func (d *differ) suspects(g *group, dirty map[dataplane.PolicyID]bool) []Match {
	all := Match{Src: g.addrs}
	if g.dir == dataplane.Ingress {
		all = Match{Dst: g.addrs}
	}
	old, now := g.chains[0].stages(g.dir), g.chains[1].stages(g.dir)
	if len(old) != len(now) {
		return []Match{all}
	}
	var out []Match
	for i := range old {
		moved, ok := movedIn(old[i].policies, now[i].policies, dirty)
		if !ok || old[i].end != now[i].end {
			return []Match{all}
		}
		for id := range moved {
			for _, m := range d.unlike(use{g.dir, id, slices.Contains(old[i].policies, id), slices.Contains(now[i].policies, id)}) {
				if mine, ok := m.Intersect(all); ok {
					out = disjoint(out, []Match{mine})
				}
			}
		}
	}
	return Merge(out)
}

// stage is a tier that has policies in a direction, or the profiles.
type stage struct {
	policies []dataplane.PolicyID
	end      dataplane.Action
}

func (c *chain) stages(dir dataplane.Direction) []stage {
	var out []stage
	for i := range c.tiers {
		if ids := ofDirection(&c.tiers[i], dir); len(ids) > 0 {
			out = append(out, stage{ids, c.tiers[i].Default})
		}
	}
	return append(out, stage{policies: c.profiles})
}

// movedIn are the policies that are in one list alone, or dirty; false where those in both are in another order.
func movedIn(old, now []dataplane.PolicyID, dirty map[dataplane.PolicyID]bool) (map[dataplane.PolicyID]bool, bool) {
	in := func(ids []dataplane.PolicyID) map[dataplane.PolicyID]bool {
		set := make(map[dataplane.PolicyID]bool, len(ids))
		for _, id := range ids {
			set[id] = true
		}
		return set
	}
	inOld, inNow := in(old), in(now)
	moved := map[dataplane.PolicyID]bool{}
	both := func(ids []dataplane.PolicyID) []dataplane.PolicyID {
		var out []dataplane.PolicyID
		for _, id := range ids {
			common := inOld[id] && inNow[id]
			if common {
				out = append(out, id)
			}
			if !common || dirty[id] {
				moved[id] = true
			}
		}
		return out
	}
	return moved, slices.Equal(both(old), both(now))
}

// use is a policy in one direction, and which of the two chains name it.
type use struct {
	dir      dataplane.Direction
	policy   dataplane.PolicyID
	old, now bool
}

// unlike are the packets of any endpoint with which a policy does not do the same in the two States.
func (d *differ) unlike(u use) []Match {
	if _, ok := d.unlikes[u]; !ok {
		before, after := d.from.fates(u.dir, u.policy, u.old), d.to.fates(u.dir, u.policy, u.now)
		d.unlikes[u] = Merge(before.unlike(after))
	}
	return d.unlikes[u]
}

// fates of all packets; none where the policy is not in use.
func (v *version) fates(dir dataplane.Direction, id dataplane.PolicyID, used bool) fates {
	var out fates
	if used {
		w := Walk{State: v.state, Sets: v.sets, Direction: dir}
		w.policies([]dataplane.PolicyID{id}, []Match{{}}, &out)
	}
	return out
}

// unlike are the packets that have another fate in o: whatever has none in one of the two has one in the other, if it is unlike.
func (f fates) unlike(o fates) []Match {
	var out []Match
	for _, pair := range [][2][]Match{
		{f.allowed, o.allowed}, {o.allowed, f.allowed}, {f.passed, o.passed}, {o.passed, f.passed}, {f.denied, o.denied}, {o.denied, f.denied},
	} {
		out = disjoint(out, minusAll(pair[0], pair[1]))
	}
	return out
}

// disjoint adds more to matches, less what they have already.
func disjoint(matches, more []Match) []Match {
	return append(matches, minusAll(more, matches)...)
}
