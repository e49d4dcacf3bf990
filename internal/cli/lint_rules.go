package cli

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/policy"
)

// policies are the policies among the objects, those of Kubernetes included.
func (c *cluster) policies() []v3.Object {
	var out []v3.Object
	for _, o := range c.objects {
		switch o.(type) {
		case *v3.NetworkPolicy, *v3.GlobalNetworkPolicy:
			out = append(out, o)
		}
	}
	return out
}

// tiersByName are the Tier objects.
func (c *cluster) tiersByName() map[string]*v3.Tier {
	out := map[string]*v3.Tier{}
	for _, o := range c.objects {
		if t, ok := o.(*v3.Tier); ok {
			out[t.Name] = t
		}
	}
	return out
}

func tierOf(o v3.Object) string {
	if t := policySpec(o).Tier; t != "" {
		return t
	}
	return v3.DefaultTier
}

func missingTiers(c *cluster) []finding {
	var out []finding
	tiers := c.tiersByName()
	for _, o := range c.policies() {
		name := tierOf(o)
		if tiers[name] != nil || policy.BuiltInTier(name) {
			continue
		}
		out = append(out, finding{
			key: v3.KeyOf(o), Field: "spec.tier",
			Message:  fmt.Sprintf("there is no Tier %s: the policy is enforced after all other tiers, and what it does not decide is denied", name),
			Proposal: fmt.Sprintf("make the tier, with the order that it should have:\napiVersion: %s\nkind: Tier\nmetadata:\n  name: %s\nspec:\n  order: 500", v3.APIVersion, name),
		})
	}
	return out
}

func unusedPolicies(c *cluster) []finding {
	var out []finding
	for _, key := range policy.Unused(c.objects, c.state) {
		out = append(out, finding{
			key: key, Field: "spec.selector", Message: "selects none of the endpoints",
			Proposal: "delete the policy, or correct its selector; deleting it opens and closes nothing now",
		})
	}
	return out
}

func overlappingPools(c *cluster) []finding {
	type pool struct {
		key  v3.Key
		cidr netip.Prefix
	}
	var pools []pool
	for _, o := range c.objects {
		if p, ok := o.(*v3.IPPool); ok {
			if cidr, _, err := v3.ParseCIDR(p.Spec.CIDR); err == nil {
				pools = append(pools, pool{v3.KeyOf(o), cidr})
			}
		}
	}
	slices.SortFunc(pools, func(a, b pool) int { return strings.Compare(a.key.Name, b.key.Name) })
	var out []finding
	for i, p := range pools {
		for _, q := range pools[:i] {
			if p.cidr.Overlaps(q.cidr) {
				out = append(out, finding{
					key: p.key, Field: "spec.cidr",
					Message:  fmt.Sprintf("%s overlaps %s of %s: an address could be handed out from both", p.cidr, q.cidr, q.key),
					Proposal: "give one of the two another range; addresses in use stay as long as their pods do, and no verdict changes",
				})
			}
		}
	}
	return out
}

// logOnly finds policies that only log, in a tier that denies what no rule decides.
func logOnly(c *cluster) []finding {
	var out []finding
	tiers := c.tiersByName()
	for _, o := range c.policies() {
		spec := policySpec(o)
		rules := slices.Concat(spec.Ingress, spec.Egress)
		notLog := func(r v3.Rule) bool { return r.Action != v3.Log }
		if len(rules) == 0 || slices.ContainsFunc(rules, notLog) {
			continue
		}
		name := tierOf(o)
		if t := tiers[name]; t != nil && t.Spec.DefaultAction == v3.Pass || t == nil && policy.BuiltInTier(name) && name != v3.DefaultTier {
			continue
		}
		out = append(out, finding{
			key: v3.KeyOf(o), Field: "spec",
			Message:  fmt.Sprintf("has Log rules alone: it decides nothing, and so the end of tier %s denies all that it logs", name),
			Proposal: "end each direction with a rule that says what happens, such as\n- action: Pass\nwhich leaves the traffic to the next tier, and opens what is allowed there",
		})
	}
	return out
}

// bakedIn finds lists of addresses and of names in rules. Kubernetes' own policies can't name a network set.
func bakedIn(c *cluster) []finding {
	var out []finding
	for _, o := range c.policies() {
		if o.GetKind() == v3.KindKubernetesNetworkPolicy || o.GetKind() == v3.KindClusterNetworkPolicy {
			continue
		}
		for _, side := range sidesOf(policySpec(o)) {
			e := side.entity
			add := func(field, what string, n int, proposal string) {
				out = append(out, finding{
					key: v3.KeyOf(o), Field: side.field + "." + field, Proposal: proposal,
					Message: fmt.Sprintf("%d %s are written into the rule: to change them is to change the policy", n, what),
				})
			}
			if several(e.Nets) {
				add("nets", "nets", len(e.Nets), networkSetText(o, e, e.Nets, e.Domains))
			}
			if several(e.Domains) {
				add("domains", "domains", len(e.Domains), networkSetText(o, e, e.Nets, e.Domains))
			}
			if several(e.NotNets) {
				add("notNets", "nets", len(e.NotNets), notNetworkSetText(o, e))
			}
		}
	}
	return out
}

// ruleSide is one side of a rule of a policy.
type ruleSide struct {
	field  string // "spec.egress[0].destination"
	entity *v3.EntityRule
}

func sidesOf(spec *v3.PolicySpec) []ruleSide {
	var out []ruleSide
	for _, dir := range []struct {
		name  string
		rules []v3.Rule
	}{{"ingress", spec.Ingress}, {"egress", spec.Egress}} {
		for i := range dir.rules {
			at := fmt.Sprintf("spec.%s[%d]", dir.name, i)
			out = append(out, ruleSide{at + ".source", &dir.rules[i].Source}, ruleSide{at + ".destination", &dir.rules[i].Destination})
		}
	}
	return out
}

// several tells whether a list is worth a set: one with a whole family in it is no list of places.
func several(values []string) bool {
	return len(values) > 1 && !slices.ContainsFunc(values, func(text string) bool { return strings.HasSuffix(text, "/0") })
}

// networkSetText proposes a set that holds nets and names, and how the rule is to find it: both at once, since they are a union in a
// rule and a set alike, but a list and a selector are not.
func networkSetText(o v3.Object, e *v3.EntityRule, nets, domains []string) string {
	if e.Selector != "" || e.NamespaceSelector != "" || e.ServiceAccounts != nil {
		return "select what is meant by labels alone: a selector beside the list means what is in both"
	}
	return networkSetOf(o, nets, domains) + fmt.Sprintf("\nand write, in place of the lists,\nselector: set == %q", setName(o))
}

func notNetworkSetText(o v3.Object, e *v3.EntityRule) string {
	if e.NotSelector != "" {
		return "exclude what is meant by labels alone, in notSelector"
	}
	return networkSetOf(o, e.NotNets, nil) + fmt.Sprintf("\nand write, in place of the list,\nnotSelector: set == %q", setName(o))
}

func setName(o v3.Object) string { return strings.ReplaceAll(o.GetName(), ".", "-") }

func networkSetOf(o v3.Object, nets, domains []string) string {
	kind, namespace := v3.KindGlobalNetworkSet, ""
	if o.GetNamespace() != "" {
		kind, namespace = v3.KindNetworkSet, "\n  namespace: "+o.GetNamespace()
	}
	name := setName(o)
	text := fmt.Sprintf("keep them in a network set, with labels that no other selector means:\napiVersion: %s\nkind: %s\nmetadata:\n  name: %s%s\n  labels: {set: %s}\nspec:",
		v3.APIVersion, kind, name, namespace, name)
	for _, list := range []struct {
		field  string
		values []string
	}{{"nets", nets}, {"allowedEgressDomains", domains}} {
		if len(list.values) > 0 {
			text += "\n  " + list.field + ":"
		}
		for _, v := range list.values {
			text += fmt.Sprintf("\n  - %q", v)
		}
	}
	return text
}
