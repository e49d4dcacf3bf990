package cli

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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
	tier := func(name string, order *float64) []v3.Object {
		t := &v3.Tier{ObjectMeta: metav1.ObjectMeta{Name: name}}
		t.Spec.Order, t.Spec.DefaultAction = order, v3.Deny
		return []v3.Object{t}
	}
	for _, o := range c.policies() {
		name := tierOf(o)
		if tiers[name] != nil || policy.BuiltInTier(name) {
			continue
		}
		out = append(out, finding{
			key: v3.KeyOf(o), Field: "spec.tier",
			Message:  fmt.Sprintf("there is no Tier %s: the policy is enforced after all other tiers, and what it does not decide is denied", name),
			Proposal: fmt.Sprintf("make the tier %s, with the order that it should have", name),
			plans: []plan{
				{title: "make the tier, without an order: its policies stay the last", objects: tier(name, nil)},
				{title: "make the tier, before the default one", objects: tier(name, new(500.0))},
			},
		})
	}
	return out
}

func unusedPolicies(c *cluster) []finding {
	var out []finding
	for _, key := range policy.Unused(c.objects, c.state) {
		out = append(out, finding{
			key: key, Field: "spec.selector", Message: "selects none of the endpoints",
			Proposal: "delete the policy, or correct its selector",
			plans:    []plan{{title: "delete the policy", deletes: []v3.Key{key}, proven: len(c.state.Endpoints) > 0}},
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
		if p, ok := o.(*v3.IPPool); ok && !p.Spec.Disabled {
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
					Proposal: "give one of the two another range, or hand out no more of it; addresses in use stay as long as their pods do",
					plans:    []plan{closedPool(c, p.key, q.key, p.cidr.Bits() >= q.cidr.Bits())},
				})
			}
		}
	}
	return out
}

// closedPool hands out no more of one of two pools: of the second where that lies within the first.
func closedPool(c *cluster, second, first v3.Key, within bool) plan {
	key, other := second, first
	if !within {
		key, other = first, second
	}
	pool := c.object(key).Copy().(*v3.IPPool)
	pool.Spec.Disabled = true
	return plan{title: fmt.Sprintf("hand out no more of %s, all of which lies in %s", key, other), objects: []v3.Object{pool}}
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
			Proposal: "end each direction with a rule that says what happens",
			plans: []plan{
				{title: "say that it denies: end with action Deny", objects: []v3.Object{ending(o, v3.Deny)}},
				{title: "leave it to later tiers: end with action Pass", objects: []v3.Object{ending(o, v3.Pass)}},
			},
		})
	}
	return out
}

// bakedIn finds lists of addresses and of names in rules. Kubernetes' own policies can't name a network set.
func bakedIn(c *cluster) []finding {
	var out []finding
	for _, o := range c.policies() {
		if !ours(o) {
			continue
		}
		for _, side := range sidesOf(policySpec(o)) {
			e := side.entity
			add := func(field, what string, n int, negated bool) {
				f := finding{
					key: v3.KeyOf(o), Field: side.field + "." + field, Proposal: "keep them in a network set, with a label that no other selector means",
					Message: fmt.Sprintf("%d %s are written into the rule: to change them is to change the policy", n, what),
				}
				objects := networkSetFor(o, side, negated)
				switch {
				case objects != nil:
					f.plans = []plan{{title: "keep them in a network set, which the rule selects", objects: objects}}
				case negated && o.GetNamespace() != "":
					f.Proposal = "write the rule in a GlobalNetworkPolicy, with a network set in notSelector; in a NetworkPolicy notSelector means endpoints of the namespace alone"
				default:
					f.Proposal = "select what is meant by labels alone: a selector beside the list means what is in both"
				}
				out = append(out, f)
			}
			if several(e.Nets) {
				add("nets", "nets", len(e.Nets), false)
			}
			if several(e.Domains) {
				add("domains", "domains", len(e.Domains), false)
			}
			if several(e.NotNets) {
				add("notNets", "nets", len(e.NotNets), true)
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

// networkSetFor is a set that holds the nets and names of one side of a rule, or the nets that are not, and the policy that finds it by
// label: nets and names at once, since they are a union in a rule and a set alike. Nil where the side has a selector already, which would
// have to mean both, and where a notSelector would mean more than the set.
func networkSetFor(o v3.Object, side ruleSide, negated bool) []v3.Object {
	e := side.entity
	spec := v3.NetworkSetSpec{Nets: e.Nets, AllowedEgressDomains: e.Domains}
	taken := e.Selector != "" || e.NamespaceSelector != "" || e.ServiceAccounts != nil || e.Services != nil
	if negated {
		spec, taken = v3.NetworkSetSpec{Nets: e.NotNets}, e.NotSelector != "" || o.GetNamespace() != ""
	}
	name := setName(o, side.field, negated)
	if taken || len(name) > maxLabel {
		return nil
	}
	meta := metav1.ObjectMeta{Name: name, Namespace: o.GetNamespace(), Labels: map[string]string{setLabel: name}}
	set := v3.Object(&v3.GlobalNetworkSet{ObjectMeta: meta, Spec: spec})
	if meta.Namespace != "" {
		set = &v3.NetworkSet{ObjectMeta: meta, Spec: spec}
	}
	return []v3.Object{set, changed(o, func(spec *v3.PolicySpec) {
		for _, own := range sidesOf(spec) {
			if own.field == side.field {
				selectSet(own.entity, fmt.Sprintf("%s == %q", setLabel, name), negated)
			}
		}
	})}
}

// selectSet writes a selector in place of the lists that it stands for.
func selectSet(e *v3.EntityRule, text string, negated bool) {
	if negated {
		e.NotNets, e.NotSelector = nil, text
	} else {
		e.Nets, e.Domains, e.Selector = nil, nil, text
	}
}

const (
	setLabel = "network-set" // of a proposed set
	maxLabel = 63            // of the value of a label, in Kubernetes
)

// setName is a name of one set of a policy: "web-egress-0-destination".
func setName(o v3.Object, field string, negated bool) string {
	name := o.GetName() + "-" + strings.TrimPrefix(field, "spec.")
	if negated {
		name += "-not"
	}
	return strings.NewReplacer("[", "-", "]", "", ".", "-").Replace(name)
}
