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
	namespace string // that its rules' selectors mean where they name none; "" for a global policy
	selector  *selector.Selector
	tier      string
	order     float64
	ingress   bool
	egress    bool
	// in and out are the rules. Nothing else is kept of the stored object, whose metadata may be large.
	in, out []v3.Rule
	// everywhere: its rules and sets are to be at hand on every node, before any endpoint there is selected.
	everywhere bool
	// stage at which it is asked; any but "" is of host endpoints alone.
	stage string
	// forward: at host endpoints it is asked about what they forward, too.
	forward bool
}

// newPolicy is nil for what is no policy, and for a policy whose selectors, tier or types can't be read: it counts as absent.
func newPolicy(o v3.Object, r *reader) *policy {
	p := &policy{key: r.key}
	var spec *v3.PolicySpec
	var namespaces string
	switch o := o.(type) {
	case *v3.NetworkPolicy:
		spec, p.namespace = &o.Spec.PolicySpec, o.Namespace
	case *v3.GlobalNetworkPolicy:
		spec, namespaces = &o.Spec.PolicySpec, o.Spec.NamespaceSelector
		p.stage, p.forward = stageOf(&o.Spec), o.Spec.ApplyOnForward
	default:
		return nil
	}
	p.tier, p.order = cmp.Or(spec.Tier, v3.DefaultTier), orderOf(spec.Order)
	p.in, p.out = exact(spec.Ingress), exact(spec.Egress)
	p.everywhere = slices.Contains(spec.PerformanceHints, v3.AssumeNeededOnEveryNode)
	p.readTypes(spec, r)
	if strings.ContainsAny(p.tier, " ./") {
		r.report("spec.tier", ConditionInvalid, "%q is not the name of a tier; valid: a DNS label", p.tier)
	}
	p.selector = selector.And(p.ownNamespace(), selector.And(
		r.selector("spec.selector", spec.Selector),
		selector.And(r.ofNamespaces("spec.namespaceSelector", namespaces), r.ofAccounts("spec.serviceAccountSelector", spec.ServiceAccountSelector)),
	))
	if len(r.conditions) > 0 {
		for i := range r.conditions {
			r.conditions[i].Type = ConditionInvalid
		}
		return nil
	}
	p.readStage(o, r)
	return p
}

// stageOf is where a policy is asked. The API has doNotTrack and preDNAT stand alone, and beside applyOnForward; where they don't, the earlier of both
// counts, and it counts whether or not applyOnForward is there: neither can tell what is forwarded.
func stageOf(s *v3.GlobalNetworkPolicySpec) string {
	switch {
	case s.DoNotTrack:
		return StageUntracked
	case s.PreDNAT:
		return StagePreDNAT
	}
	return ""
}

// readStage says what of the policy its stage has no room for.
func (p *policy) readStage(o v3.Object, r *reader) {
	if g, ok := o.(*v3.GlobalNetworkPolicy); ok && g.Spec.DoNotTrack && g.Spec.PreDNAT {
		r.report("spec.preDNAT", ConditionPartiallyInvalid, "left out: can't go with doNotTrack, which comes before it")
	}
	if p.stage == StagePreDNAT && p.egress {
		p.egress = false
		r.report("spec.egress", ConditionPartiallyInvalid, "left out: preDNAT is for ingress alone")
	}
}

// exact is rules without room for more: of many policies nothing is needed here but them.
func exact(rules []v3.Rule) []v3.Rule {
	if len(rules) == cap(rules) {
		return rules
	}
	return slices.Clip(slices.Clone(rules))
}

// ownNamespace keeps a namespaced policy to its namespace.
func (p *policy) ownNamespace() *selector.Selector {
	if p.namespace == "" {
		return selector.All()
	}
	return selector.Equals(selector.LabelNamespace, p.namespace)
}

func (p *policy) readTypes(spec *v3.PolicySpec, r *reader) {
	for _, t := range spec.EffectiveTypes() {
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

// selects tells whether the policy is for a local endpoint.
func (p *policy) selects(e *peer) bool { return p.mayBeFor(e) && p.selector.Evaluate(e) }

// mayBeFor tells whether the policy is for endpoints of this sort, whatever its selector says. Where a host endpoint can't be read no policy is asked.
func (p *policy) mayBeFor(e *peer) bool {
	host := e.endpoint.Host
	if host == nil {
		return p.stage == ""
	}
	return host.Fault == "" && p.namespace == "" && (p.ingress || p.egress)
}

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
