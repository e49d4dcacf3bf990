package cli

import (
	"fmt"
	"slices"
	"strings"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/flatten"
	"github.com/felid-net/felid/policy"
)

// placedRule is a rule with the policy that it is of.
type placedRule struct {
	policy dataplane.PolicyID
	*dataplane.Rule
}

// shadowed finds rules that can never match, because rules before them match all that they would: of the same policy, or of policies
// that come before it on each endpoint that it selects. The proof holds whatever endpoints come and go.
func shadowed(c *cluster) []finding {
	compiled, sets := map[dataplane.PolicyID]*dataplane.Policy{}, map[dataplane.IPSetID]*dataplane.IPSet{}
	for _, o := range c.policies() {
		if p, its := policy.Alone(o); p != nil {
			compiled[p.ID] = p
			for id, set := range its {
				sets[id] = set
			}
		}
	}
	reader := flatten.NewSets(sets)
	var out []finding
	for _, dir := range []dataplane.Direction{dataplane.Ingress, dataplane.Egress} {
		first := c.alwaysBefore(dir)
		for _, o := range c.policies() {
			id := dataplane.PolicyID{Kind: string(o.GetKind()), Namespace: o.GetNamespace(), Name: o.GetName()}
			p := compiled[id]
			if p == nil {
				continue
			}
			before := first[id]
			if o.GetKind() == v3.KindKubernetesNetworkPolicy {
				before = nil // these add to one another: that two allow the same is no mistake
			}
			for _, f := range shadowedIn(reader, p, dir, earlierRules(compiled, p.Tier, before, dir)) {
				if less := withoutRule(o, dir, f.rule); less != nil {
					f.plans = []plan{{title: "delete the rule", objects: []v3.Object{less}, proven: true}}
				}
				out = append(out, f)
			}
		}
	}
	return out
}

// earlierRules are those of policies that come first. One in an earlier tier decides by Allow and Deny alone.
func earlierRules(compiled map[dataplane.PolicyID]*dataplane.Policy, tier string, first []dataplane.PolicyID, dir dataplane.Direction) []placedRule {
	var out []placedRule
	for _, id := range first {
		p := compiled[id]
		if p == nil {
			continue
		}
		rules := rulesOf(p, dir)
		for i := range rules {
			if p.Tier != tier && rules[i].Action == dataplane.Pass {
				break // what it leaves to later tiers is not decided by what follows it here
			}
			out = append(out, placedRule{id, &rules[i]})
		}
	}
	return out
}

func rulesOf(p *dataplane.Policy, dir dataplane.Direction) []dataplane.Rule {
	if dir == dataplane.Egress {
		return p.Egress
	}
	return p.Ingress
}

// shadowedIn looks at rules as they were written: where one became two, for the two families, both must be covered.
func shadowedIn(sets *flatten.Sets, p *dataplane.Policy, dir dataplane.Direction, earlier []placedRule) []finding {
	var out []finding
	rules := rulesOf(p, dir)
	for i := 0; i < len(rules); {
		end := i + 1
		for end < len(rules) && rules[end].Index == rules[i].Index {
			end++
		}
		if by, ok := coveredBy(sets, rules[i:end], earlier); ok {
			out = append(out, finding{
				key: keyOfPolicy(p.ID), rule: rules[i].Index, Field: fmt.Sprintf("spec.%s[%d]", dir, rules[i].Index),
				Message:  "can never match: all that it would is matched before by " + coversText(p.ID, dir, by, earlier),
				Proposal: "delete the rule, which opens and closes nothing; or, if it is meant, put it before those",
			})
		}
		for ; i < end; i++ {
			earlier = append(earlier, placedRule{p.ID, &rules[i]})
		}
	}
	return out
}

// coveredBy are the earlier rules, by index, that cover each of some; false where there are none.
func coveredBy(sets *flatten.Sets, rules []dataplane.Rule, earlier []placedRule) ([]int, bool) {
	plain := make([]*dataplane.Rule, len(earlier))
	for n, e := range earlier {
		plain[n] = e.Rule
	}
	var all []int
	for i := range rules {
		by, ok := sets.CoveredBy(&rules[i], plain)
		if !ok {
			return nil, false
		}
		all = append(all, by...)
	}
	slices.Sort(all)
	return slices.Compact(all), true
}

// coversText names rules, with their policy where that is another.
func coversText(own dataplane.PolicyID, dir dataplane.Direction, by []int, rules []placedRule) string {
	var texts []string
	for _, n := range by {
		text := fmt.Sprintf("spec.%s[%d] (%s)", dir, rules[n].Index, rules[n].Action)
		if rules[n].policy != own {
			text = rules[n].policy.String() + " " + text
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, ", ")
}

// alwaysBefore are, for each policy, those that come before it on all endpoints that it selects, in order. In an earlier tier that is
// only the first policies, up to one that passes something on: what stands behind it may not be asked.
func (c *cluster) alwaysBefore(dir dataplane.Direction) map[dataplane.PolicyID][]dataplane.PolicyID {
	out := map[dataplane.PolicyID][]dataplane.PolicyID{}
	for _, e := range sortedEndpoints(c.state) {
		for _, tiers := range tierLists(e) {
			c.keepBefore(out, tiers, dir)
		}
	}
	return out
}

// keepBefore keeps of all those that come before a policy what does in these tiers too.
func (c *cluster) keepBefore(out map[dataplane.PolicyID][]dataplane.PolicyID, tiers []dataplane.EndpointTier, dir dataplane.Direction) {
	var before []dataplane.PolicyID
	seen := map[dataplane.PolicyID]bool{}
	for _, t := range tiers {
		ids := t.Ingress
		if dir == dataplane.Egress {
			ids = t.Egress
		}
		start := len(before)
		for _, id := range ids {
			if first, ok := out[id]; ok {
				out[id] = slices.DeleteFunc(first, func(f dataplane.PolicyID) bool { return !seen[f] })
			} else {
				out[id] = slices.Clone(before)
			}
			before, seen[id] = append(before, id), true
		}
		for n := start; n < len(before); n++ {
			if hasPass(rulesOf(c.state.Policies[before[n]], dir)) {
				for _, id := range before[n+1:] {
					delete(seen, id)
				}
				before = before[:n+1]
			}
		}
	}
}

func hasPass(rules []dataplane.Rule) bool {
	return slices.ContainsFunc(rules, func(r dataplane.Rule) bool { return r.Action == dataplane.Pass })
}
