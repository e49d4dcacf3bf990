package agent

import (
	"context"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/felid-net/felid/api/v1alpha1"
	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/policy"
)

// PolicyKinds are the kinds of policy that are enforced.
var PolicyKinds = []v3.Kind{v3.KindNetworkPolicy, v3.KindGlobalNetworkPolicy, v3.KindKubernetesNetworkPolicy, v3.KindClusterNetworkPolicy}

// PolicyReports say what becomes of policies on this node: of those of a name, "NAME" or "NS/NAME", of whatever kind, with all endpoints that
// they select counted; or, where the name is "", of all that matter here, without that count.
func (a *Agent) PolicyReports(ctx context.Context, name string) ([]v1alpha1.PolicyReport, error) {
	reports := []v1alpha1.PolicyReport{}
	err := a.do(ctx, func(l *loop) {
		backend := ""
		if o, ok := l.o.Dataplane.(Observer); ok {
			backend, _ = o.Backend()
		}
		for _, s := range l.policyStatuses(name) {
			r := NewPolicyReport(s, l.o.Host.Node, backend, l.unsupported)
			if name == "" {
				r.Selected = nil
			}
			reports = append(reports, r)
		}
	})
	return reports, err
}

func (l *loop) policyStatuses(name string) []policy.Status {
	if name == "" {
		return l.resolver.LocalStatuses()
	}
	namespace, bare, ok := strings.Cut(name, "/")
	if !ok {
		namespace, bare = "", name
	}
	var all []policy.Status
	for _, kind := range PolicyKinds {
		if s, ok := l.resolver.Status(v3.Key{Kind: kind, Namespace: namespace, Name: bare}); ok {
			all = append(all, s)
		}
	}
	return all
}

// NewPolicyReport is a report of what the core says of a policy, and what a dataplane can't express of it; unsupported may name other policies
// too. A node of "" stands for all of them.
func NewPolicyReport(s policy.Status, node dataplane.NodeName, backend string, unsupported []dataplane.Unsupported) v1alpha1.PolicyReport {
	r := v1alpha1.PolicyReport{
		TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.APIVersion, Kind: v1alpha1.KindPolicyReport},
		Policy:   v1alpha1.PolicyReference{Kind: string(s.Policy.Kind), Namespace: s.Policy.Namespace, Name: s.Policy.Name},
		Node:     string(node), Tier: s.Tier, Selected: &s.Selected, Local: s.Local,
	}
	for _, c := range s.Conditions {
		finding := v1alpha1.Finding{Type: c.Type, Field: c.Field, Message: c.Message}
		direction, rule, ofRule := ruleOf(c.Field)
		switch {
		case c.Type == policy.ConditionUnsupported && ofRule:
			r.NotExpressed = append(r.NotExpressed, v1alpha1.NotExpressed{Direction: direction, Rule: rule, Reason: c.Message})
		case c.Type == policy.ConditionPartiallyInvalid:
			r.LeftOut = append(r.LeftOut, finding)
		default:
			r.Conditions = append(r.Conditions, finding)
		}
	}
	for _, u := range unsupported {
		if u.Policy.Kind == r.Policy.Kind && u.Policy.Namespace == r.Policy.Namespace && u.Policy.Name == r.Policy.Name {
			r.NotExpressed = append(r.NotExpressed, v1alpha1.NotExpressed{Direction: u.Direction.String(), Rule: u.Rule, Dataplane: backend, Reason: u.Reason})
		}
	}
	return r
}

// ruleOf reads "spec.ingress[0]" and what is in it.
func ruleOf(field string) (direction string, rule int, ok bool) {
	for _, direction := range []string{"ingress", "egress"} {
		if n, err := fmt.Sscanf(field, "spec."+direction+"[%d]", &rule); n == 1 && err == nil {
			return direction, rule, true
		}
	}
	return "", 0, false
}
