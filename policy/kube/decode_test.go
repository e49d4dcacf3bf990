package kube

import (
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	v3 "github.com/felid-net/felid/api/v3"
)

// TestDecodeNetworkPolicy: a rule that the Go type would read as a wider one is left out, and the policy still isolates.
func TestDecodeNetworkPolicy(t *testing.T) {
	const from = "{from: [{podSelector: {matchLabels: {app: web}}}]}"
	for _, test := range []struct {
		name, spec      string
		ingress, egress int    // rules that are left
		types           string // directions that are isolated
		absent          bool
		fields          string // that are reported
	}{
		{"whole", "ingress: [" + from + "]", 1, 0, "Ingress", false, ""},
		{"empty rule", "ingress: [{}]", 1, 0, "Ingress", false, ""},
		{"absent by null", "ingress: [{from: null, ports: null}]", 1, 0, "Ingress", false, ""},
		{"unknown field of a rule", "ingress: [{newField: 1}, " + from + "]", 1, 0, "Ingress", false, "spec.ingress[0]"},
		{"unknown kind of peer", "ingress: [" + from + ", {from: [{newPeer: {}}]}]", 1, 0, "Ingress", false, "spec.ingress[1]"},
		{"unknown field beside a selector", "ingress: [{from: [{podSelector: {}, serviceAccounts: {}}]}]", 0, 0, "Ingress", false, "spec.ingress[0]"},
		{"unknown field of a selector", "ingress: [{from: [{podSelector: {matchNames: [a]}}]}]", 0, 0, "Ingress", false, "spec.ingress[0]"},
		{"unknown field of a port", "ingress: [{ports: [{portSet: web}]}]", 0, 0, "Ingress", false, "spec.ingress[0]"},
		{"unknown field of a block", "egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8, without: [10.1.0.0/16]}}]}]", 0, 0, "Ingress Egress", false, "spec.egress[0]"},
		{"case", "ingress: [{From: [{podSelector: {}}]}]", 0, 0, "Ingress", false, "spec.ingress[0]"},
		{"wrong type in one rule", "ingress: [{from: web}, " + from + "]", 1, 0, "Ingress", false, "spec.ingress[0]"},
		{"wrong type of a port", "ingress: [{ports: [{port: 80.5}]}, " + from + "]", 1, 0, "Ingress", false, "spec.ingress[0]"},
		{"a rule is null", "ingress: [null, " + from + "]", 1, 0, "Ingress", false, "spec.ingress[0]"},
		{"a port is null", "ingress: [{ports: [null]}]", 0, 0, "Ingress", false, "spec.ingress[0]"},
		{"a rule is text", "egress: [any]", 0, 0, "Ingress Egress", false, "spec.egress[0]"},
		{"rules are no list", "egress: {to: []}", 0, 0, "Ingress Egress", false, "spec.egress[0]"},
		{"unknown field of the policy", "podSelectors: []\ningress: [" + from + "]", 1, 0, "Ingress", false, "spec.podSelectors"},
		{"unknown field of the scope", "podSelector: {matchNames: [a]}\ningress: [{}]", 1, 0, "Ingress", true, "spec.podSelector"},
		{"scope of a wrong type", "podSelector: web", 0, 0, "Ingress", true, "spec.podSelector"},
		{"types of a wrong type", "policyTypes: {}", 0, 0, "Ingress", true, "spec.policyTypes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			text, err := yaml.YAMLToJSON([]byte("metadata: {name: p}\nstatus: {x: 1}\nspec:\n  " + strings.ReplaceAll(test.spec, "\n", "\n  ")))
			if err != nil {
				t.Fatal(err)
			}
			_, p, errs, err := DecodeNetworkPolicy(text, "a")
			if err != nil {
				t.Fatal(err)
			}
			if in, out := readable(p.Spec.Ingress), readable(p.Spec.Egress); in != test.ingress || out != test.egress {
				t.Errorf("rules: %d in, %d out: %+v", in, out, p.Spec)
			}
			if left := len(p.Spec.Ingress) + len(p.Spec.Egress) - test.ingress - test.egress; left != len(errs) && !test.absent {
				t.Errorf("%d rules say that they were left out: %+v", left, p.Spec)
			}
			var types, fields []string
			for _, d := range p.Spec.Types {
				types = append(types, string(d))
			}
			for _, e := range errs {
				fields = append(fields, e.Field)
				if e.Object != "KubernetesNetworkPolicy a/p" {
					t.Errorf("object %q", e.Object)
				}
			}
			if got := strings.Join(types, " "); got != test.types {
				t.Errorf("types %q", got)
			}
			if got := strings.Join(fields, " "); got != test.fields {
				t.Errorf("reported %q, want %q: %v", got, test.fields, errs)
			}
			if absent := p.Spec.Selector == unreadableSelector; absent != test.absent {
				t.Errorf("selector %q", p.Spec.Selector)
			}
		})
	}
}

// readable counts the rules that are not Invalid.
func readable(rules []v3.Rule) (n int) {
	for i := range rules {
		if rules[i].Invalid == "" {
			n++
		}
	}
	return n
}

// TestDecodeNetworkPolicyTwice: of a field that is given twice the Go type takes either, or both.
func TestDecodeNetworkPolicyTwice(t *testing.T) {
	for text, absent := range map[string]bool{
		`{"metadata":{"name":"p"},"spec":{"ingress":[{"from":[{"podSelector":{}}],"from":[]}]}}`:      false,
		`{"metadata":{"name":"p"},"spec":{"podSelector":{"matchLabels":{"a":"b"}},"podSelector":{}}}`: true,
	} {
		_, p, errs, err := DecodeNetworkPolicy([]byte(text), "a")
		if err != nil || readable(p.Spec.Ingress) > 0 || len(errs) != 1 || (p.Spec.Selector == unreadableSelector) != absent {
			t.Errorf("%s: %+v, %v, %v", text, p.Spec, errs, err)
		}
	}
	if _, _, _, err := DecodeNetworkPolicy([]byte(`{"spec":1}`), "a"); err == nil {
		t.Error("a spec that is a number")
	}
}
