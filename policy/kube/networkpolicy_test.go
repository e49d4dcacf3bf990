package kube

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/yaml"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/policy/selector"
)

var (
	tcp = &v3.Protocol{Name: "TCP"}
	udp = &v3.Protocol{Name: "UDP"}
)

func numbers(pairs ...uint16) []v3.Port {
	var out []v3.Port
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, v3.Port{Min: pairs[i], Max: pairs[i+1]})
	}
	return out
}

func TestNetworkPolicyRules(t *testing.T) {
	pods := v3.EntityRule{Selector: `projectcalico.org/orchestrator == "k8s"`}
	to := func(ports ...v3.Port) v3.EntityRule { return v3.EntityRule{Ports: ports} }
	allow := func(p *v3.Protocol, src, dst v3.EntityRule) v3.Rule {
		return v3.Rule{Action: v3.Allow, Protocol: p, Source: src, Destination: dst}
	}
	both := []v3.PolicyType{v3.PolicyTypeIngress, v3.PolicyTypeEgress}
	cases := []struct {
		name, spec      string
		types           []v3.PolicyType
		ingress, egress []v3.Rule
		errors          []string // the field, then a part of the text
	}{
		{name: "isolate", spec: `{podSelector: {}}`, types: both[:1]},
		{name: "types by default", spec: `{podSelector: {}, egress: [{}]}`, types: both, egress: []v3.Rule{{Action: v3.Allow}}},
		{name: "egress alone ignores ingress rules", spec: `{podSelector: {}, policyTypes: [Egress], ingress: [{}]}`, types: both[1:]},
		{name: "ingress alone ignores egress rules", spec: `{podSelector: {}, policyTypes: [Ingress], egress: [{}]}`, types: both[:1]},
		{name: "both, in any order", spec: `{podSelector: {}, policyTypes: [Egress, Ingress, Egress]}`, types: both},
		{name: "empty from and ports", spec: `{podSelector: {}, ingress: [{from: [], ports: []}]}`, types: both[:1], ingress: []v3.Rule{{Action: v3.Allow}}},
		{
			name: "peers by protocols",
			spec: `{podSelector: {}, ingress: [{from: [{podSelector: {}}, {podSelector: {matchLabels: {a: "1"}}, namespaceSelector: {}}],
			  ports: [{port: 80}, {protocol: UDP, port: 53}]}]}`,
			types: both[:1],
			ingress: []v3.Rule{
				allow(tcp, pods, to(numbers(80, 80)...)),
				allow(udp, pods, to(numbers(53, 53)...)),
				allow(tcp, v3.EntityRule{Selector: `a == "1" && ` + pods.Selector, NamespaceSelector: "all()"}, to(numbers(80, 80)...)),
				allow(udp, v3.EntityRule{Selector: `a == "1" && ` + pods.Selector, NamespaceSelector: "all()"}, to(numbers(53, 53)...)),
			},
		},
		{
			name: "expressions",
			spec: `{podSelector: {}, egress: [{to: [{namespaceSelector: {matchLabels: {team: red}, matchExpressions: [
			  {key: env, operator: In, values: [b, a]}, {key: x, operator: NotIn, values: [w]},
			  {key: k/v, operator: Exists}, {key: z, operator: DoesNotExist}]}}]}], policyTypes: [Egress]}`,
			types: both[1:],
			egress: []v3.Rule{{Action: v3.Allow, Destination: v3.EntityRule{
				Selector:          pods.Selector,
				NamespaceSelector: `!has(z) && env in {"a", "b"} && has(k/v) && team == "red" && x != "w"`,
			}}},
		},
		{
			name: "ports",
			spec: `{podSelector: {}, ingress: [{ports: [{port: 443}, {port: 8000, endPort: 8080}, {port: 80}, {port: http}, {port: 81, endPort: 90}, {port: 445},
			  {port: 8081}, {port: 80, endPort: 80}, {port: http}, {port: 65535}, {port: dns, protocol: UDP}, {protocol: SCTP}, {protocol: SCTP, port: 7}]}]}`,
			types: both[:1],
			ingress: []v3.Rule{
				allow(tcp, v3.EntityRule{}, to(append(numbers(80, 90, 443, 443, 445, 445, 8000, 8081, 65535, 65535), v3.Port{Name: "http"})...)),
				allow(udp, v3.EntityRule{}, to(v3.Port{Name: "dns"})),
				allow(&v3.Protocol{Name: "SCTP"}, v3.EntityRule{}, v3.EntityRule{}),
			},
		},
		{
			name:  "blocks",
			spec:  `{podSelector: {}, egress: [{to: [{ipBlock: {cidr: 10.1.2.3/8, except: [10.1.0.0/16, 10.2.0.1/32]}}, {ipBlock: {cidr: "fd00::/8"}}], ports: [{port: 1}]}]}`,
			types: both,
			egress: []v3.Rule{
				allow(tcp, v3.EntityRule{}, v3.EntityRule{Nets: []string{"10.0.0.0/8"}, NotNets: []string{"10.1.0.0/16", "10.2.0.1/32"}, Ports: numbers(1, 1)}),
				allow(tcp, v3.EntityRule{}, v3.EntityRule{Nets: []string{"fd00::/8"}, Ports: numbers(1, 1)}),
			},
		},
		{
			name: "what can't be read is left out, and never makes a rule wider",
			spec: `{podSelector: {}, policyTypes: [Ingress, Sideways], ingress: [
			  {from: [{ipBlock: {cidr: nonsense}}]},
			  {from: [{}]},
			  {from: [{ipBlock: {cidr: 10.0.0.0/8, except: [bad]}}, {ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/8]}}, {ipBlock: {cidr: 10.0.0.0/8, except: ["fd00::/16"]}}]},
			  {from: [{ipBlock: {cidr: 10.0.0.0/8}, podSelector: {}}]},
			  {from: [{podSelector: {matchExpressions: [{key: a, operator: Near}]}}, {namespaceSelector: {matchExpressions: [{key: a, operator: In}]}}, {podSelector: {}}]},
			  {from: [{podSelector: {matchLabels: {'a) || all(': x}}}]},
			  {ports: [{protocol: ICMP}]},
			  {ports: [{port: 0}, {port: 70000}, {port: 5, endPort: 4}, {port: 5, endPort: 65536}, {port: Bad_Name}, {port: http, endPort: 5}, {endPort: 5}, {port: 7}]}]}`,
			types:   both[:1],
			ingress: []v3.Rule{allow(nil, pods, v3.EntityRule{}), allow(tcp, v3.EntityRule{}, to(numbers(7, 7)...))},
			errors: []string{
				"spec.policyTypes[1]", "Sideways",
				"spec.ingress[0].from[0].ipBlock.cidr", "nonsense",
				"spec.ingress[1].from[0]", "empty",
				"spec.ingress[2].from[0].ipBlock.except[0]", "bad",
				"spec.ingress[2].from[1].ipBlock.except[0]", "10.0.0.0/8",
				"spec.ingress[2].from[2].ipBlock.except[0]", "fd00::/16",
				"spec.ingress[3].from[0]", "ipBlock",
				"spec.ingress[4].from[0].podSelector", "Near",
				"spec.ingress[4].from[1].namespaceSelector", "values",
				"spec.ingress[5].from[0].podSelector", "all(",
				"spec.ingress[6].ports[0].protocol", "ICMP",
				"spec.ingress[7].ports[0].port", "0",
				"spec.ingress[7].ports[1].port", "70000",
				"spec.ingress[7].ports[2].endPort", "4",
				"spec.ingress[7].ports[3].endPort", "65536",
				"spec.ingress[7].ports[4].port", "Bad_Name",
				"spec.ingress[7].ports[5].endPort", "name",
				"spec.ingress[7].ports[6].endPort", "no port",
			},
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			np := read[networkingv1.NetworkPolicy](t, "metadata: {name: p, namespace: shop}\nspec: "+c.spec)
			got, errs := NetworkPolicy(np)
			if diff := cmp.Diff(c.types, got.Spec.Types); diff != "" {
				t.Error("types", diff)
			}
			if diff := cmp.Diff(c.ingress, got.Spec.Ingress, besidesNumber); diff != "" {
				t.Error("ingress", diff)
			}
			if diff := cmp.Diff(c.egress, got.Spec.Egress, besidesNumber); diff != "" {
				t.Error("egress", diff)
			}
			compareErrors(t, errs, c.errors)
		})
	}
}

// besidesNumber leaves the numbers of rules to TestRulesAreNumberedAsWritten.
var besidesNumber = cmpopts.IgnoreFields(v3.Rule{}, "Written")

func TestRulesAreNumberedAsWritten(t *testing.T) {
	text, err := yaml.YAMLToJSON([]byte(`{metadata: {name: p}, spec: {
		ingress: [{from: [{podSelector: {}}, {ipBlock: {cidr: x}}, {ipBlock: {cidr: 10.0.0.0/8}}]}, {mood: 1}, {}],
		egress: [{ports: [{port: 1}, {port: 2, protocol: UDP}]}, {to: [{}]}, {}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	_, p, _, err := DecodeNetworkPolicy(text, "a")
	if err != nil {
		t.Fatal(err)
	}
	for direction, want := range map[string][]int{"ingress": {1, 1, 3, 1, 2}, "egress": {1, 1, 3, 2}} {
		rules, got := p.Spec.Ingress, []int{}
		if direction == "egress" {
			rules = p.Spec.Egress
		}
		for _, r := range rules {
			got = append(got, r.Written)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", direction, got, want)
		}
	}
}

func compareErrors(t *testing.T, got []v3.FieldError, want []string) {
	t.Helper()
	for i, e := range got {
		if 2*i+1 >= len(want) {
			t.Errorf("one error too many: %v", e)
			continue
		}
		if e.Element != (e.Field != "spec.podSelector") {
			t.Errorf("%v: Element is %v", e, e.Element)
		}
		if e.Object != "KubernetesNetworkPolicy shop/p" || e.Field != want[2*i] || !strings.Contains(e.Problem, want[2*i+1]) || e.Valid == "" {
			t.Errorf("%v, want %s: … %s …", e, want[2*i], want[2*i+1])
		}
	}
	if 2*len(got) < len(want) {
		t.Errorf("%d errors, want %d", len(got), len(want)/2)
	}
}

func TestNetworkPolicyExample(t *testing.T) {
	text, err := os.ReadFile("../../test/examples/03-k8s-network-policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got, errs := NetworkPolicy(read[networkingv1.NetworkPolicy](t, string(text)))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	order := 1000.0
	want := v3.PolicySpec{
		Tier: "default", Order: &order, Types: []v3.PolicyType{v3.PolicyTypeIngress},
		Selector: `projectcalico.org/orchestrator == "k8s" && role == "db"`,
		Ingress: []v3.Rule{{
			Action: v3.Allow, Protocol: tcp, Written: 1,
			Source:      v3.EntityRule{Selector: `projectcalico.org/orchestrator == "k8s" && role == "frontend"`},
			Destination: v3.EntityRule{Ports: numbers(6379, 6379)},
		}},
	}
	if diff := cmp.Diff(want, got.Spec.PolicySpec); diff != "" {
		t.Error(diff)
	}
	if key := v3.KeyOf(got); key != (v3.Key{Kind: v3.KindKubernetesNetworkPolicy, Namespace: "my-namespace", Name: "my-network-policy"}) {
		t.Errorf("key %v", key)
	}
}

func TestUnreadablePodSelectorIsNoSelector(t *testing.T) {
	np := read[networkingv1.NetworkPolicy](t, `
metadata: {name: p, namespace: shop}
spec: {podSelector: {matchExpressions: [{key: a, operator: Near, values: [x]}]}, ingress: [{}]}`)
	got, errs := NetworkPolicy(np)
	compareErrors(t, errs, []string{"spec.podSelector", "Near"})
	if s, err := selector.Parse(got.Spec.Selector); err == nil {
		t.Errorf("%q reads as %s: the policy would select what was not meant", got.Spec.Selector, s)
	}
}

func BenchmarkNetworkPolicy(b *testing.B) {
	np := read[networkingv1.NetworkPolicy](b, `
metadata: {name: p, namespace: shop}
spec: {podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {matchLabels: {app: lb}}}, {ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}],
  ports: [{port: 80}, {port: 443}, {port: 53, protocol: UDP}]}]}`)
	b.ReportAllocs()
	for b.Loop() {
		NetworkPolicy(np)
	}
}
