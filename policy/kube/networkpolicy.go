package kube

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/policy/selector"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// NetworkPolicyOrder is the order of every Kubernetes NetworkPolicy within the tier "default".
const NetworkPolicyOrder = 1000.0

// unreadableSelector is no selector: a policy that has it is reported, and counts as absent, wherever it is resolved.
const unreadableSelector = `unreadable "spec.podSelector"`

// NetworkPolicy is the same policy of the tier "default", as kind KubernetesNetworkPolicy, under the name as written. Its rules
// can only allow; what can't be converted (a peer, a port) is left out and reported, and the rest stays. A rule all of whose peers
// or ports were left out is left out, as it would else allow any. Where spec.podSelector can't be read, the policy has a selector
// that can't be read either.
func NetworkPolicy(np *networkingv1.NetworkPolicy) (*v3.NetworkPolicy, []v3.FieldError) {
	return convertPolicy(np, nil)
}

// convertPolicy converts what is readable; unreadable are other parts, with what is wrong with them, see DecodeNetworkPolicy.
func convertPolicy(np *networkingv1.NetworkPolicy, unreadable map[string]string) (*v3.NetworkPolicy, []v3.FieldError) {
	c := converter{
		object:     v3.Key{Kind: v3.KindKubernetesNetworkPolicy, Namespace: np.Namespace, Name: np.Name}.String(),
		unreadable: unreadable,
	}
	order := NetworkPolicyOrder
	out := &v3.NetworkPolicy{
		TypeMeta:   typeMeta(v3.KindKubernetesNetworkPolicy),
		ObjectMeta: objectMeta(&np.ObjectMeta, np.Namespace, np.Name),
		Spec: v3.NetworkPolicySpec{PolicySpec: v3.PolicySpec{
			Tier:     v3.DefaultTier,
			Order:    &order,
			Selector: unreadableSelector,
			Types:    c.types(&np.Spec),
		}},
	}
	out.Labels = np.Labels
	if pods, ok := c.scope(&np.Spec.PodSelector); ok {
		out.Spec.Selector = selector.And(ofPods, pods).String()
	}
	if slices.Contains(out.Spec.Types, v3.PolicyTypeIngress) {
		out.Spec.Ingress = c.ingress(np.Spec.Ingress)
	}
	if slices.Contains(out.Spec.Types, v3.PolicyTypeEgress) {
		out.Spec.Egress = c.egress(np.Spec.Egress)
	}
	return out, c.errors
}

// converter collects what it could not convert.
type converter struct {
	object     string
	unreadable map[string]string // by field
	errors     []v3.FieldError
}

// scope is spec.podSelector; false where it, or spec.policyTypes, can't be read: then the policy counts as absent.
func (c *converter) scope(pods *metav1.LabelSelector) (*selector.Selector, bool) {
	sel, err := labelSelector(pods)
	problems := map[string]string{"spec.podSelector": c.unreadable["spec.podSelector"], "spec.policyTypes": c.unreadable["spec.policyTypes"]}
	if err != nil {
		problems["spec.podSelector"] = err.Error()
	}
	readable := true
	for _, field := range []string{"spec.podSelector", "spec.policyTypes"} {
		if problems[field] != "" {
			readable = false
			c.errors = append(c.errors, v3.FieldError{
				Object: c.object, Field: field, Problem: problems[field], Valid: "what this version reads; until then the policy counts as absent",
			})
		}
	}
	return sel, readable
}

// left tells whether a rule is unreadable, and reports it.
func (c *converter) left(field string) bool {
	problem, ok := c.unreadable[field]
	if ok {
		c.report(field, problem, "a rule that this version knows; it is left out")
	}
	return ok
}

// report says that an element of a list was left out.
func (c *converter) report(field, problem, valid string) {
	c.errors = append(c.errors, v3.FieldError{Object: c.object, Field: field, Problem: problem, Valid: valid, Element: true})
}

// types are the directions that the policy isolates. The default is the API server's: Ingress, and Egress where there are egress
// rules.
func (c *converter) types(spec *networkingv1.NetworkPolicySpec) []v3.PolicyType {
	var types []v3.PolicyType
	for i, t := range spec.PolicyTypes {
		switch t {
		case networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress:
			types = append(types, v3.PolicyType(t))
		default:
			c.report(fmt.Sprintf("spec.policyTypes[%d]", i), fmt.Sprintf("unknown type %q", t), "Ingress or Egress")
		}
	}
	if len(types) > 0 {
		slices.Sort(types)
		slices.Reverse(types) // Ingress first
		return slices.Compact(types)
	}
	types = []v3.PolicyType{v3.PolicyTypeIngress}
	if len(spec.Egress) > 0 {
		types = append(types, v3.PolicyTypeEgress)
	}
	return types
}

func (c *converter) ingress(rules []networkingv1.NetworkPolicyIngressRule) []v3.Rule {
	var out []v3.Rule
	for i := range rules {
		field := fmt.Sprintf("spec.ingress[%d]", i)
		if c.left(field) {
			continue
		}
		peers, ports := c.peers(field+".from", rules[i].From), c.ports(field+".ports", rules[i].Ports)
		for _, peer := range peers {
			for _, port := range ports {
				out = append(out, v3.Rule{Action: v3.Allow, Protocol: port.protocol, Source: peer, Destination: v3.EntityRule{Ports: port.ports}, Written: i + 1})
			}
		}
	}
	return out
}

func (c *converter) egress(rules []networkingv1.NetworkPolicyEgressRule) []v3.Rule {
	var out []v3.Rule
	for i := range rules {
		field := fmt.Sprintf("spec.egress[%d]", i)
		if c.left(field) {
			continue
		}
		peers, ports := c.peers(field+".to", rules[i].To), c.ports(field+".ports", rules[i].Ports)
		for _, peer := range peers {
			for _, port := range ports {
				peer.Ports = port.ports
				out = append(out, v3.Rule{Action: v3.Allow, Protocol: port.protocol, Destination: peer, Written: i + 1})
			}
		}
	}
	return out
}

// peers is one empty match for no peers at all (anybody), and else what each readable one means.
func (c *converter) peers(field string, peers []networkingv1.NetworkPolicyPeer) []v3.EntityRule {
	if len(peers) == 0 {
		return []v3.EntityRule{{}}
	}
	var out []v3.EntityRule
	for i := range peers {
		if e, ok := c.peer(fmt.Sprintf("%s[%d]", field, i), &peers[i]); ok {
			out = append(out, e)
		}
	}
	return out
}

func (c *converter) peer(field string, p *networkingv1.NetworkPolicyPeer) (v3.EntityRule, bool) {
	switch {
	case p.IPBlock != nil && (p.PodSelector != nil || p.NamespaceSelector != nil):
		c.report(field, "ipBlock stands beside a selector", "ipBlock alone, or podSelector, namespaceSelector or both")
		return v3.EntityRule{}, false
	case p.IPBlock != nil:
		return c.block(field+".ipBlock", p.IPBlock)
	case p.PodSelector == nil && p.NamespaceSelector == nil:
		c.report(field, "the peer is empty", "one of ipBlock, podSelector, namespaceSelector")
		return v3.EntityRule{}, false
	}
	return c.selected(field, p)
}

// selected are pods; without a namespace selector those of the policy's own namespace, as in every rule of a namespaced policy.
func (c *converter) selected(field string, p *networkingv1.NetworkPolicyPeer) (v3.EntityRule, bool) {
	var out v3.EntityRule
	pods := ofPods
	if p.PodSelector != nil {
		own, err := labelSelector(p.PodSelector)
		if err != nil {
			c.report(field+".podSelector", err.Error(), "a label selector")
			return out, false
		}
		pods = selector.And(ofPods, own)
	}
	out.Selector = pods.String()
	if p.NamespaceSelector != nil {
		namespaces, err := labelSelector(p.NamespaceSelector)
		if err != nil {
			c.report(field+".namespaceSelector", err.Error(), "a label selector")
			return out, false
		}
		out.NamespaceSelector = namespaces.String()
	}
	return out, true
}

// block is a range of addresses with exceptions. One exception that can't be read makes it unreadable: without that exception it
// would allow more than was meant.
func (c *converter) block(field string, b *networkingv1.IPBlock) (v3.EntityRule, bool) {
	cidr, ok := parsePrefix(b.CIDR)
	if !ok {
		c.report(field+".cidr", fmt.Sprintf("can't read %q", b.CIDR), "a CIDR, such as 10.0.0.0/8")
		return v3.EntityRule{}, false
	}
	out := v3.EntityRule{Nets: []string{cidr.String()}}
	for i, text := range b.Except {
		except, ok := parsePrefix(text)
		if !ok || except.Bits() <= cidr.Bits() || !cidr.Contains(except.Addr()) {
			c.report(fmt.Sprintf("%s.except[%d]", field, i), fmt.Sprintf("can't except %q", text), "a CIDR that is a part of "+cidr.String())
			return v3.EntityRule{}, false
		}
		out.NotNets = append(out.NotNets, except.String())
	}
	return out, true
}

// parsePrefix masks what it reads. IPv4 in IPv6 form is IPv4.
func parsePrefix(text string) (netip.Prefix, bool) {
	p, err := netip.ParsePrefix(strings.TrimSpace(text))
	if err != nil {
		return p, false
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return p, false
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), true
}
