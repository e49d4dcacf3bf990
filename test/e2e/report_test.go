//go:build linux

package e2e

import (
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/felid-net/felid/internal/lab"
	"github.com/felid-net/felid/test/kubernetes"
)

// startController runs felid controller against the cluster's API server until the test ends.
func (c *kubeCluster) startController() {
	c.t.Helper()
	cmd := exec.Command(filepath.Join(bin, "felid"), "controller", "--datastore", "kube", "--kubeconfig", c.server.Kubeconfig, "--listen", "", "--lease-namespace", "default")
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
		if c.t.Failed() {
			c.t.Logf("log of the controller:\n%s", tail(log.String(), 40))
		}
	})
}

// wantText waits until kubectl prints a text.
func (c *kubeCluster) wantText(want string, args ...string) {
	c.t.Helper()
	waitFor(c.t, fmt.Sprintf("kubectl %s to say %q", strings.Join(args, " "), want), func() error {
		if got := c.server.Kubectl(c.t, args...); !strings.Contains(got, want) {
			return fmt.Errorf("it says %q", got)
		}
		return nil
	})
}

const reportedPolicies = `
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: front, namespace: shop}
spec:
  selector: app == 'front'
  types: [Egress]
  egress:
  - {action: Deny, protocol: TCP, destination: {ports: [81]}}
  - {action: Allow}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: back, namespace: shop}
spec:
  podSelector: {matchLabels: {app: back}}
  ingress: [{ports: [{port: 80}, {port: 81}]}]
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: lost, namespace: shop}
spec: {tier: none-such, selector: app == 'none'}
`

const clusterPolicy = `
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: guard}
spec:
  tier: Admin
  priority: 7
  subject: {pods: {podSelector: {matchLabels: {app: back}}}}
  ingress: [{action: Deny, from: [{pods: {podSelector: {matchLabels: {app: none}}}}]}]
`

// programmed is where kubectl finds how many nodes have a policy in force.
const programmed = `jsonpath={.status.conditions[?(@.type=="Programmed")].message}`

// TestReportsOnKubernetes: nodes report, policies of each kind say on how many nodes they are programmed, a node without an agent is named, and what policy
// denies to pods becomes events that name policy and rule.
func TestReportsOnKubernetes(t *testing.T) {
	c := newKubeCluster(t, 2, "--deny-events")
	c.apply(kubernetes.ClusterPolicyCRD)
	c.server.AwaitCRDs(t)
	c.startController()
	c.server.Namespace(t, "shop")
	c.apply(pools)
	front := c.addPod("node-1", "shop", "front", map[string]string{"app": "front"})
	back := c.addPod("node-2", "shop", "back", map[string]string{"app": "back"}, 80, 81, 82)
	c.apply(reportedPolicies)
	c.wantText("Programmed on 2 of 2 nodes", "get", "networkpolicies.projectcalico.org", "-n", "shop", "front", "-o", programmed)
	c.wantText("Programmed on 2 of 2 nodes", "get", "policyreports", "-n", "shop", "networkpolicy.back", "-o", programmed)
	c.apply(clusterPolicy)
	c.wantText("TierMissing", "get", "networkpolicies.projectcalico.org", "-n", "shop", "lost", "-o", `jsonpath={.status.conditions[?(@.type=="Accepted")].reason}`)
	for _, node := range []string{"node-1", "node-2"} {
		c.wantText("True True 1", "get", "nodereport", node, "-o",
			`jsonpath={.status.conditions[?(@.type=="Ready")].status} {.status.conditions[?(@.type=="Enforcing")].status} {.status.endpoints}`)
	}

	c.wantDenied(front, back, 81)
	c.wantDenied(front, back, 82)
	c.wantText("Denied egress TCP "+back.Addr[0]+":81 by NetworkPolicy shop/front rule 0", "get", "events", "-n", "shop", "-o",
		`jsonpath={range .items[?(@.involvedObject.name=="front")]}{.message}{"\n"}{end}`)
	c.wantText("Denied ingress TCP port 82 from "+front.Addr[0]+" by the end of tier default: KubernetesNetworkPolicy shop/back selects the pod", "get", "events", "-n", "shop", "-o",
		`jsonpath={range .items[?(@.involvedObject.name=="back")]}{.message}{"\n"}{end}`)
	if uid := c.server.Kubectl(t, "get", "pod", "-n", "shop", "front", "-o", "jsonpath={.metadata.uid}"); !strings.Contains(
		c.server.Kubectl(t, "get", "events", "-n", "shop", "-o", "jsonpath={.items[*].involvedObject.uid}"), uid) {
		t.Errorf("no event is of the pod with uid %s: kubectl describe would not show it", uid)
	}

	c.wantText("Programmed on 2 of 2 nodes", "get", "clusternetworkpolicies", "guard", "-o", programmed)

	c.addNode("node-3", "192.0.2.3")
	c.apply(strings.Replace(reportedPolicies, "ports: [81]", "ports: [81, 83]", 1))
	c.wantText("Programmed on 2 of 3 nodes; waiting for node-3", "get", "networkpolicies.projectcalico.org", "-n", "shop", "front", "-o", programmed)
	c.server.Kubectl(t, "delete", "node", "node-3")
	c.wantText("Programmed on 2 of 2 nodes", "get", "networkpolicies.projectcalico.org", "-n", "shop", "front", "-o", programmed)
	c.server.Kubectl(t, "delete", "networkpolicies.networking.k8s.io", "-n", "shop", "back")
	waitFor(t, "the report of a policy that is gone to go", func() error {
		if got := c.server.Kubectl(t, "get", "policyreports", "-n", "shop", "-o", "name"); got != "" {
			return fmt.Errorf("there is %s", got)
		}
		return nil
	})
}

// nodeStatus is what felid node status says on a node.
func (c *kubeCluster) nodeStatus(node string) string {
	c.t.Helper()
	out, err := exec.Command("ip", "netns", "exec", c.NodeSpace(node), filepath.Join(bin, "felid"), "node", "status").CombinedOutput()
	if err != nil {
		c.t.Fatalf("felid node status: %v\n%s", err, out)
	}
	return string(out)
}

// TestAgeOfDataOnKubernetes: while the API server is away a node goes on to enforce what it knows, and says since when it has not heard of what; what
// it reports when the server is back says that it hears again.
func TestAgeOfDataOnKubernetes(t *testing.T) {
	c := newKubeCluster(t, 1)
	c.server.Namespace(t, "shop")
	c.apply(pools)
	c.apply(reportedPolicies)
	front := c.addPod("node-1", "shop", "front", map[string]string{"app": "front"})
	back := c.addPod("node-1", "shop", "back", map[string]string{"app": "back"}, 80, 82)
	c.wantDenied(front, back, 82)
	if got := c.nodeStatus("node-1"); !strings.Contains(got, "node-1: enforcing on linux") || strings.Contains(got, "not heard of") {
		t.Errorf("it says\n%s", got)
	}

	c.server.Kill()
	killed := time.Now().UTC()
	waitFor(t, "the node to say what it does not hear of", func() error {
		got := c.nodeStatus("node-1")
		for _, kind := range []string{"NetworkPolicy", "KubernetesNetworkPolicy", "WorkloadEndpoint"} {
			_, after, found := strings.Cut(got, "not heard of: "+kind+" since ")
			if !found {
				return fmt.Errorf("nothing of %s in\n%s", kind, got)
			}
			text, _, _ := strings.Cut(after, ": ")
			if since, err := time.Parse(time.RFC3339, text); err != nil || since.After(killed) || killed.Sub(since) > 2*time.Minute {
				return fmt.Errorf("%s since %q, killed at %s: %w", kind, text, killed, err)
			}
		}
		return nil
	})
	if got := c.nodeStatus("node-1"); !strings.Contains(got, "node-1: enforcing on linux") {
		t.Errorf("it says\n%s", got)
	}
	c.wantDenied(front, back, 82)
	if o := c.Try(t.Context(), []lab.Attempt{{From: front, To: back, Addr: back.Addr[0], Port: 80}}, time.Second)[0]; !o.Allowed {
		t.Errorf("what was allowed is not: %v", o.Err)
	}

	if err := c.server.Restart(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the node to hear of everything again", func() error {
		if got := c.nodeStatus("node-1"); strings.Contains(got, "not heard of") {
			return fmt.Errorf("it says\n%s", got)
		}
		return nil
	})
	waitFor(t, "the report to say that nothing is stale", func() error {
		got := c.server.Kubectl(t, "get", "nodereport", "node-1", "--ignore-not-found", "-o", "jsonpath={.metadata.name} stale since {.status.staleSince}")
		if got != "node-1 stale since " {
			return fmt.Errorf("it says %q", got)
		}
		return nil
	})
}

// wantDenied tries until a connection is denied.
func (c *kubeCluster) wantDenied(from, to *lab.Pod, port uint16) {
	c.t.Helper()
	waitFor(c.t, fmt.Sprintf("%s to port %d of %s to be denied", from.ID(), port, to.ID()), func() error {
		o := c.Try(c.t.Context(), []lab.Attempt{{From: from, To: to, Addr: to.Addr[0], Port: port}}, time.Second)[0]
		if o.Err != nil || o.Allowed {
			return fmt.Errorf("allowed %v, error %w", o.Allowed, o.Err)
		}
		return nil
	})
}
