package cli

import (
	"fmt"
	"slices"
	"strings"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/flatten"
	"github.com/felid-net/felid/policy/selector"
)

// poorScopes finds rules that sort the policy's own endpoints out: the source of an egress rule, and the destination of an ingress
// rule, is always an endpoint that the policy selects.
func poorScopes(c *cluster) []finding {
	var out []finding
	for _, o := range c.policies() {
		if g, ok := o.(*v3.GlobalNetworkPolicy); ok && (g.Spec.ApplyOnForward || g.Spec.PreDNAT || g.Spec.DoNotTrack) {
			continue // what a host forwards has ends that are not its own
		}
		spec := policySpec(o)
		for _, own := range ownSides(spec) {
			narrow, rest, ok := narrowed(spec.Selector, own.entity)
			if !ok {
				continue
			}
			f := finding{
				key: v3.KeyOf(o), Field: own.field,
				Message: fmt.Sprintf("%s only narrows the policy's own selector: endpoints that it does not match carry a rule that never matches, and the end of tier %s is theirs all the same",
					entityText(own.entity), tierOf(o)),
				Proposal: fmt.Sprintf("select with the policy what the rule is for, and leave this out of the rule:\nspec:\n  selector: %s\nwhat else the policy selects is then released from the end of the tier", narrow),
			}
			if ours(o) {
				c.scopeFixes(&f, o, entityText(own.entity), narrow.String(), rest.String())
			}
			out = append(out, f)
		}
	}
	return out
}

// scopeFixes adds what can be written instead: two policies that keep every verdict, where that is proven, and the narrow one alone, with
// what it opens.
func (c *cluster) scopeFixes(f *finding, o v3.Object, text, narrow, rest string) {
	scoped, remainder := scopedTo(o, text, narrow), remainderOf(o, text, rest)
	with := slices.Clone(c.objects)
	with[slices.Index(with, o)] = scoped
	alone, _ := resolve(with)
	both, _ := resolve(append(with, remainder))
	effect := newDiffAnswer(flatten.Diff(c.state, alone))
	if !newDiffAnswer(flatten.Diff(c.state, both)).differs() {
		f.Fixes = append(f.Fixes, fix{Title: "keeps every verdict: what the rule is not for has a policy of its own", Keeps: true, objects: []v3.Object{scoped, remainder}})
	}
	other := fix{Title: "the narrower policy alone", objects: []v3.Object{scoped}, Effect: effect}
	if len(c.state.Endpoints) == 0 {
		other.Title, other.Effect = other.Title+"; without endpoints it can't be said what it opens", nil
	}
	f.Fixes = append(f.Fixes, other)
	id := dataplane.PolicyID{Kind: string(o.GetKind()), Namespace: o.GetNamespace(), Name: o.GetName()}
	var released []string
	for _, e := range sortedEndpoints(c.state) {
		if usesPolicy(e, id) && !usesPolicy(alone.Endpoints[e.ID], id) {
			released = append(released, string(e.ID))
		}
	}
	if len(released) > 0 {
		f.Message += fmt.Sprintf("; a narrower scope would release %s from it", strings.Join(released, ", "))
	}
}

func usesPolicy(e *dataplane.Endpoint, id dataplane.PolicyID) bool {
	return slices.ContainsFunc(slices.Concat(tierLists(e)...), func(t dataplane.EndpointTier) bool {
		return slices.Contains(t.Ingress, id) || slices.Contains(t.Egress, id)
	})
}

// scopedTo is the policy for the narrower selector, in which the rules need not ask for it.
func scopedTo(o v3.Object, text, narrow string) v3.Object {
	o = o.Copy()
	spec := policySpec(o)
	spec.Types = slices.Clone(spec.EffectiveTypes())
	spec.Selector = narrow
	for _, own := range ownSides(spec) {
		if entityText(own.entity) == text {
			own.entity.Selector, own.entity.NamespaceSelector, own.entity.ServiceAccounts = "", "", nil
		}
	}
	return o
}

// remainderOf is the policy for what it selects besides, without the rules that are not for that.
func remainderOf(o v3.Object, text, rest string) v3.Object {
	o = o.Copy()
	spec := policySpec(o)
	spec.Types = slices.Clone(spec.EffectiveTypes())
	spec.Selector = rest
	spec.Ingress = slices.DeleteFunc(spec.Ingress, func(r v3.Rule) bool { return entityText(&r.Destination) == text })
	spec.Egress = slices.DeleteFunc(spec.Egress, func(r v3.Rule) bool { return entityText(&r.Source) == text })
	o.SetName(o.GetName() + "-rest")
	return o
}

// ownSides are the sides of rules that are always the policy's own endpoints.
func ownSides(spec *v3.PolicySpec) []ruleSide {
	var out []ruleSide
	for i := range spec.Ingress {
		out = append(out, ruleSide{fmt.Sprintf("spec.ingress[%d].destination", i), &spec.Ingress[i].Destination})
	}
	for i := range spec.Egress {
		out = append(out, ruleSide{fmt.Sprintf("spec.egress[%d].source", i), &spec.Egress[i].Source})
	}
	return out
}

// narrowed are the selectors of what the policy and its rule select both, and of what the policy alone does; false where the rule's is no
// narrower.
func narrowed(own string, e *v3.EntityRule) (both, rest *selector.Selector, ok bool) {
	if e.Selector == "" && e.NamespaceSelector == "" && e.ServiceAccounts == nil {
		return nil, nil, false
	}
	policy, err := selector.Parse(own)
	if err != nil {
		return nil, nil, false
	}
	rule, err := entitySelector(e)
	if err != nil {
		return nil, nil, false
	}
	both = selector.And(policy, rule)
	if both.String() == policy.String() {
		return nil, nil, false
	}
	return both, selector.And(policy, selector.Not(rule)), true
}

// entitySelector is what one side of a rule selects, as one selector over the labels of endpoints.
func entitySelector(e *v3.EntityRule) (*selector.Selector, error) {
	sel, err := selector.Parse(e.Selector)
	if err == nil && e.NamespaceSelector != "" {
		var namespaces *selector.Selector
		if namespaces, err = selector.Parse(e.NamespaceSelector); err == nil {
			sel = selector.And(sel, namespaces.ForNamespaces())
		}
	}
	accounts := e.ServiceAccounts
	if err != nil || accounts == nil {
		return sel, err
	}
	sel = selector.And(sel, selector.Has(selector.LabelServiceAccount))
	if len(accounts.Names) > 0 {
		sel = selector.And(sel, selector.In(selector.LabelServiceAccount, accounts.Names))
	}
	if accounts.Selector != "" {
		var labels *selector.Selector
		if labels, err = selector.Parse(accounts.Selector); err == nil {
			sel = selector.And(sel, labels.ForServiceAccounts())
		}
	}
	return sel, err
}

// entityText are the selectors of one side, as they are written.
func entityText(e *v3.EntityRule) string {
	var texts []string
	if e.Selector != "" {
		texts = append(texts, "selector "+e.Selector)
	}
	if e.NamespaceSelector != "" {
		texts = append(texts, "namespaceSelector "+e.NamespaceSelector)
	}
	if e.ServiceAccounts != nil {
		texts = append(texts, "serviceAccounts")
	}
	return strings.Join(texts, ", ")
}
