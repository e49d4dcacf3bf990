package dptest

import (
	"fmt"
	"slices"
	"testing"

	v3 "github.com/felid-net/felid/api/v3"
)

// idle are the rules that must not decide anything: a case says so of them.
var idle = map[string]string{
	"address-claimed-by-a-finished-pod: rule 0 of GlobalNetworkPolicy p":                             "of the pod that has finished",
	"address-claimed-in-egress: rule 1 of GlobalNetworkPolicy p":                                     "of the pod that does not own the address",
	"domains-in-log-and-beside-a-selector: rule 1 of NetworkPolicy a/p":                              "domains match nothing yet",
	"domains-of-a-set: rule 1 of NetworkPolicy a/p":                                                  "domains match nothing yet",
	"invalid-egress-rules: rule 3 of NetworkPolicy a/p":                                              "behind one that denies all",
	"invalid-icmp: rule 0 of NetworkPolicy a/p":                                                      "left out",
	"invalid-icmp: rule 1 of NetworkPolicy a/p":                                                      "left out",
	"invalid-ip-version: rule 0 of NetworkPolicy a/allow":                                            "left out",
	"invalid-protocol: rule 0 of NetworkPolicy a/allow":                                              "left out",
	"invalid-protocol: rule 1 of NetworkPolicy a/allow":                                              "left out",
	"invalid-scope-selectors: rule 0 of GlobalNetworkPolicy one":                                     "absent",
	"invalid-scope-selectors: rule 0 of GlobalNetworkPolicy two":                                     "absent",
	"invalid-selectors-of-a-rule: rule 0 of NetworkPolicy a/allow":                                   "left out",
	"invalid-selectors-of-a-rule: rule 1 of NetworkPolicy a/allow":                                   "left out",
	"invalid-selectors-of-a-rule: rule 2 of NetworkPolicy a/allow":                                   "left out",
	"invalid-selectors-of-a-rule: rule 1 of NetworkPolicy a/deny-w":                                  "behind one that denies all",
	"invalid-service-without-name: rule 0 of NetworkPolicy a/p":                                      "left out",
	"invalid-set-of-bad-elements: rule 0 of GlobalNetworkPolicy p":                                   "the set is empty",
	"invalid-set-of-bad-elements: rule 1 of GlobalNetworkPolicy p":                                   "left out",
	"invalid-types: rule 0 of NetworkPolicy a/broken":                                                "absent",
	"invalid-types: rule 0 of NetworkPolicy b/broken":                                                "absent",
	"address-claimed-twice-block-decides: rule 1 of GlobalNetworkPolicy p":                           "of the pod that does not own the address",
	"cnp-admin-over-network-policy: rule 0 of KubernetesNetworkPolicy a/welcome-evil":                "the administrator has denied it",
	"address-claimed-twice: rule 2 of GlobalNetworkPolicy p":                                         "of the pod that does not own the address",
	"domains-beside-nets: rule 0 of NetworkPolicy a/alone":                                           "domains match nothing yet",
	"domains-in-deny: rule 2 of NetworkPolicy a/p":                                                   "behind one that denies all",
	"invalid-all-elements: rule 0 of NetworkPolicy a/allow":                                          "left out",
	"invalid-all-elements: rule 1 of NetworkPolicy a/deny":                                           "behind one that denies all",
	"invalid-set-negated-in-allow: rule 0 of GlobalNetworkPolicy not-bad":                            "left out",
	"example-10-tiered-poorly-scoped: rule 0 of NetworkPolicy web-ns/application.well-scoped-policy": "comes after the poorly scoped one",
	"example-13-unused-policy: rule 0 of NetworkPolicy web-ns/application.my-unused-policy-1":        "unused",
	"example-13-unused-policy: rule 0 of NetworkPolicy web-ns/application.well-scoped-policy":        "unused too",
	"fields-domains-elsewhere: rule 1 of NetworkPolicy a/allow":                                      "domains match nothing yet",
	"fields-domains-elsewhere: rule 2 of NetworkPolicy b/deny":                                       "behind one that denies all",
	"fields-negated-in-egress: rule 0 of NetworkPolicy a/p":                                          "left out",
	"performance-hint: rule 0 of GlobalNetworkPolicy nobody":                                         "selects nobody",
	"host-do-not-track-comes-first: rule 0 of GlobalNetworkPolicy pre":                               "comes after untracked policy",
	"host-in-selectors: rule 0 of NetworkPolicy a/own":                                               "sees its own namespace alone",
	"host-in-selectors: rule 1 of NetworkPolicy a/own":                                               "a host is in no namespace",
	"host-shared-address: rule 2 of GlobalNetworkPolicy x":                                           "of the host that does not own the address",
	"host-unreadable-in-selectors: rule 0 of GlobalNetworkPolicy out":                                "names a port of one that can't be read",
	"host-two-for-one-interface: rule 0 of GlobalNetworkPolicy b":                                    "of the endpoint that does not count",
	"host-two-for-one-interface: rule 0 of GlobalNetworkPolicy d":                                    "of the endpoint that does not count",
	"http-rule-is-left-out: rule 0 of NetworkPolicy a/p":                                             "left out",
	"invalid-allow-rule: rule 0 of NetworkPolicy a/p":                                                "left out",
	"invalid-action: rule 2 of NetworkPolicy a/p":                                                    "behind one that denies all",
	"invalid-port-element: rule 0 of NetworkPolicy a/none":                                           "left out",
	"invalid-rule-value: rule 0 of NetworkPolicy a/allow":                                            "left out",
	"invalid-rule-value: rule 2 of NetworkPolicy a/deny":                                             "behind one that denies all",
	"invalid-deny-rule: rule 2 of NetworkPolicy a/deny":                                              "behind one that denies all",
	"invalid-deny-rule: rule 1 of NetworkPolicy a/pass":                                              "behind one that denies all",
	"invalid-element-negated-in-allow: rule 0 of NetworkPolicy a/allow":                              "left out",
	"invalid-policy-selector: rule 0 of NetworkPolicy a/broken":                                      "absent",
	"invalid-policy-selector: rule 0 of NetworkPolicy b/broken":                                      "absent",
	"invalid-unknown-field: rule 0 of NetworkPolicy a/p":                                             "left out",
	"k8s-beside-calico: rule 0 of NetworkPolicy a/after":                                             "comes after the Kubernetes policy",
	"k8s-in-front-of-tiers: rule 0 of GlobalNetworkPolicy late":                                      "comes after the default tier, which denies",
	"k8s-invalid-elements: rule 1 of KubernetesNetworkPolicy a/p":                                    "left out",
	"k8s-invalid-elements: rule 2 of KubernetesNetworkPolicy a/p":                                    "left out",
	"k8s-invalid-elements: rule 3 of KubernetesNetworkPolicy a/p":                                    "left out",
	"k8s-invalid-elements: rule 4 of KubernetesNetworkPolicy a/p":                                    "left out",
	"k8s-invalid-elements: rule 5 of KubernetesNetworkPolicy a/p":                                    "left out",
	"k8s-unknown-field: rule 1 of KubernetesNetworkPolicy a/p":                                       "left out",
	"k8s-unknown-field: rule 2 of KubernetesNetworkPolicy a/p":                                       "left out",
	"k8s-unknown-field: rule 3 of KubernetesNetworkPolicy a/p":                                       "left out",
	"k8s-unknown-field: rule 4 of KubernetesNetworkPolicy a/p":                                       "left out",
	"k8s-unknown-field: rule 6 of KubernetesNetworkPolicy a/p":                                       "left out",
	"k8s-unknown-field: rule 7 of KubernetesNetworkPolicy a/p":                                       "left out",
	"labels-inherited-from-namespace-and-account: rule 2 of GlobalNetworkPolicy p":                   "names what only a pod claims",
	"labels-of-the-system: rule 2 of GlobalNetworkPolicy p":                                          "nothing is of another orchestrator",
	"scope-of-own-namespace-only: rule 1 of NetworkPolicy a/p":                                       "sees its own namespace alone",
	"selector-forms: rule 0 of NetworkPolicy a/p":                                                    "an empty set matches nothing",
	"peer-network-sets: rule 0 of NetworkPolicy b/p":                                                 "sees no set of another namespace",
	"pre-dnat-and-untracked-spare-pods: rule 0 of GlobalNetworkPolicy pre":                           "not for pods",
	"pre-dnat-and-untracked-spare-pods: rule 0 of GlobalNetworkPolicy raw":                           "not for pods",
	"pre-dnat-and-untracked-spare-pods: rule 1 of GlobalNetworkPolicy raw":                           "not for pods",
	"rule-ip-version: rule 2 of NetworkPolicy a/p":                                                   "comes after the denial of IPv6",
	"service-that-is-not-there: rule 0 of NetworkPolicy a/p":                                         "the service is not there",
	"service-that-is-not-there: rule 1 of NetworkPolicy a/p":                                         "the service is not there",
	"service-that-is-not-there: rule 2 of NetworkPolicy a/p":                                         "the service has no endpoints",
	"set-holds-the-address-of-a-pod: rule 2 of GlobalNetworkPolicy p":                                "nothing wears both labels",
	"set-own-labels-win: rule 3 of GlobalNetworkPolicy p":                                            "the set does not wear the namespace's label",
	"set-without-nets: rule 0 of GlobalNetworkPolicy p":                                              "the set is empty",
	"types-explicit: rule 1 of NetworkPolicy in/p":                                                   "not of its types",
	"types-explicit: rule 0 of NetworkPolicy out/p":                                                  "not of its types",
	"tier-tie-by-name: rule 0 of GlobalNetworkPolicy a-in-beta":                                      "comes after the tier of the first name",
}

// TestCasesBite: without any one rule some flow of its case would get another verdict or another decider, so that a renderer
// that loses the rule is found.
func TestCasesBite(t *testing.T) {
	for _, c := range Cases(t) {
		before := answersOf(c, c.Objects)
		for i, o := range c.Objects {
			for n, rule := range rulesOf(o) {
				name := fmt.Sprintf("%s: rule %d of %s", c.Name, n, v3.KeyOf(o))
				objects := slices.Clone(c.Objects)
				objects[i] = o.Copy()
				rulesOf(objects[i])[n].Action = v3.Log // which decides nothing
				decides := answersOf(c, objects) != before
				if decides == (idle[name] != "") && rule.Action != v3.Log {
					t.Errorf("%s: decides a flow: %v", name, decides)
				}
			}
		}
	}
}

// rulesOf are the rules of a policy; profiles are not what cases are about.
func rulesOf(o v3.Object) []*v3.Rule {
	var spec *v3.PolicySpec
	switch o := o.(type) {
	case *v3.NetworkPolicy:
		spec = &o.Spec.PolicySpec
	case *v3.GlobalNetworkPolicy:
		if o.GetKind() == v3.KindClusterNetworkPolicy {
			return nil // see TestClusterRulesBite
		}
		spec = &o.Spec.PolicySpec
	default:
		return nil
	}
	var rules []*v3.Rule
	for i := range spec.Ingress {
		rules = append(rules, &spec.Ingress[i])
	}
	for i := range spec.Egress {
		rules = append(rules, &spec.Egress[i])
	}
	return rules
}

func answersOf(c *Case, objects []v3.Object) string {
	text, judge := "", judgeOf(objects, c.Options)
	for _, f := range c.Flows {
		v := judge(f)
		text += fmt.Sprintf("%s %d %s\n", v.Action, v.Answer, v.sides())
	}
	return text
}
