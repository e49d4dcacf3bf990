package linux

import (
	"github.com/felid-net/felid/dataplane"
)

// group is a list of policies that endpoints have in common, in order: those of a whole tier in one direction, or a run of them. It has a
// chain of its own, so that endpoints share it, and that policies whose rules a packet can't match are not crossed one by one: a group is entered
// only by packets that its cover holds.
type group struct {
	name      string // of the chain
	direction dataplane.Direction
	policies  []dataplane.PolicyID
}

// grouping is when policies are grouped.
type grouping struct {
	from int // so many policies of a tier make a group; fewer cost less without
	// min and max policies are in a run of a longer list; it is shorter at the end, and where a wide policy comes next.
	min, max int
}

var usualGrouping = grouping{from: 8, min: 4, max: 16}

// newGroup names the group by what is in it.
func newGroup(d dataplane.Direction, policies []dataplane.PolicyID) group {
	text := make([]byte, 0, 64*len(policies))
	for _, id := range policies {
		text = append(append(append(append(append(append(text, id.Kind...), 0), id.Namespace...), 0), id.Name...), 0)
	}
	prefix := "felid-gi-"
	if d == dataplane.Egress {
		prefix = "felid-go-"
	}
	return group{prefix + hashed(string(text), 18), d, policies}
}

// endsRun tells whether a run ends with this policy, as one in eight does. It depends on the policy alone, so that one policy more or less in a
// list changes the run that it is in, and seldom the next.
func endsRun(id dataplane.PolicyID) bool {
	h := uint64(14695981039346656037) // FNV-1a, and then a multiplication: names that differ at their ends alone differ in few bits of it
	for _, s := range [...]string{id.Kind, id.Namespace, id.Name} {
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * 1099511628211
		}
	}
	return (h^h>>32)*0x9e3779b97f4a7c15>>61 == 0
}

// runs parts a list of policies. One that is wide stands alone: it would keep its whole run from being passed over.
func (r *renderer) runs(list []dataplane.PolicyID, d dataplane.Direction, eff effects) [][]dataplane.PolicyID {
	var out [][]dataplane.PolicyID
	from := 0
	cut := func(to int) {
		if to > from {
			out = append(out, list[from:to:to])
		}
		from = to
	}
	for i, id := range list {
		if eff(id, d)&effectWide != 0 {
			cut(i)
			cut(i + 1)
		} else if n := i + 1 - from; n == r.cfg.grouping.max || n >= r.cfg.grouping.min && endsRun(id) {
			cut(i + 1)
		}
	}
	cut(len(list))
	return out
}

// groupsOf are that of a list, and those of its runs.
func (r *renderer) groupsOf(list []dataplane.PolicyID, d dataplane.Direction, eff effects) []group {
	out := []group{newGroup(d, list)}
	if parts := r.runs(list, d, eff); len(parts) > 1 {
		for _, run := range parts {
			if len(run) > 1 {
				out = append(out, newGroup(d, run))
			}
		}
	}
	return out
}

// groupChain renders a group of pods' policies. A packet with a bit of accept or pass crosses no policy more.
func (r *renderer) groupChain(f Family, g *group, s *dataplane.State) Chain {
	parts := r.runs(g.policies, g.direction, stateEffects(f, s))
	if len(parts) == 1 {
		parts = parts[:0]
		for i := range g.policies {
			parts = append(parts, g.policies[i:i+1])
		}
	}
	for _, part := range parts {
		c, rules := &cover{family: f}, 0
		for _, id := range part {
			ruleList := rulesOf(s.Policies[id], g.direction)
			c.join(coverOf(f, ruleList))
			rules += len(ruleList)
		}
		target := policyChain(stageLocal, g.direction, part[0])
		if len(part) > 1 {
			target = newGroup(g.direction, part).name
		}
		r.gates(c, rules, target)
	}
	return r.w.chain(g.name, "policies in common, "+g.direction.String())
}

// gates writes the jumps to a chain with so many rules, by the cover of these rules, where that saves any.
func (r *renderer) gates(c *cover, rules int, target string) {
	matches := c.matches()
	if len(matches) > rules {
		matches = anyMatch
	}
	for _, match := range matches {
		r.w.s(match, "-m mark --mark ").bits(0, r.marks.accept|r.marks.pass).s(" -j ", target).end()
	}
}
