package cli

import (
	"fmt"
	"strings"

	v3 "github.com/felid-net/felid/api/v3"
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
			narrow, ok := narrowed(spec.Selector, own.entity)
			if !ok {
				continue
			}
			out = append(out, finding{
				key: v3.KeyOf(o), Field: own.field,
				Message: fmt.Sprintf("%s only narrows the policy's own selector: endpoints that it does not match carry a rule that never matches, and the end of tier %s is theirs all the same",
					entityText(own.entity), tierOf(o)),
				Proposal: fmt.Sprintf("select with the policy what the rule is for, and leave this out of the rule:\nspec:\n  selector: %s\nwhat else the policy selects is released from the end of the tier",
					narrow),
			})
		}
	}
	return out
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

// narrowed is the selector of what both the policy and its rule select; false where that is all that the policy selects.
func narrowed(own string, e *v3.EntityRule) (*selector.Selector, bool) {
	if e.Selector == "" && e.NamespaceSelector == "" && e.ServiceAccounts == nil {
		return nil, false
	}
	policy, err := selector.Parse(own)
	if err != nil {
		return nil, false
	}
	rule, err := selector.Parse(e.Selector)
	if err != nil {
		return nil, false
	}
	both := selector.And(policy, rule)
	if e.NamespaceSelector == "" && e.ServiceAccounts == nil && both.String() == policy.String() {
		return nil, false
	}
	return both, true
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
