package deploy

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/internal/agent"
	"github.com/felid-net/felid/internal/cli"
	"github.com/felid-net/felid/internal/config"
	"github.com/felid-net/felid/test/kubernetes"
)

// felid runs a command on a server.
func felid(t *testing.T, s *kubernetes.Server, args ...string) (status int, out string) {
	t.Helper()
	var text bytes.Buffer
	app := cli.App{In: strings.NewReader(""), Out: &text, Err: &text, Env: func(string) (string, bool) { return "", false }}
	status = cli.Main(t.Context(), app, append(args, "--datastore", "kube:"+s.Kubeconfig))
	return status, text.String()
}

// checks compares what preflight says, as the owner and as a guest: "" is nothing, and what begins with "!" refuses.
func checks(t *testing.T, s *kubernetes.Server, what, owner, guest string) {
	t.Helper()
	for network, want := range map[string]string{"owner": owner, "guest": guest} {
		status, out := felid(t, s, "preflight", "--network", network)
		text, refuses := strings.CutPrefix(want, "!")
		if want == "" {
			text = "nothing is in the way"
		}
		if (status == 1) != refuses || status > 1 || !strings.Contains(out, text) || refuses != strings.HasPrefix(out, "refused: cluster: ") {
			t.Errorf("%s, as %s: status %d, %s; want %q", what, network, status, out, want)
		}
	}
}

// written makes a file.
func written(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// calicoDefinition is a CRD as Calico's are, behind its API server (crd.projectcalico.org/v1) or native (projectcalico.org/v3).
func calicoDefinition(group, version, plural, kind, scope string) string {
	return `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: ` + plural + "." + group + `}
spec:
  group: ` + group + `
  scope: ` + scope + `
  names: {plural: ` + plural + `, singular: ` + strings.ToLower(kind) + `, kind: ` + kind + `}
  versions:
  - name: ` + version + `
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
---
`
}

// nativeKinds are what Calico's native mode has of the kinds that a guest watches.
var nativeKinds = [][3]string{
	{"tiers", "Tier", "Cluster"}, {"networkpolicies", "NetworkPolicy", "Namespaced"}, {"globalnetworkpolicies", "GlobalNetworkPolicy", "Cluster"},
	{"networksets", "NetworkSet", "Namespaced"}, {"globalnetworksets", "GlobalNetworkSet", "Cluster"}, {"hostendpoints", "HostEndpoint", "Cluster"},
	{"profiles", "Profile", "Cluster"}, {"ippools", "IPPool", "Cluster"},
}

func native() string {
	var b strings.Builder
	for _, k := range nativeKinds {
		b.WriteString(calicoDefinition("projectcalico.org", "v3", k[0], k[1], k[2]))
	}
	return b.String()
}

const calicoAPIService = `apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v3.projectcalico.org}
spec:
  group: projectcalico.org
  version: v3
  groupPriorityMinimum: 1500
  versionPriority: 200
  insecureSkipTLSVerify: true
  service: {namespace: calico-apiserver, name: calico-api}
`

const calicoPolicies = `apiVersion: projectcalico.org/v3
kind: Tier
metadata: {name: security}
spec: {order: 100}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: security.deny-metadata}
spec: {tier: security, selector: all(), types: [Egress], egress: [{action: Deny, destination: {nets: [169.254.169.254/32]}}, {action: Pass}]}
`

// TestBesideCalico: over each form of Calico's API felid is not installed; as a guest it reads what is there, and leaves it as it is.
func TestBesideCalico(t *testing.T) {
	s := kubernetes.Start(t, kubernetes.Options{})
	checks(t, s, "an empty cluster", "", "note: cluster: nothing serves projectcalico.org/v3")

	stored := written(t, "stored.yaml", calicoDefinition("crd.projectcalico.org", "v1", "tiers", "Tier", "Cluster"))
	s.Apply(t, stored)
	s.AwaitCRDs(t)
	checks(t, s, "Calico without its API server", "!definitions of crd.projectcalico.org (tiers.crd.projectcalico.org)", "felid reads none of them as they are")

	service := written(t, "service.yaml", calicoAPIService)
	s.Apply(t, service)
	checks(t, s, "Calico with its API server", "!the Service calico-apiserver/calico-api serves projectcalico.org/v3", "note: cluster: the Service calico-apiserver/calico-api")
	s.Kubectl(t, "delete", "-f", service, "-f", stored)

	s.Apply(t, written(t, "native.yaml", native()))
	s.AwaitCRDs(t)
	s.Apply(t, written(t, "policies.yaml", calicoPolicies))
	checks(t, s, "Calico with native definitions", "!definitions of projectcalico.org are another's", "felid reads these resources and installs no definitions")
	before := s.Kubectl(t, "get", "tiers,globalnetworkpolicies,crds", "-o", "yaml")
	if status, out := felid(t, s, "get", "gnp", "-o", "name"); status != 0 || out != "globalnetworkpolicy/security.deny-metadata\n" {
		t.Errorf("a guest reads %d %s", status, out)
	}
	for _, network := range []string{"owner", "guest"} {
		if status, out := felid(t, s, "controller", "--listen=", "--network", network); status != 1 || !strings.Contains(out, "definitions of projectcalico.org are another's") {
			t.Errorf("a controller of the %s: status %d, %s", network, status, out)
		}
	}
	besideCalico(t, s)
	guestEnforces(t, s)
	if after := s.Kubectl(t, "get", "tiers,globalnetworkpolicies,crds", "-o", "yaml", "--field-selector=metadata.name!=nodereports.felid.dev"); after != before {
		t.Errorf("what was there is now\n%s\nand was\n%s", after, before)
	}
}

// besideCalico installs what the settings for it name, and takes it off.
func besideCalico(t *testing.T, s *kubernetes.Server) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(top, "deploy", "beside-calico", "settings.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	words := strings.Fields(strings.ReplaceAll(string(data), "#", " "))
	for i, word := range words {
		if word == "-f" {
			paths = append(paths, filepath.Join(top, words[i+1]))
		}
	}
	if len(paths) != 6 {
		t.Fatalf("the command names %q", paths)
	}
	s.Apply(t, paths...)
	if got := s.Kubectl(t, "get", "crds", "-l", "app.kubernetes.io/managed-by=felid", "-o", "name"); got != "customresourcedefinition.apiextensions.k8s.io/nodereports.felid.dev\n" {
		t.Errorf("installed beside Calico: %s", got)
	}
	if got := s.Kubectl(t, "get", "deployments", "-A", "-o", "name"); got != "" {
		t.Errorf("installed beside Calico: %s", got)
	}
}

// guestEnforces runs a guest's agent, which has Calico's policy in force on a pod that Calico has connected.
func guestEnforces(t *testing.T, s *kubernetes.Server) {
	t.Helper()
	s.Namespace(t, "web-ns")
	s.Apply(t, written(t, "pod.yaml", `apiVersion: v1
kind: Pod
metadata: {name: web, namespace: web-ns}
spec: {nodeName: n1, serviceAccountName: default, containers: [{name: web, image: none}]}
`))
	s.Kubectl(t, "patch", "pod", "-n", "web-ns", "web", "--subresource=status", "--type=merge", "-p", `{"status":{"phase":"Running","podIP":"10.65.0.1","podIPs":[{"ip":"10.65.0.1"}]}}`)
	c := config.Defaults()
	c.Node, c.Network, c.InterfacePrefix, c.Datastore, c.StateDir = "n1", "guest", "cali", "kube:"+s.Kubeconfig, t.TempDir()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	store, err := config.OpenForNode(c, log)
	if err != nil {
		t.Fatal(err)
	}
	kernel := dataplane.NewFake(nil)
	a := agent.New(agent.Options{Host: agent.HostOf(c), Store: store, Dataplane: kernel, Log: log, Metrics: agent.NewMetrics(prometheus.NewRegistry())})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	defer func() {
		cancel()
		if err := errors.Join(<-ended, store.Close()); err != nil {
			t.Error(err)
		}
	}()
	for deadline := time.Now().Add(30 * time.Second); a.Ready() != nil; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the guest's agent: %v", a.Ready())
		}
	}
	web := kernel.Held().Endpoints["pod/web-ns/web"]
	if web == nil || len(web.Tiers) == 0 || web.Tiers[0].Name != "security" {
		t.Errorf("in force on the pod: %+v", web)
	}
}

// TestUninstallLeavesDefinitions: kubectl delete -k deploy takes no definition, and so no policy.
func TestUninstallLeavesDefinitions(t *testing.T) {
	s := kubernetes.Start(t, kubernetes.Options{})
	s.InstallCRDs(t)
	deploy := filepath.Join(top, "deploy")
	if text := s.Kubectl(t, "kustomize", deploy); strings.Contains(text, "kind: CustomResourceDefinition") || !strings.Contains(text, "kind: DaemonSet") {
		t.Errorf("kubectl -k deploy has\n%s", text)
	}
	s.Kubectl(t, "apply", "--server-side", "-k", deploy)
	checks(t, s, "felid installed", "", "")
	s.Apply(t, written(t, "policies.yaml", calicoPolicies))
	before := s.Kubectl(t, "get", "crds", "-o", "name")
	s.Kubectl(t, "delete", "-k", deploy, "--wait=false")
	if after := s.Kubectl(t, "get", "crds", "-o", "name"); after != before || strings.Count(after, "\n") < 20 {
		t.Errorf("left are\n%s", after)
	}
	if got := s.Kubectl(t, "get", "globalnetworkpolicies.projectcalico.org", "-o", "name"); got != "globalnetworkpolicy.projectcalico.org/security.deny-metadata\n" {
		t.Errorf("left are %s", got)
	}
}
