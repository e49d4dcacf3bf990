package kube

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	v3 "github.com/felid-net/felid/api/v3"
)

const clusterHead = "apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {name: p, labels: {a: b}}\nspec:\n  "

func decodeCluster(t *testing.T, spec string, strict bool) (*v3.GlobalNetworkPolicy, []v3.FieldError) {
	t.Helper()
	text, err := yaml.YAMLToJSON([]byte(clusterHead + strings.ReplaceAll(spec, "\n", "\n  ")))
	if err != nil {
		t.Fatal(err)
	}
	p, errs, err := DecodeClusterNetworkPolicy(text, strict)
	if err != nil {
		t.Fatal(err)
	}
	return p, errs
}

func TestDecodeClusterNetworkPolicy(t *testing.T) {
	p, errs := decodeCluster(t, `tier: Baseline
priority: 7
subject: {pods: {namespaceSelector: {matchLabels: {team: a}}, podSelector: {matchLabels: {app: web}}}}
ingress:
- name: first
  action: Accept
  from: [{namespaces: {}}, {pods: {podSelector: {matchLabels: {app: x}}}}]
  protocols: [{tcp: {destinationPort: {number: 80}}}, {tcp: {destinationPort: {range: {start: 81, end: 90}}}}, {destinationNamedPort: web}]
egress:
- {action: Pass, to: [{nodes: {matchLabels: {zone: z}}}]}
- {action: Accept, to: [{networks: [10.0.0.1/8, "fd00::/8"]}, {domainNames: [example.com]}], protocols: [{udp: {destinationPort: {number: 53}}}]}`, true)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	tcp, udp := &v3.Protocol{Name: "TCP"}, &v3.Protocol{Name: "UDP"}
	name := &v3.RuleMetadata{Annotations: map[string]string{annotationName: "first"}}
	ports, byName := []v3.Port{{Min: 80, Max: 90}}, []v3.Port{{Name: "web"}}
	anyPod := v3.EntityRule{Selector: `projectcalico.org/orchestrator == "k8s"`, NamespaceSelector: "all()"}
	x := v3.EntityRule{Selector: `app == "x" && projectcalico.org/orchestrator == "k8s"`, NamespaceSelector: "all()"}
	want := v3.GlobalNetworkPolicySpec{
		NamespaceSelector: `team == "a"`,
		PolicySpec: v3.PolicySpec{
			Tier: "kube-baseline", Order: new(7.0), Selector: `app == "web" && projectcalico.org/orchestrator == "k8s"`,
			Types: []v3.PolicyType{v3.PolicyTypeIngress, v3.PolicyTypeEgress},
			Ingress: []v3.Rule{
				{Action: v3.Allow, Written: 1, Protocol: tcp, Source: anyPod, Destination: v3.EntityRule{Ports: ports}, Metadata: name},
				{Action: v3.Allow, Written: 1, Source: anyPod, Destination: v3.EntityRule{Ports: byName}, Metadata: name},
				{Action: v3.Allow, Written: 1, Protocol: tcp, Source: x, Destination: v3.EntityRule{Ports: ports}, Metadata: name},
				{Action: v3.Allow, Written: 1, Source: x, Destination: v3.EntityRule{Ports: byName}, Metadata: name},
			},
			Egress: []v3.Rule{
				{
					Action: v3.Pass, Written: 1, Destination: v3.EntityRule{NodeSelector: `zone == "z"`},
					Metadata: &v3.RuleMetadata{Annotations: map[string]string{annotationNodes: `zone == "z"`}},
				},
				{Action: v3.Allow, Written: 2, Protocol: udp, Destination: v3.EntityRule{Nets: []string{"10.0.0.0/8", "fd00::/8"}, Ports: []v3.Port{{Min: 53, Max: 53}}}},
				{Action: v3.Allow, Written: 2, Protocol: udp, Destination: v3.EntityRule{Domains: []string{"example.com"}, Ports: []v3.Port{{Min: 53, Max: 53}}}},
			},
		},
	}
	if diff := cmp.Diff(want, p.Spec); diff != "" {
		t.Errorf("spec (-want +got):\n%s", diff)
	}
	if v3.KeyOf(p).String() != "ClusterNetworkPolicy p" || p.Labels["a"] != "b" {
		t.Errorf("got %s, %v", v3.KeyOf(p), p.Labels)
	}
}

// TestClusterNetworkPolicyFaults: each is named by its field, once, and closes what it is about.
func TestClusterNetworkPolicyFaults(t *testing.T) {
	const subject = "tier: Admin\npriority: 1\nsubject: {namespaces: {}}\n"
	const peer = "to: [{networks: [10.0.0.0/8]}]"
	for _, test := range []struct{ name, spec, fields, rules string }{
		{"sound", "egress: [{action: Accept, " + peer + "}]", "", "Allow"},
		{"no tier", "tier: null\npriority: 1\nsubject: {namespaces: {}}", "spec.tier", "absent"},
		{"another tier", "tier: Middle\npriority: 1\nsubject: {namespaces: {}}", "spec.tier", "absent"},
		{"no subject", "tier: Admin\npriority: 1", "spec.subject", "absent"},
		{"empty subject", "tier: Admin\npriority: 1\nsubject: {}", "spec.subject", "absent"},
		{"subject with a broken selector", "tier: Admin\npriority: 1\nsubject: {namespaces: {matchExpressions: [{key: a, operator: Is}]}}", "spec.subject", "absent"},
		{"no priority", "tier: Admin\nsubject: {namespaces: {}}", "spec.priority", ""},
		{"priority out of range", "tier: Admin\npriority: 1001\nsubject: {namespaces: {}}", "spec.priority", ""},
		{"unknown field", "mood: good\negress: [{action: Accept, " + peer + "}]", "spec.mood", "Allow"},
		{"rules are no list", "egress: {action: Accept}", "spec.egress", "Deny!"},
		{"rule is null", "egress: [null]", "spec.egress[0].action spec.egress[0]", "!"},
		{"no action", "egress: [{" + peer + "}]", "spec.egress[0].action", ""},
		{"an action of another API", "egress: [{action: Allow, " + peer + "}]", "spec.egress[0].action", ""},
		{"unknown field in Accept", "egress: [{action: Accept, mood: 1, " + peer + "}]", "spec.egress[0].mood", "Allow?"},
		{"unknown field in Deny", "egress: [{action: Deny, mood: 1, " + peer + "}]", "spec.egress[0].mood", "Deny?"},
		{"from in egress", "egress: [{action: Deny, from: [], " + peer + "}]", "spec.egress[0].from", "Deny?"},
		{"to in ingress", "ingress: [{action: Pass, " + peer + "}]", "spec.ingress[0].to spec.ingress[0].from", "Pass?"},
		{"nodes in ingress", "ingress: [{action: Accept, from: [{nodes: {}}]}]", "spec.ingress[0].from[0]", "Allow?"},
		{"two in one peer", "egress: [{action: Deny, to: [{nodes: {}, namespaces: {}}]}]", "spec.egress[0].to[0]", "Deny?"},
		{"selector of nodes", "egress: [{action: Deny, to: [{nodes: {matchLabels: {a b: c}}}]}]", "spec.egress[0].to[0].nodes", "Deny?"},
		{"net", "egress: [{action: Accept, to: [{networks: [10.0.0.0/8, 10.0.0.0]}]}]", "spec.egress[0].to[0].networks[1]", "Allow?"},
		{"no net", "egress: [{action: Accept, to: [{networks: []}]}]", "spec.egress[0].to[0].networks", "Allow?"},
		{"domain", "egress: [{action: Accept, to: [{domainNames: [a..b]}]}]", "spec.egress[0].to[0].domainNames[0]", "Allow?"},
		{"domain in Deny", "egress: [{action: Deny, to: [{domainNames: [example.com]}]}]", "spec.egress[0].to[0].domainNames", "Deny?"},
		{"port", "egress: [{action: Deny, " + peer + ", protocols: [{tcp: {destinationPort: {number: 65536}}}]}]", "spec.egress[0].protocols[0]", "Deny?"},
		{"range of one", "egress: [{action: Deny, " + peer + ", protocols: [{tcp: {destinationPort: {range: {start: 5, end: 5}}}}]}]", "spec.egress[0].protocols[0]", "Deny?"},
		{"no port", "egress: [{action: Deny, " + peer + ", protocols: [{udp: {}}]}]", "spec.egress[0].protocols[0]", "Deny?"},
		{"no protocol", "egress: [{action: Deny, " + peer + ", protocols: []}]", "spec.egress[0].protocols", "Deny?"},
		{"named port of a net", "egress: [{action: Accept, " + peer + ", protocols: [{destinationNamedPort: web}]}]", "spec.egress[0].protocols", "Allow?"},
		{"name too long", "egress: [{name: " + strings.Repeat("n", 101) + ", action: Accept, " + peer + "}]", "spec.egress[0].name", "Allow"},
		{"too many rules", "egress: [" + strings.Repeat("{action: Accept, "+peer+"}, ", 26) + "]", "spec.egress", strings.TrimSpace(strings.Repeat("Allow ", 26))},
	} {
		t.Run(test.name, func(t *testing.T) {
			spec := test.spec
			if !strings.HasPrefix(spec, "tier") {
				spec = subject + spec
			}
			p, errs := decodeCluster(t, spec, true)
			var fields []string
			for _, e := range errs {
				fields = append(fields, e.Field)
				if e.Object != "ClusterNetworkPolicy p" || e.Problem == "" || e.Valid == "" {
					t.Errorf("error %+v", e)
				}
			}
			if got := strings.Join(fields, " "); got != test.fields {
				t.Errorf("reported %q, want %q: %v", got, test.fields, errs)
			}
			rules := outline(append(p.Spec.Ingress, p.Spec.Egress...))
			if p.Spec.Selector == unreadableScope {
				rules = "absent"
			}
			if rules != test.rules {
				t.Errorf("rules %q, want %q", rules, test.rules)
			}
		})
	}
}

// outline is the actions of rules, with "?" where a part is lost, and "!" where all is.
func outline(rules []v3.Rule) string {
	var texts []string
	for i := range rules {
		text := string(rules[i].Action)
		if rules[i].Unsupported != "" {
			text += "?"
		}
		if rules[i].Invalid != "" {
			text += "!"
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, " ")
}

// TestClusterNetworkPolicyTwice: of a field that is given twice nobody knows which one was meant.
func TestClusterNetworkPolicyTwice(t *testing.T) {
	const head = `{"metadata":{"name":"p"},"spec":{"tier":"Admin","priority":1,"subject":{"namespaces":{}}`
	for text, want := range map[string]string{
		head + `,"tier":"Baseline"}}`:                                                             "absent",
		head + `,"egress":[{"action":"Accept","to":[{"nodes":{}}],"to":[]}]}}`:                    "!",
		head + `,"egress":[{"action":"Deny","action":"Accept","to":[{"nodes":{}}]}]}}`:            "!",
		head + `,"egress":[{"action":"Accept","to":[{"nodes":{},"nodes":{"matchLabels":{}}}]}]}}`: "Allow?",
	} {
		p, errs, err := DecodeClusterNetworkPolicy([]byte(text), false)
		if err != nil || len(errs) == 0 {
			t.Errorf("%s: %v, %v", text, errs, err)
			continue
		}
		got := outline(p.Spec.Egress)
		if p.Spec.Selector == unreadableScope {
			got = "absent"
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
	if _, _, err := DecodeClusterNetworkPolicy([]byte(`{"spec":1}`), false); err == nil {
		t.Error("a spec that is a number")
	}
}

// FuzzDecodeClusterNetworkPolicy: whatever the text, a rule that allows says whom, or that it can't be read.
func FuzzDecodeClusterNetworkPolicy(f *testing.F) {
	f.Add([]byte(`{"metadata":{"name":"p"},"spec":{"tier":"Admin","priority":1,"subject":{"namespaces":{}},"egress":[{"action":"Accept","to":[{"nodes":{}}]}]}}`))
	f.Add([]byte(`{"spec":{"ingress":[{"action":"Accept","from":[{"pods":{"podSelector":{}}}],"protocols":[{"tcp":{"destinationPort":{"number":1}}}]}]}}`))
	f.Add([]byte(`{"spec":{"egress":[{"action":"Accept","to":[{"networks":["::/0"]},{"domainNames":["*.a.b"]}],"protocols":[{"destinationNamedPort":"x"}]},null,1]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, _, err := DecodeClusterNetworkPolicy(text, false)
		if err != nil {
			return
		}
		for _, r := range append(p.Spec.Ingress, p.Spec.Egress...) {
			whom := r.Source.Selector + r.Destination.Selector + r.Destination.NodeSelector + strings.Join(append(r.Destination.Nets, r.Destination.Domains...), "")
			if r.Action == v3.Allow && r.Invalid+r.Unsupported+whom == "" || r.Written == 0 {
				t.Errorf("%s: %+v", text, r)
			}
		}
	})
}
