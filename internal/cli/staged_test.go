package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const stagedYAML = `apiVersion: projectcalico.org/v3
kind: StagedNetworkPolicy
metadata: {name: application.shut, namespace: app-ns}
spec: {tier: application, order: 1, selector: all(), types: [Ingress], ingress: [{action: Deny, protocol: TCP, destination: {ports: [8080]}}, {action: Pass}]}
---
apiVersion: projectcalico.org/v3
kind: StagedKubernetesNetworkPolicy
metadata: {name: quiet, namespace: web-ns}
spec: {stagedAction: Ignore, podSelector: {}}
`

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "f.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestExplainStaged(t *testing.T) {
	args := []string{"--from", "pod/web-ns/web-1", "--to", "pod/app-ns/app-1", "--port", "8080", "-o", "json", "-f", writeFile(t, stagedYAML)}
	var answer struct {
		Verdict string
		Staged  struct {
			Verdict string
			Changes []string
			Ingress struct{ By struct{ Kind, Name string } }
		}
	}
	if err := json.Unmarshal([]byte(call(t).ok(explainArgsOf(args...)...).out), &answer); err != nil {
		t.Fatal(err)
	}
	s := answer.Staged
	if answer.Verdict != "Allow" || s.Verdict != "Deny" || !slices.Equal(s.Changes, []string{"verdict", "ingress"}) || s.Ingress.By.Name != "application.shut" {
		t.Errorf("got %+v", answer)
	}
	args[len(args)-3] = "table"
	o := call(t).ok(explainArgsOf(args...)...)
	wants(t, o.out, "with the staged policies: Deny (changes verdict, ingress)", "  ingress of pod/app-ns/app-1: Deny by NetworkPolicy app-ns/application.shut")
}

// TestPolicyTestsSayWhatIsStaged: a test's result is what explain prints.
func TestPolicyTestsSayWhatIsStaged(t *testing.T) {
	file := writeFile(t, "tests:\n- {name: n, from: pod/web-ns/web-1, to: pod/app-ns/app-1, port: 8080, expect: Allow}\n")
	o := call(t).ok(append([]string{"test", file, "-o", "json", "-f", writeFile(t, stagedYAML)}, offline...)...)
	wants(t, o.out, `"staged"`, `"changes"`)
	if o = call(t).ok(append([]string{"test", file, "-o", "json"}, offline...)...); strings.Contains(o.out, "staged") {
		t.Errorf("printed %s", o.out)
	}
}

func TestDiffStaged(t *testing.T) {
	o := call(t).ok(append([]string{"diff", "--staged", "-f", writeFile(t, stagedYAML)}, offline...)...)
	wants(t, o.out, "closes:", "8080", "app-1")
	if o = call(t).ok(append([]string{"diff", "--staged"}, offline...)...); o.out != "nothing opens or closes\n" {
		t.Errorf("printed %q", o.out)
	}
	wants(t, o.err, "there is no staged policy")
	if o = call(t).run("diff", "--staged", "a", "b"); o.status != exitUsage {
		t.Errorf("status %d", o.status)
	}
}

// TestStagedIsStored: get and validate know the kinds, and a datastore gives them to explain.
func TestStagedIsStored(t *testing.T) {
	dir := "local:" + t.TempDir()
	c := call(t)
	c.ok("apply", "--datastore", dir, "-f", "testdata/cluster.yaml", "-f", "testdata/policies.yaml", "-f", writeFile(t, stagedYAML))
	wants(t, c.ok("get", "--datastore", dir, "snp", "-A").out, "application.shut", "Set")
	o := c.ok("explain", "--datastore", dir, "--from", "pod/web-ns/web-1", "--to", "pod/app-ns/app-1", "--port", "8080")
	wants(t, o.out, "with the staged policies: Deny")
	bad := `{apiVersion: projectcalico.org/v3, kind: StagedKubernetesNetworkPolicy, metadata: {name: a, namespace: b}, spec: {podSelector: {}, ingress: [{ports: [{port: 0}]}]}}`
	o = c.run("validate", "-f", writeFile(t, bad))
	if o.status != exitNo {
		t.Errorf("status %d", o.status)
	}
	wants(t, o.out, "StagedKubernetesNetworkPolicy b/a: spec.ingress[0].ports[0].port")
}

const clusterPolicyYAML = `apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: guard}
spec:
  tier: Admin
  priority: 3
  subject: {namespaces: {matchLabels: {kubernetes.io/metadata.name: web-ns}}}
  egress:
  - {action: Pass, to: [{namespaces: {matchLabels: {kubernetes.io/metadata.name: app-ns}}}], protocols: [{tcp: {destinationPort: {number: 443}}}]}
  - {action: Deny, to: [{namespaces: {matchLabels: {kubernetes.io/metadata.name: app-ns}}}, {namespaces: {}}]}
`

// TestClusterNetworkPolicy: every command that knows policies knows these.
func TestClusterNetworkPolicy(t *testing.T) {
	file := writeFile(t, clusterPolicyYAML)
	with := func(args ...string) []string { return append(append(args, offline...), "-f", file) }
	o := call(t).ok(with("explain", "--from", "pod/web-ns/web-1", "--to", "pod/app-ns/app-1", "--port", "8080")...)
	wants(t, o.out, "Deny by ClusterNetworkPolicy guard (tier kube-admin), rule 1")
	wants(t, call(t).ok("validate", "-f", file).out, "1 valid\n")
	wants(t, call(t).ok(with("get", "clusternetworkpolicies")...).out, "guard", "kube-admin", "3")
	wants(t, call(t).ok(with("policy", "endpoints", "guard")...).out, "ClusterNetworkPolicy guard: ", "pod/web-ns/web-1")
	wants(t, call(t).ok(with("endpoint", "policies", "pod/web-ns/web-1")...).out, "ClusterNetworkPolicy guard", "kube-admin")
	if o = call(t).ok(with("policy", "unused")...); strings.Contains(o.out, "guard") {
		t.Errorf("printed %q", o.out)
	}
	old := t.TempDir()
	o = call(t).ok("diff", old, file, "-f", "testdata/cluster.yaml", "-f", "testdata/policies.yaml")
	wants(t, o.out, "closes:", "app-1")
	o = call(t).run("validate", "-f", writeFile(t, clusterPolicyYAML+"  - {action: Allow, to: []}\n"))
	wants(t, o.out, "f.yaml:11: ClusterNetworkPolicy guard: spec.egress[2].action", "spec.egress[2].to")
}
