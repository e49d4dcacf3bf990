package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/felid-net/felid/test/kubernetes"
)

// podOf is a Pod as an API server takes it; its status is written apart.
func podOf(t *testing.T, server *kubernetes.Server, namespace, name, node, ip string) {
	t.Helper()
	path := file(t, name+".yaml", fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata: {name: %[2]s, namespace: %[1]s, labels: {app: %[2]s}}
spec: {nodeName: %[3]s, serviceAccountName: default, containers: [{name: web, image: none, ports: [{name: http, containerPort: 8080}]}]}
`, namespace, name, node))
	server.Apply(t, path)
	server.Kubectl(t, "patch", "pod", "-n", namespace, name, "--subresource=status", "--type=merge", "-p",
		fmt.Sprintf(`{"status":{"phase":"Running","podIP":%[1]q,"podIPs":[{"ip":%[1]q}]}}`, ip))
}

// withPods is the API server with three pods and the policies of testdata.
func withPods(t *testing.T) (caller, *kubernetes.Server) {
	c, server := kubeCaller(t), kubernetes.Shared(t)
	for _, ns := range []string{"web-ns", "app-ns"} {
		server.Kubectl(t, "label", "namespace", ns, "projectcalico.org/name="+ns, "--overwrite")
	}
	podOf(t, server, "web-ns", "web-1", "node-1", "10.65.0.1")
	podOf(t, server, "web-ns", "web-2", "node-1", "10.65.0.2")
	podOf(t, server, "app-ns", "app-1", "node-2", "10.65.1.1")
	c.ok("apply", "-f", "testdata/policies.yaml")
	return c, server
}

// TestAnswersFromTheAPIServer: the same questions, asked of a cluster.
func TestAnswersFromTheAPIServer(t *testing.T) {
	c, _ := withPods(t)
	wants(t, c.ok("get", "wep", "-n", "web-ns").out, "web-1  node-1  10.65.0.1/32")
	wants(t, c.ok("get", "profiles", "-o", "name").out, "profile/kns.web-ns\n", "profile/kns.app-ns\n")
	var answer struct {
		Verdict string
		Ingress struct {
			By struct{ Kind, Name, Tier string }
		}
	}
	explain := []string{"explain", "--from", "pod/web-ns/web-1", "--to", "pod/app-ns/app-1", "--port", "8080", "-o", "json"}
	if err := json.Unmarshal([]byte(c.ok(explain...).out), &answer); err != nil || answer.Verdict != "Allow" || answer.Ingress.By.Name != "application.app" {
		t.Errorf("%+v, %v", answer, err)
	}
	c.ok("patch", "np", "-n", "app-ns", "application.app", "-p", `{"spec": {"ingress": null}}`)
	if err := json.Unmarshal([]byte(c.ok(explain...).out), &answer); err != nil || answer.Verdict != "Deny" {
		t.Errorf("after the patch: %+v, %v", answer, err)
	}
	wants(t, c.ok("policy", "endpoints", "app-ns/application.app").out, "pod/app-ns/app-1")
	wants(t, c.ok("endpoint", "policies", "pod/app-ns/app-1").out, "application.app")
	wants(t, c.ok("diff", "live", "testdata/policies.yaml").out, "opens: ")
	c.run("lint") // whatever it finds
	if o := c.run("get", "np", "-n", "app-ns", "nobody"); o.status != exitNo || !strings.Contains(o.err, "NetworkPolicy app-ns/nobody: ") {
		t.Errorf("%+v", o)
	}
	wants(t, c.ok("validate", "-f", "testdata/policies.yaml").out, "valid")
}

// TestKubernetesPolicies: written as files say, read as views, and kubectl sees the same.
func TestKubernetesPolicies(t *testing.T) {
	c, server := kubeCaller(t), kubernetes.Shared(t)
	const path = "../../test/examples/03-k8s-network-policy.yaml"
	wants(t, c.ok("apply", "-f", path).out, "NetworkPolicy my-namespace/my-network-policy created\n")
	wants(t, c.ok("apply", "-f", path).out, "NetworkPolicy my-namespace/my-network-policy applied\n")
	wants(t, c.ok("get", "knp", "-A").out, "my-namespace  my-network-policy  default")
	wants(t, server.Kubectl(t, "get", "networkpolicies", "-n", "my-namespace"), "my-network-policy")
	if o := c.run("create", "-f", path); o.status != exitNo || !strings.Contains(o.err, "NetworkPolicy my-namespace/my-network-policy: already exists") {
		t.Errorf("%+v", o)
	}
	if o := c.run("label", "knp", "-n", "my-namespace", "my-network-policy", "a=b"); o.status == 0 {
		t.Errorf("a view was labelled: %+v", o)
	}
	wants(t, c.ok("replace", "-f", path).out, "replaced")
	wants(t, c.ok("delete", "-f", path).out, "NetworkPolicy my-namespace/my-network-policy deleted\n")
	wants(t, c.ok("get", "knp", "-A").out, "no kubernetesnetworkpolicies")
}

// kubeconfigs is a file with a context of the administrator in web-ns, and one of jane, who has no right but to see policies there.
func kubeconfigs(t *testing.T, server *kubernetes.Server) string {
	t.Helper()
	data, err := os.ReadFile(server.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	user := text[strings.Index(text, "{name: admin, user: {")+len("{name: admin, user: {"):]
	user = user[:strings.Index(user, "}")]
	text = strings.Replace(text, "users: [", fmt.Sprintf("users: [{name: jane, user: {%s, as: jane}}, ", user), 1)
	text = strings.Replace(text, "contexts: [", "contexts: [{name: web, context: {cluster: test, user: admin, namespace: web-ns}}, {name: jane, context: {cluster: test, user: jane, namespace: web-ns}}, ", 1)
	text = strings.Replace(text, "current-context: test", "current-context: web", 1)
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"create", "role", "sees", "-n", "web-ns", "--verb=get,list", "--resource=networkpolicies.projectcalico.org"},
		{"create", "rolebinding", "sees", "-n", "web-ns", "--role=sees", "--user=jane"},
	} {
		server.Kubectl(t, "delete", "--ignore-not-found", args[1], "-n", "web-ns", "sees")
		server.Kubectl(t, args...)
	}
	return path
}

// plugin runs felid as kubectl does.
func plugin(t *testing.T, in string, args ...string) outcome {
	t.Helper()
	var out, errs bytes.Buffer
	app := App{In: strings.NewReader(in), Out: &out, Err: &errs, Env: func(string) (string, bool) { return "", false }, Plugin: true}
	status := Main(t.Context(), app, args)
	return outcome{status, out.String(), errs.String()}
}

// TestAsAPluginOfKubectl: the datastore is kubectl's API server, and the namespace that of its context.
func TestAsAPluginOfKubectl(t *testing.T) {
	_, server := withPods(t)
	t.Setenv("KUBECONFIG", kubeconfigs(t, server))
	const one = "apiVersion: projectcalico.org/v3\nkind: NetworkSet\nmetadata: {name: s}\nspec: {nets: [10.0.0.0/8]}\n"
	for _, step := range []struct{ args, out string }{
		{"apply -f -", "NetworkSet web-ns/s created\n"},
		{"get netset -o name", "networkset/web-ns/s\n"},
		{"get wep -o name", "workloadendpoint/web-ns/web-1\nworkloadendpoint/web-ns/web-2\n"},
		{"get wep -n app-ns -o name", "workloadendpoint/app-ns/app-1\n"},
		{"get netset --context test", "no networksets\n"},
		{"patch netset s -p spec:\u00a0{nets:\u00a0[fd00::/8]}", "NetworkSet web-ns/s patched\n"},
		{"label netset s a=b", "NetworkSet web-ns/s labelled\n"},
		{"delete netset s", "NetworkSet web-ns/s deleted\n"},
	} {
		args := strings.Fields(strings.ReplaceAll(step.args, "\u00a0", "~"))
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "~", " ")
		}
		if o := plugin(t, one, args...); o.status != 0 || o.out != step.out {
			t.Errorf("%s: status %d\n%s%s; want\n%s", step.args, o.status, o.out, o.err, step.out)
		}
	}
	if o := plugin(t, one, "apply", "-f", "-", "-n", "app-ns"); o.status != 0 || o.out != "NetworkSet app-ns/s created\n" {
		t.Errorf("%+v", o)
	}
	if o := plugin(t, strings.Replace(one, "name: s", "name: s, namespace: web-ns", 1), "apply", "-f", "-", "-n", "app-ns"); o.status != exitUsage ||
		!strings.Contains(o.err, "-:1: NetworkSet web-ns/s: metadata.namespace is web-ns; valid: app-ns") {
		t.Errorf("%+v", o)
	}
	wants(t, plugin(t, "", "explain", "--help").out, "kubectl felid explain")
	wants(t, plugin(t, "", "explain", "--from", "pod/web-ns/web-1", "--to", "pod/app-ns/app-1", "--port", "8080").out, "Allow")
}

// TestWhatIsNotPermittedIsSaid, with the right that is missing; what is permitted works without more.
func TestWhatIsNotPermittedIsSaid(t *testing.T) {
	c, server := withPods(t)
	t.Setenv("KUBECONFIG", kubeconfigs(t, server))
	c.in = "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: p, namespace: web-ns}\nspec: {selector: all()}\n"
	c.ok("apply", "-f", "-")
	for _, args := range []string{"get np -o name", "get np p -o name", "get np -n web-ns -o name"} {
		if o := plugin(t, "", append(strings.Fields(args), "--context", "jane")...); o.status != 0 || o.out != "networkpolicy/web-ns/p\n" {
			t.Errorf("%s: %+v", args, o)
		}
	}
	for args, verb := range map[string]string{"get np -A": "list", "get np -n app-ns": "list", "delete np p": "delete", "get gnp": "list", "label np p a=b": "update"} {
		o := plugin(t, "", append(strings.Fields(args), "--context", "jane")...)
		if o.status != exitUnreachable || !strings.Contains(o.err, "missing: a rule with apiGroups") || !strings.Contains(o.err, fmt.Sprintf("verbs [%q]", verb)) {
			t.Errorf("%s: status %d\n%s%s", args, o.status, o.out, o.err)
		}
	}
	if o := plugin(t, "", "get", "np", "--context", "nobody"); o.status != exitUsage || !strings.Contains(o.err, "nobody") {
		t.Errorf("%+v", o)
	}
}
