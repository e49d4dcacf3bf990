package cli

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// lintOf runs lint and gives its findings of one rule, as "object field".
func lintOf(t *testing.T, files ...string) map[string][]string {
	t.Helper()
	args := []string{"lint", "-o", "json"}
	for _, f := range files {
		args = append(args, "-f", f)
	}
	var found []finding
	if err := json.Unmarshal([]byte(call(t).run(args...).out), &found); err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for _, f := range found {
		if f.Message == "" || f.Proposal == "" || f.Line == 0 && !strings.HasPrefix(f.Object, "pod/") {
			t.Errorf("message, proposal or place is missing: %+v", f)
		}
		out[f.Rule] = append(out[f.Rule], strings.TrimSpace(f.Object+" "+f.Field))
	}
	return out
}

const examples = "../../test/examples"

func TestLintExamples(t *testing.T) {
	got := lintOf(t, examples)
	for rule, want := range map[string][]string{
		"missing-tier": nil,
		"shadowed":     nil,
		"poor-scope":   {"NetworkPolicy web-ns/application.poorly-scoped-policy spec.egress[0].source"},
		"baked-in": {
			"GlobalNetworkPolicy allow-cluster-internal-ingress spec.ingress[0].source.nets",
			"GlobalNetworkPolicy egress-baked-in spec.egress[0].destination.nets",
			"GlobalNetworkPolicy egress-baked-in spec.egress[0].destination.domains",
		},
	} {
		if diff := cmp.Diff(want, got[rule]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", rule, diff)
		}
	}
	if n := len(got["unused"]); n != 12 {
		t.Errorf("%d unused, want each of the 12 policies: %q", n, got["unused"])
	}
	if status := call(t).run("lint", "-f", examples).status; status != 0 {
		t.Errorf("status %d: warnings are not the answer no", status)
	}
}

func TestLintExamplesWithPods(t *testing.T) {
	got := lintOf(t, examples, "testdata/cluster.yaml", "testdata/examples.yaml")
	want := []string{"NetworkPolicy web-ns/application.my-unused-policy-1 spec.selector"}
	if diff := cmp.Diff(want, got["unused"]); diff != "" {
		t.Error(diff)
	}
	o := call(t).ok("policy", "unused", "-f", examples, "-f", "testdata/cluster.yaml", "-f", "testdata/examples.yaml")
	if o.out != "NetworkPolicy web-ns/application.my-unused-policy-1\n" {
		t.Errorf("policy unused: %q", o.out)
	}
}

func TestLintRules(t *testing.T) {
	got := lintOf(t, "testdata/cluster.yaml", "testdata/lint.yaml")
	want := map[string][]string{
		"missing-tier":     {"GlobalNetworkPolicy nowhere.p spec.tier"},
		"overlapping-pool": {"IPPool second spec.cidr"},
		"log-only":         {"GlobalNetworkPolicy watch spec"},
		"poor-scope":       {"NetworkPolicy app-ns/own spec.ingress[1].destination"},
		"baked-in":         {"NetworkPolicy web-ns/early.web spec.egress[0].destination.notNets"},
		"shadowed":         {"GlobalNetworkPolicy early.shut spec.ingress[2]", "GlobalNetworkPolicy late spec.ingress[0]"},
		"tier-order":       {"GlobalNetworkPolicy dns spec.egress[0]", "GlobalNetworkPolicy dns spec.egress[1]"},
	}
	for rule, want := range want {
		slices.Sort(got[rule])
		if diff := cmp.Diff(want, got[rule]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", rule, diff)
		}
	}
	windows := got["unsupported-on-windows"]
	if !slices.ContainsFunc(windows, func(s string) bool { return s == "GlobalNetworkPolicy watch spec.ingress[0]" }) {
		t.Errorf("unsupported-on-windows: %q", windows)
	}
	if o := call(t).run("lint", "-f", "testdata/cluster.yaml", "-f", "testdata/lint.yaml"); o.status != 1 || o.err != "" && strings.Contains(o.err, "error:") {
		t.Errorf("status %d, want 1 and no message: %s", o.status, o.err)
	}
}

// TestUnusedHost has a policy that is for a host endpoint alone.
func TestUnusedHost(t *testing.T) {
	const text = `
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: %}
spec: {selector: "%", types: [Ingress]}
`
	gnp := func(name, selector string) string {
		return strings.Replace(strings.Replace(text, "%", name, 1), "%", selector, 1)
	}
	path := file(t, "p.yaml", `
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: h, labels: {role: gate}}
spec: {node: node-1, interfaceName: eth0, profiles: [extra]}
---
apiVersion: projectcalico.org/v3
kind: Profile
metadata: {name: extra}
spec: {labelsToApply: {zone: a}}
---`+gnp("own", "role == 'gate'")+"---"+gnp("inherited", "zone == 'a'")+"---"+gnp("none", "role == 'x'"))
	var got []unusedJSON
	if err := json.Unmarshal([]byte(call(t).ok("policy", "unused", "-o", "json", "-f", path).out), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]unusedJSON{{Kind: "GlobalNetworkPolicy", Name: "none"}}, got); diff != "" {
		t.Error(diff)
	}
}
