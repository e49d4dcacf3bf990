package agent

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/dptest"
	"github.com/felid-net/felid/dataplane_windows/hns"
	"github.com/felid-net/felid/test/kubernetes"
	"github.com/felid-net/felid/test/windows/emulator"
	"github.com/felid-net/felid/test/windows/wine"
)

func TestMain(m *testing.M) { os.Exit(kubernetes.Main(m)) }

// patience bounds what takes a second or two on a machine that is not busy.
const patience = 60 * time.Second

func eventually(t *testing.T, what string, done func() (bool, string)) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		ok, why := done()
		if ok {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s: %s", patience, what, why)
		}
	}
}

// node is a Windows node, whose network is somebody else's: an HNS network with the endpoints of two pods, web and app.
type node struct {
	*wine.Node
	exe       string
	folder    string            // of resources, state and logs
	listen    string            // of the agent
	network   string            // the other plugin's, by its ID
	endpoints map[string]string // IDs, by pod
}

var (
	web = netip.MustParseAddr("10.240.0.11")
	app = netip.MustParseAddr("10.240.0.12")
)

func newNode(t *testing.T, o emulator.Options, w wine.Options) *node {
	t.Helper()
	n := &node{Node: wine.NewNode(t, o), exe: wine.Program(t, "./cmd/felid", w), folder: t.TempDir(), listen: freeAddress(t), endpoints: map[string]string{}}
	network, err := hns.NewClient(n.Calls()).CreateNetwork(hns.NewNetwork{Name: "azure", Type: "L2Bridge", Subnets: []hns.Subnet{
		{Prefix: netip.MustParsePrefix("10.240.0.0/16"), Gateway: netip.MustParseAddr("10.240.0.1")}}})
	if err != nil {
		t.Fatal(err)
	}
	n.network = network.ID
	n.connect(t, "web", web)
	n.connect(t, "app", app)
	return n
}

// connect makes a pod's namespace and its endpoint there, as containerd and the other plugin do; the namespace's ID.
func (n *node) connect(t *testing.T, pod string, addr netip.Addr) string {
	t.Helper()
	calls := hns.NewClient(n.Calls())
	endpoint, err := calls.CreateEndpoint(hns.NewEndpoint{Name: pod, Network: n.network, Addresses: []netip.Prefix{netip.PrefixFrom(addr, 16)}})
	if err != nil {
		t.Fatal(err)
	}
	namespace, err := calls.CreateNamespace("")
	if err != nil {
		t.Fatal(err)
	}
	if err := calls.Attach(namespace.ID, endpoint.ID); err != nil {
		t.Fatal(err)
	}
	n.endpoints[pod] = endpoint.ID
	return namespace.ID
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// path of a file of the node, as Linux names it.
func (n *node) path(name string) string { return filepath.Join(n.folder, name) }

// write makes a file of the node.
func (n *node) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(n.path(name)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(n.path(name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// flags of an agent of the node.
func (n *node) flags(datastore string) []string {
	return []string{"agent", "--node", "win-1", "--datastore", datastore, "--state-dir", wine.Path(n.path("state")), "--listen", n.listen,
		"--socket", `\\.\pipe\felid-` + strings.ReplaceAll(n.listen, ":", "-")}
}

// ask gets something from the agent.
func (n *node) ask(t *testing.T, path string) (status int, body string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.listen+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err.Error()
	}
	return response.StatusCode, string(data)
}

// awaitReady waits until everything is in force.
func (n *node) awaitReady(t *testing.T, output func() string) {
	t.Helper()
	eventually(t, "the agent is ready", func() (bool, string) {
		status, body := n.ask(t, "/readyz")
		return status == http.StatusOK, body + "\n" + output()
	})
}

// ports of different connections.
var nextPort = uint16(30000)

// passes tells what becomes of a new connection from web to app.
func (n *node) passes(t *testing.T, port uint16) bool {
	t.Helper()
	return n.reaches(t, emulator.Packet{From: n.endpoints["web"]}, web, port)
}

// reaches tells what becomes of a new connection to app from an address, by a way.
func (n *node) reaches(t *testing.T, p emulator.Packet, from netip.Addr, port uint16) bool {
	t.Helper()
	p.To = n.endpoints["app"]
	return n.arrives(t, p, from, app, port)
}

// arrives tells what becomes of a new connection between two addresses, by a way.
func (n *node) arrives(t *testing.T, p emulator.Packet, from, to netip.Addr, port uint16) bool {
	t.Helper()
	nextPort++
	p.Tuple = dptest.Tuple{Src: from, Dst: to, Protocol: dataplane.ProtoTCP, SrcPort: nextPort, DstPort: port}
	v, err := n.Verdict(p)
	if err != nil {
		t.Fatal(err)
	}
	return v.Action == dataplane.Allow
}

// hostAddresses are those of the machine that Wine runs on, and so of the node: IPv4, without loopback and link-local ones.
func hostAddresses(t *testing.T) []netip.Addr {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	var out []netip.Addr
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && p.Addr().IsGlobalUnicast() {
			out = append(out, p.Addr())
		}
	}
	return out
}

// awaitPort waits until a port of app is as it should be.
func (n *node) awaitPort(t *testing.T, port uint16, open bool, output func() string) {
	t.Helper()
	eventually(t, fmt.Sprintf("port %d of app is open: %t", port, open), func() (bool, string) { return n.passes(t, port) == open, output() })
}

// lists are the ACLs of the pods, as HNS has them.
func (n *node) lists(t *testing.T) string {
	t.Helper()
	var all bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(n.endpoints)) {
		e, err := hns.NewClient(n.Calls()).Endpoint(n.endpoints[name])
		if err != nil {
			t.Fatal(err)
		}
		for _, raw := range e.Raw {
			fmt.Fprintf(&all, "%s %s\n", name, raw)
		}
	}
	return all.String()
}

// modifies counts the changes of endpoints that HNS was asked for.
func (n *node) modifies() int {
	calls, _ := n.Count(emulator.OpModify, hns.KindEndpoint)
	return calls
}

const pods = `apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {kubernetes.io/metadata.name: shop}}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {run: web}}
spec: {nodeName: win-1, containers: [{name: c, image: x}]}
status: {phase: Running, podIP: 10.240.0.11, podIPs: [{ip: 10.240.0.11}]}
---
apiVersion: v1
kind: Pod
metadata: {name: app, namespace: shop, labels: {run: app}}
spec: {nodeName: win-1, containers: [{name: c, image: x}]}
status: {phase: Running, podIP: 10.240.0.12, podIPs: [{ip: 10.240.0.12}]}
`

// appFromWeb lets web reach one port of app.
func appFromWeb(port uint16) string { return fromWeb("app", port) }

// fromWeb lets web reach one port of a pod, and nobody else anything of it.
func fromWeb(pod string, port uint16) string {
	return fmt.Sprintf(`apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: %[1]s, namespace: shop}
spec:
  podSelector: {matchLabels: {run: %[1]s}}
  policyTypes: [Ingress]
  ingress:
  - from: [{podSelector: {matchLabels: {run: web}}}]
    ports: [{protocol: TCP, port: %[2]d}]
`, pod, port)
}
