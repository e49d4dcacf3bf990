//go:build linux

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/felid-net/felid/internal/lab"
	"github.com/felid-net/felid/test/kubernetes"
)

// kubeCluster is a lab whose nodes have a real API server as their datastore.
type kubeCluster struct {
	*lab.Lab
	t      *testing.T
	server *kubernetes.Server
}

// newKubeCluster starts an API server with our CRDs, and agents that follow it.
func newKubeCluster(t *testing.T, nodes int, flags ...string) *kubeCluster {
	t.Helper()
	c := &kubeCluster{t: t, server: kubernetes.Start(t, kubernetes.Options{})}
	c.server.InstallCRDs(t)
	for i := 1; i <= nodes; i++ {
		c.addNode(fmt.Sprintf("node-%d", i), fmt.Sprintf("192.0.2.%d", i), fmt.Sprintf("2001:db8::%d", i))
	}
	host, err := url.Parse(c.server.Config.Host)
	if err != nil {
		t.Fatal(err)
	}
	c.Lab, err = lab.Up(t.Context(), lab.Options{
		Dir: filepath.Join(t.TempDir(), "lab"), Name: fmt.Sprintf("felid-kube-%d", os.Getpid()), Bin: bin, Nodes: nodes, IPv6: true,
		Datastore: "kube", Agent: append(flags, "--kubeconfig", c.server.Kubeconfig), Outside: []string{host.Host},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, n := range c.Nodes {
				log, _ := os.ReadFile(c.Log(n.Name))
				t.Logf("log of %s:\n%s", n.Name, tail(string(log), 40))
			}
		}
		if err := c.Down(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return c
}

// addNode makes a Node as its kubelet would.
func (c *kubeCluster) addNode(name string, addresses ...string) {
	c.t.Helper()
	c.apply(fmt.Sprintf("apiVersion: v1\nkind: Node\nmetadata: {name: %s}\n", name))
	var list []string
	for _, a := range addresses {
		list = append(list, fmt.Sprintf(`{"type":"InternalIP","address":%q}`, a))
	}
	c.server.Kubectl(c.t, "patch", "node", name, "--subresource=status", "--type=merge", "-p", `{"status":{"addresses":[`+strings.Join(list, ",")+`]}}`)
}

// apply gives YAML to the API server as `kubectl apply` does.
func (c *kubeCluster) apply(yaml string) {
	c.t.Helper()
	file := filepath.Join(c.t.TempDir(), "resources.yaml")
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		c.t.Fatal(err)
	}
	c.server.Kubectl(c.t, "apply", "-f", file)
}

// addPod makes a Pod that is scheduled to a node, and connects it.
func (c *kubeCluster) addPod(node, namespace, name string, labels map[string]string, ports ...uint16) *lab.Pod {
	c.t.Helper()
	text, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"namespace": namespace, "name": name, "labels": labels},
		"spec": map[string]any{"nodeName": node, "containers": []any{map[string]any{"name": "c", "image": "none"}}},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	c.apply(string(text))
	p, err := c.AddPod(c.t.Context(), node, namespace, name, ports)
	if err != nil {
		c.t.Fatal(err)
	}
	return p
}

// explain asks felid, which asks the API server, what becomes of a connection.
func (c *kubeCluster) explain(a lab.Attempt) string {
	c.t.Helper()
	version := "4"
	if strings.Contains(a.Addr, ":") {
		version = "6"
	}
	cmd := exec.Command(filepath.Join(bin, "felid"), "explain", "--datastore", "kube", "--kubeconfig", c.server.Kubeconfig,
		"--from", a.From.ID(), "--to", a.To.ID(), "--port", strconv.Itoa(int(a.Port)), "--ip-version", version, "-o", "json")
	out, err := cmd.Output()
	var answer struct{ Verdict string }
	if jsonErr := json.Unmarshal(out, &answer); jsonErr != nil {
		c.t.Fatalf("%v: %v %v\n%s", cmd.Args, err, jsonErr, out)
	}
	return answer.Verdict
}

// wantAsExplained tries every connection among the pods until each is as explain says, and returns what was allowed, as
// "pod/a/x -> pod/b/y PORT". Between namespace dmz and others nothing is tried: its pool wants encapsulation, which this version does not do.
func (c *kubeCluster) wantAsExplained() (allowed []string) {
	c.t.Helper()
	attempts := slices.DeleteFunc(c.Attempts(), func(a lab.Attempt) bool { return (a.From.Namespace == "dmz") != (a.To.Namespace == "dmz") })
	verdicts := make([]string, len(attempts))
	for i, a := range attempts {
		verdicts[i] = c.explain(a)
	}
	waitFor(c.t, "every connection to be as explain says", func() error {
		allowed = nil
		var wrong []string
		for i, o := range c.Try(c.t.Context(), attempts, time.Second) {
			flow := fmt.Sprintf("%s -> %s %d", o.From.ID(), o.To.ID(), o.Port)
			switch {
			case o.Err != nil:
				wrong = append(wrong, fmt.Sprintf("%s (%s): %v", flow, o.Addr, o.Err))
			case o.Allowed != (verdicts[i] == "Allow"):
				wrong = append(wrong, fmt.Sprintf("%s (%s): explain says %s", flow, o.Addr, verdicts[i]))
			case o.Allowed && !slices.Contains(allowed, flow):
				allowed = append(allowed, flow)
			}
		}
		if len(wrong) > 0 {
			return fmt.Errorf("%d of %d connections:\n%s", len(wrong), len(attempts), strings.Join(wrong, "\n"))
		}
		return nil
	})
	return allowed
}

func (c *kubeCluster) wantFlows(allowed []string, open []string, closed []string) {
	c.t.Helper()
	for _, flow := range open {
		if !slices.Contains(allowed, flow) {
			c.t.Errorf("%s is closed", flow)
		}
	}
	for _, flow := range closed {
		if slices.Contains(allowed, flow) {
			c.t.Errorf("%s is open", flow)
		}
	}
}

// TestExamplesOnKubernetes: what users publish is taken by the API server as it is written, and enforced by agents that follow it.
func TestExamplesOnKubernetes(t *testing.T) {
	c := newKubeCluster(t, 3)
	c.server.Kubectl(t, "label", "node", "node-3", "type=dmz-node")
	for namespace, labels := range map[string]string{"production": "", "my-namespace": "shape=circle", "web-ns": "", "app-ns": ""} {
		c.server.Namespace(t, namespace)
		if labels != "" {
			c.server.Kubectl(t, "label", "namespace", namespace, labels)
		}
	}
	c.apply(pools)
	c.server.Kubectl(t, "apply", "-f", "../examples")

	c.addPod("node-1", "my-namespace", "db", map[string]string{"role": "db"}, 6379, 80)
	c.addPod("node-2", "my-namespace", "frontend", map[string]string{"role": "frontend", "color": "blue"})
	c.addPod("node-1", "production", "red", map[string]string{"color": "red"}, 6379)
	c.addPod("node-2", "production", "blue", map[string]string{"color": "blue"}, 80)
	c.addPod("node-2", "production", "sick", map[string]string{"quarantine": "true"}, 80)
	c.addPod("node-1", "web-ns", "web-1", map[string]string{"app": "web-1"})
	c.addPod("node-2", "web-ns", "web-2", map[string]string{"app": "web-2"})
	c.addPod("node-2", "app-ns", "app-1", nil, 80)
	c.addPod("node-3", "dmz", "patrol", nil)
	dmz := c.addPod("node-3", "dmz", "outpost", nil, 80)
	if !strings.HasPrefix(dmz.Addr[0], "10.0.1.") {
		t.Errorf("the pod in namespace dmz has %s, which is not of dmz-pool", dmz.Addr[0])
	}

	// Example 08 drops what comes to any endpoint from elsewhere than two nets, to which none of these pods belongs.
	allowed := c.wantAsExplained()
	c.wantFlows(allowed, nil, []string{"pod/web-ns/web-1 -> pod/app-ns/app-1 80", "pod/dmz/patrol -> pod/dmz/outpost 80"})

	c.server.Kubectl(t, "delete", "globalnetworkpolicies.projectcalico.org", "drop-other-ingress", "allow-cluster-internal-ingress")
	allowed = c.wantAsExplained()
	c.wantFlows(allowed,
		[]string{"pod/my-namespace/frontend -> pod/my-namespace/db 6379", "pod/web-ns/web-1 -> pod/app-ns/app-1 80", "pod/production/blue -> pod/app-ns/app-1 80",
			"pod/my-namespace/db -> pod/production/red 6379", "pod/dmz/patrol -> pod/dmz/outpost 80"},
		[]string{"pod/my-namespace/frontend -> pod/my-namespace/db 80", "pod/web-ns/web-2 -> pod/app-ns/app-1 80", "pod/web-ns/web-1 -> pod/production/blue 80",
			"pod/production/sick -> pod/app-ns/app-1 80", "pod/production/blue -> pod/production/sick 80", "pod/production/red -> pod/production/blue 80"})
}
