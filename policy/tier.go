package policy

import (
	"cmp"
	"math"
	"slices"
	"strings"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
)

// tier is where policies are grouped.
type tier struct {
	name  string
	order float64
	last  dataplane.Action // at the end of the tier: Deny or Pass
	// missing: there is no such tier. Its policies are enforced all the same, after all others.
	missing bool
}

// builtInTiers exist even where no Tier object does.
var builtInTiers = map[string]tier{
	"kube-admin":    {name: "kube-admin", order: 1000, last: dataplane.Pass},
	v3.DefaultTier:  {name: v3.DefaultTier, order: 1_000_000, last: dataplane.Deny},
	"kube-baseline": {name: "kube-baseline", order: 10_000_000, last: dataplane.Pass},
}

// tierNamed is the tier as it counts; o is its object, or nil.
func tierNamed(name string, o *v3.Tier) tier {
	if o != nil {
		t := tier{name: name, order: orderOf(o.Spec.Order), last: dataplane.Deny}
		if o.Spec.DefaultAction == v3.Pass {
			t.last = dataplane.Pass
		}
		return t
	}
	if t, ok := builtInTiers[name]; ok {
		return t
	}
	return tier{name: name, order: math.Inf(1), last: dataplane.Deny, missing: true}
}

// compareTiers is the order of tiers: what has no order is last but for those that are missing; ties go by name.
func compareTiers(a, b tier) int {
	return cmp.Or(cmp.Compare(a.order, b.order), compareBools(a.missing, b.missing), strings.Compare(a.name, b.name))
}

func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

func missingTier(p *policy) Condition {
	c := Condition{Object: p.key, Field: "spec.tier", Type: ConditionTierMissing,
		Message: "there is no Tier " + p.tier + ": the policy is enforced after all other tiers"}
	if p.stage == "" {
		c.Message += ", and what it does not decide is denied"
	}
	return c
}

// endpointTiers groups the policies that select an endpoint.
func endpointTiers(policies []*policy, tierOf func(name string) tier) []dataplane.EndpointTier {
	if len(policies) == 0 {
		return nil
	}
	slices.SortFunc(policies, func(a, b *policy) int {
		if a.tier != b.tier {
			return compareTiers(tierOf(a.tier), tierOf(b.tier))
		}
		return comparePolicies(a, b)
	})
	var tiers []dataplane.EndpointTier
	for len(policies) > 0 {
		name := policies[0].tier
		n := slices.IndexFunc(policies, func(p *policy) bool { return p.tier != name })
		if n < 0 {
			n = len(policies)
		}
		tiers = append(tiers, dataplane.EndpointTier{
			Name: name, Default: tierOf(name).last,
			Ingress: idsOf(policies[:n], func(p *policy) bool { return p.ingress }), Egress: idsOf(policies[:n], func(p *policy) bool { return p.egress }),
		})
		policies = policies[n:]
	}
	return tiers
}

// idsOf are those of the policies that are for a direction.
func idsOf(policies []*policy, isFor func(*policy) bool) []dataplane.PolicyID {
	n := 0
	for _, p := range policies {
		if isFor(p) {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	ids := make([]dataplane.PolicyID, 0, n)
	for _, p := range policies {
		if isFor(p) {
			ids = append(ids, p.id())
		}
	}
	return ids
}

// endpointProfiles are the profiles that decide after the last tier. Those without a rule, or without an object, never do.
func endpointProfiles(named []*profile) []dataplane.PolicyID {
	var ids []dataplane.PolicyID
	for _, p := range named {
		if p.decides() {
			ids = append(ids, p.id())
		}
	}
	return ids
}

func (p *profile) decides() bool {
	ingress, egress := p.rules()
	return len(ingress)+len(egress) > 0
}

func (p *profile) id() dataplane.PolicyID {
	return dataplane.PolicyID{Kind: string(v3.KindProfile), Name: p.name}
}
