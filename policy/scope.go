package policy

import (
	"cmp"
	"math"
	"slices"
	"strings"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/policy/selector"
)

// policy is a stored policy as far as it takes to know whom it is for and when its turn comes. Its rules are compiled only once it
// selects an endpoint of this node.
type policy struct {
	key       v3.Key
	spec      *v3.PolicySpec
	namespace string // that its rules' selectors mean where they name none; "" for a global policy
	selector  *selector.Selector
	tier      string
	order     float64
	ingress   bool
	egress    bool
	// hostOnly: it is for host endpoints alone.
	hostOnly bool
}

// newPolicy is nil for what is no policy, and for a policy whose selectors, tier or types can't be read: it counts as absent.
func newPolicy(o v3.Object, r *reader) *policy {
	p := &policy{key: r.key}
	var namespaces string
	switch o := o.(type) {
	case *v3.NetworkPolicy:
		p.spec, p.namespace = &o.Spec.PolicySpec, o.Namespace
	case *v3.GlobalNetworkPolicy:
		p.spec, namespaces = &o.Spec.PolicySpec, o.Spec.NamespaceSelector
		p.hostOnly = o.Spec.DoNotTrack || o.Spec.PreDNAT
	default:
		return nil
	}
	p.tier, p.order = cmp.Or(p.spec.Tier, v3.DefaultTier), orderOf(p.spec.Order)
	p.readTypes(r)
	if strings.ContainsAny(p.tier, " ./") {
		r.report("spec.tier", ConditionInvalid, "%q is not the name of a tier; valid: a DNS label", p.tier)
	}
	p.selector = selector.And(p.ownScope(r), selector.And(
		r.selector("spec.selector", p.spec.Selector),
		selector.And(r.ofNamespaces("spec.namespaceSelector", namespaces), r.ofAccounts("spec.serviceAccountSelector", p.spec.ServiceAccountSelector)),
	))
	if len(r.conditions) > 0 {
		for i := range r.conditions {
			r.conditions[i].Type = ConditionInvalid
		}
		return nil
	}
	if p.hostOnly {
		r.report("spec", ConditionNotEnforced, "doNotTrack and preDNAT are for host endpoints, on which policy is not enforced yet")
	}
	return p
}

// ownScope keeps a namespaced policy to its namespace.
func (p *policy) ownScope(*reader) *selector.Selector {
	if p.namespace == "" {
		return selector.All()
	}
	return selector.Equals(selector.LabelNamespace, p.namespace)
}

func (p *policy) readTypes(r *reader) {
	for _, t := range p.spec.EffectiveTypes() {
		switch t {
		case v3.PolicyTypeIngress:
			p.ingress = true
		case v3.PolicyTypeEgress:
			p.egress = true
		default:
			r.report("spec.types", ConditionInvalid, "%q is not a direction; valid: Ingress, Egress", t)
		}
	}
}

func (p *policy) id() dataplane.PolicyID { return policyID(p.key) }

func policyID(k v3.Key) dataplane.PolicyID {
	return dataplane.PolicyID{Kind: string(k.Kind), Namespace: k.Namespace, Name: k.Name}
}

// selects tells whether the policy is for a workload.
func (p *policy) selects(w *peer) bool { return !p.hostOnly && p.selector.Evaluate(w) }

func orderOf(order *float64) float64 {
	if order == nil {
		return math.Inf(1)
	}
	return *order
}

// comparePolicies is the order within a tier: what has no order is last; ties go by name, then namespace, then kind.
func comparePolicies(a, b *policy) int {
	return cmp.Or(
		cmp.Compare(a.order, b.order), strings.Compare(a.key.Name, b.key.Name),
		strings.Compare(a.key.Namespace, b.key.Namespace), strings.Compare(string(a.key.Kind), string(b.key.Kind)),
	)
}

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
	return Condition{Object: p.key, Field: "spec.tier", Type: ConditionTierMissing,
		Message: "there is no Tier " + p.tier + ": the policy is enforced after all other tiers, and what it does not decide is denied"}
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
	for _, p := range policies {
		if len(tiers) == 0 || tiers[len(tiers)-1].Name != p.tier {
			tiers = append(tiers, dataplane.EndpointTier{Name: p.tier, Default: tierOf(p.tier).last})
		}
		t := &tiers[len(tiers)-1]
		if p.ingress {
			t.Ingress = append(t.Ingress, p.id())
		}
		if p.egress {
			t.Egress = append(t.Egress, p.id())
		}
	}
	return tiers
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
	return p.object != nil && len(p.object.Spec.Ingress)+len(p.object.Spec.Egress) > 0
}

func (p *profile) id() dataplane.PolicyID {
	return dataplane.PolicyID{Kind: string(v3.KindProfile), Name: p.name}
}

// selector reads a selector; "" matches everything.
func (r *reader) selector(field, text string) *selector.Selector {
	s, err := selector.Parse(text)
	if err != nil {
		r.report(field, ConditionPartiallyInvalid, "%v", err)
		return selector.All()
	}
	return s
}

// ofNamespaces reads a selector over the labels of namespaces; "" asks nothing of the namespace.
func (r *reader) ofNamespaces(field, text string) *selector.Selector {
	if text == "" {
		return selector.All()
	}
	return r.selector(field, text).ForNamespaces()
}

// ofAccounts reads a selector over the labels of service accounts; "" asks nothing of the account.
func (r *reader) ofAccounts(field, text string) *selector.Selector {
	if text == "" {
		return selector.All()
	}
	return selector.And(selector.Has(selector.LabelServiceAccount), r.selector(field, text).ForServiceAccounts())
}
