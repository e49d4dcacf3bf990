package agent

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/felid-net/felid/api/v1alpha1"
	"github.com/felid-net/felid/test/kubernetes"
	"github.com/felid-net/felid/test/windows/emulator"
	"github.com/felid-net/felid/test/windows/wine"
)

// cluster is a real API server with felid installed, and a Windows node that is tainted.
func cluster(t *testing.T, n *node) *kubernetes.Server {
	t.Helper()
	s := kubernetes.Shared(t)
	s.InstallCRDs(t)
	s.Kubectl(t, "apply", "--server-side", "--force-conflicts", "-k", "../../../deploy")
	s.Kubectl(t, "apply", "--server-side", "--force-conflicts", "-k", "../../../deploy/windows")
	n.write(t, "node.yaml", `apiVersion: v1
kind: Node
metadata: {name: win-1, labels: {kubernetes.io/os: windows}}
spec: {taints: [{key: felid.dev/agent-not-ready, effect: NoSchedule}]}
`)
	n.write(t, "pods.yaml", pods)
	s.Apply(t, n.path("node.yaml"), n.path("pods.yaml"))
	running(t, s, "web", web)
	running(t, s, "app", app)
	return s
}

// running says of a pod what its kubelet does once the runtime has answered.
func running(t *testing.T, s *kubernetes.Server, pod string, addr netip.Addr) {
	t.Helper()
	s.Kubectl(t, "patch", "pod", pod, "--namespace", "shop", "--subresource", "status", "--type", "merge", "--patch",
		fmt.Sprintf(`{"status":{"phase":"Running","podIP":%q,"podIPs":[{"ip":%q}]}}`, addr, addr))
}

// inPod gives the agent what it has in a HostProcess container of containerd 1.6: the volumes below a folder, and the environment of the node.
func inPod(t *testing.T, n *node, s *kubernetes.Server) {
	t.Helper()
	const account = "mount/var/run/secrets/kubernetes.io/serviceaccount/"
	ca, err := os.ReadFile(filepath.Join(s.Dir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	token := s.Kubectl(t, "create", "token", "felid-node", "--namespace", "felid-system", "--bound-object-kind", "Node", "--bound-object-name", "win-1",
		"--bound-object-uid", s.Kubectl(t, "get", "node", "win-1", "--output", "jsonpath={.metadata.uid}"))
	n.write(t, account+"ca.crt", string(ca))
	n.write(t, account+"token", strings.TrimSpace(token))
	n.write(t, account+"namespace", "felid-system")
	server, err := url.Parse(s.Config.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("CONTAINER_SANDBOX_MOUNT_POINT", wine.Path(n.path("mount")))
	t.Setenv("KUBERNETES_SERVICE_HOST", server.Hostname())
	t.Setenv("KUBERNETES_SERVICE_PORT", server.Port())
	t.Setenv("KUBECONFIG", `C:\k\config`)
}

// TestCluster: with the rights of its service account alone, the agent takes the start-up taint off when it enforces, reports, follows policy, and
// goes on without the API server.
func TestCluster(t *testing.T) {
	n := newNode(t, emulator.Options{}, wine.Options{})
	s := cluster(t, n)
	inPod(t, n, s)
	policy := func(port uint16) {
		t.Helper()
		n.write(t, "policy.yaml", appFromWeb(port))
		s.Apply(t, n.path("policy.yaml"))
	}
	policy(6379)
	a := n.Start(t, n.exe, n.flags("kube")...)
	n.awaitReady(t, a.Output)
	if !n.passes(t, 6379) || n.passes(t, 80) {
		t.Errorf("%s", n.lists(t))
	}
	eventually(t, "the start-up taint is off", func() (bool, string) {
		taints := s.Kubectl(t, "get", "node", "win-1", "--output", "jsonpath={.spec.taints}")
		return !strings.Contains(taints, "felid.dev/agent-not-ready"), taints + a.Output()
	})
	policy(80)
	n.awaitPort(t, 80, true, a.Output)
	awaitReport(t, n, s, a)
	s.Stop()
	if code, body := n.ask(t, "/readyz"); code != http.StatusOK || !n.passes(t, 80) {
		t.Errorf("without the API server: %d %s", code, body)
	}
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	policy(81)
	n.awaitPort(t, 81, true, a.Output)
	stopped := time.Now()
	if err := a.Stop(); err != nil || time.Since(stopped) > 5*time.Second {
		t.Errorf("after CTRL_SHUTDOWN it took %s: %v\n%s", time.Since(stopped), err, a.Output())
	}
	if n.passes(t, 80) || !n.passes(t, 81) {
		t.Errorf("after the agent's end:\n%s", n.lists(t))
	}
}

// awaitReport waits until the node's report says what is so.
func awaitReport(t *testing.T, n *node, s *kubernetes.Server, a *wine.Container) {
	t.Helper()
	eventually(t, "the node reports", func() (bool, string) {
		text := s.Kubectl(t, "get", "nodereports.felid.dev", "--output", "json")
		var list struct{ Items []v1alpha1.NodeReport }
		if err := json.Unmarshal([]byte(text), &list); err != nil {
			t.Fatal(err)
		}
		if len(list.Items) != 1 {
			return false, text + a.Output()
		}
		r := &list.Items[0].Status
		return r.OS == "windows" && strings.HasPrefix(r.Dataplane, "hns: ") && r.Endpoints == 2 && r.UngatedCount == 2 && r.UncoveredCount == 0, text
	})
}
