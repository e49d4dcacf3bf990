package policy

import (
	"slices"
	"strings"

	v3 "github.com/felid-net/felid/api/v3"
)

// Status is what becomes of one policy.
type Status struct {
	Policy v3.Key
	Tier   string // "" where the policy counts as absent
	// Selected are the endpoints of all nodes that it selects; Local those that the State holds.
	Selected, Local int
	// Conditions are about it alone, its rules included, whether or not it is in force here; sorted.
	Conditions []Condition
}

// Status says what becomes of a policy, as of the last Flush; false where there is none of that key. It takes time in proportion to what the
// policy selects.
func (r *Resolver) Status(key v3.Key) (Status, bool) {
	s, ok := r.localStatus(key)
	if p := r.policies[key]; p != nil {
		r.everyone.matches(p.selector, r.profiles, func(q *livePeer) {
			if p.mayBeForKind(q.peer) {
				s.Selected++
			}
		})
	}
	return s, ok
}

// LocalStatuses are those of all policies that have a local endpoint, that are to be at hand on every node, or whose scope can't be read;
// Selected is not counted. Sorted by kind, namespace and name.
func (r *Resolver) LocalStatuses() []Status {
	var all []Status
	add := func(key v3.Key) {
		if s, ok := r.localStatus(key); ok {
			all = append(all, s)
		}
	}
	for key, p := range r.policies {
		if len(p.peers) > 0 || p.everywhere {
			add(key)
		}
	}
	for key := range r.conditions {
		if r.policies[key] == nil {
			add(key)
		}
	}
	slices.SortFunc(all, func(a, b Status) int {
		if c := strings.Compare(string(a.Policy.Kind), string(b.Policy.Kind)); c != 0 {
			return c
		}
		return compareKeys(a.Policy, b.Policy)
	})
	return all
}

func (r *Resolver) localStatus(key v3.Key) (Status, bool) {
	s := Status{Policy: key}
	conditions := slices.Clone(r.conditions[key])
	p := r.policies[key]
	if p == nil {
		s.Conditions = newReport(conditions).Conditions
		return s, isPolicy(key.Kind) && len(conditions) > 0
	}
	s.Tier, s.Local = p.tier, len(p.peers)
	if r.tier(p.tier).missing {
		conditions = append(conditions, missingTier(p.policy))
	}
	s.Conditions = newReport(append(conditions, r.ruleConditions(p)...)).Conditions
	return s, true
}

// ruleConditions are those of the rules of a policy, compiled for that where it is not in force.
func (r *Resolver) ruleConditions(p *livePolicy) []Condition {
	if prog := r.programs[p.id()]; prog != nil && prog.installed != nil && !prog.stale {
		return prog.installed.conditions
	}
	return compilePolicy(p.policy).conditions
}

// Judge says of a policy what does not count as written wherever it is enforced, and the tier in which it is, "" where it counts as absent.
// tierOf finds a stored Tier, nil where there is none of that name. What one dataplane alone can't do is not known here.
func Judge(o v3.Object, tierOf func(name string) *v3.Tier) (inTier string, conditions []Condition) {
	read := &reader{key: v3.KeyOf(o)}
	p := newPolicy(o, read)
	if p == nil {
		return "", newReport(read.conditions).Conditions
	}
	all := append(read.conditions, compilePolicy(p).conditions...)
	if tierNamed(p.tier, tierOf(p.tier)).missing {
		all = append(all, missingTier(p))
	}
	return p.tier, newReport(all).Conditions
}

func isPolicy(kind v3.Kind) bool {
	switch kind {
	case v3.KindNetworkPolicy, v3.KindGlobalNetworkPolicy, v3.KindKubernetesNetworkPolicy, v3.KindClusterNetworkPolicy:
		return true
	}
	return false
}

// mayBeForKind is mayBeFor for peers of any node.
func (p *policy) mayBeForKind(q *peer) bool {
	switch q.key.Kind {
	case v3.KindWorkloadEndpoint:
		return p.stage == ""
	case v3.KindHostEndpoint:
		return p.namespace == "" && (p.ingress || p.egress)
	}
	return false
}
