package mixed

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/felid-net/felid/dataplane/dptest"
	"github.com/felid-net/felid/dataplane_windows/hns"
	"github.com/felid-net/felid/dataplane_windows/probe"
	"github.com/felid-net/felid/internal/agent"
	"github.com/felid-net/felid/test/kubernetes"
	"github.com/felid-net/felid/test/windows/emulator"
	"github.com/felid-net/felid/test/windows/wine"
)

// statusOf asks an agent what it says of its node.
type statusOf func(ctx context.Context) (*agent.Status, error)

func newStatusOf(address string, dial func(network, address string) (net.Conn, error)) statusOf {
	client := &http.Client{Transport: &http.Transport{DialContext: func(_ context.Context, network, address string) (net.Conn, error) { return dial(network, address) }}}
	return func(ctx context.Context) (*agent.Status, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/status", nil)
		if err != nil {
			return nil, err
		}
		response, err := client.Do(request)
		if err != nil {
			return nil, err
		}
		defer response.Body.Close()
		s := &agent.Status{}
		return s, json.NewDecoder(response.Body).Decode(s)
	}
}

// linuxNode is a namespace with an agent.
type linuxNode struct {
	space  *dptest.Namespace
	status statusOf
	log    string
}

// agentFlags are those of every agent: it is beside another plugin, which these tests are themselves, and no pod comes through its gate.
func agentFlags(node, state, listen, kubeconfig string) []string {
	return []string{"agent", "--node", node, "--datastore", "kube", "--kubeconfig", kubeconfig, "--network", "guest", "--socket", "", "--state-dir", state, "--listen", listen}
}

func startLinuxNode(t *testing.T, name, felid string, server *kubernetes.Server) *linuxNode {
	t.Helper()
	n := &linuxNode{space: dptest.NewNamespace(t), log: filepath.Join(t.TempDir(), "agent.log")}
	nl := n.space.Netlink()
	lo, err := nl.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	if err := nl.LinkSetUp(lo); err != nil {
		t.Fatal(err)
	}
	forward(t, n.space, server.Config.Host)
	const listen = "127.0.0.1:9199"
	n.status = newStatusOf(listen, n.dial)
	out, err := os.Create(n.log)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	flags := append(agentFlags(name, t.TempDir(), listen, server.Kubeconfig), "--interface-prefix", dptest.InterfacePrefix)
	cmd := exec.Command(felid, append(flags, "--iptables-lock-file", filepath.Join(t.TempDir(), "xtables.lock"))...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := n.space.Do(cmd.Start); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return n
}

func (n *linuxNode) dial(network, address string) (c net.Conn, err error) {
	doErr := n.space.Do(func() error {
		c, err = net.Dial(network, address)
		return err
	})
	return c, doErr
}

// forward carries connections to the API server's address out of a namespace.
func forward(t *testing.T, space *dptest.Namespace, host string) {
	t.Helper()
	u, err := url.Parse(host)
	if err != nil {
		t.Fatal(err)
	}
	var l net.Listener
	err = space.Do(func() (err error) {
		l, err = net.Listen("tcp", u.Host)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			inside, err := l.Accept()
			if err != nil {
				return
			}
			go carry(inside, u.Host)
		}
	}()
}

func carry(inside net.Conn, address string) {
	defer inside.Close()
	outside, err := net.Dial("tcp", address)
	if err != nil {
		return // the agent sees its connection end
	}
	defer outside.Close()
	go func() {
		_, _ = io.Copy(outside, inside)
		_ = outside.Close()
	}()
	_, _ = io.Copy(inside, outside)
}

// windowsNode is an HNS with an agent under Wine.
type windowsNode struct {
	*wine.Node
	client  *hns.Client
	network string // ID
	status  statusOf
	agent   *wine.Container
}

// startWindowsNode starts an agent whose lists have plain addresses, or that has the other form, sets, and the race detector.
func startWindowsNode(t *testing.T, name string, build int, modern bool, server *kubernetes.Server) *windowsNode {
	t.Helper()
	n := &windowsNode{Node: wine.NewNode(t, emulator.Options{Build: build})}
	n.client = hns.NewClient(n.Calls())
	network, err := n.client.CreateNetwork(hns.NewNetwork{Name: "azure", Type: "L2Bridge", Subnets: []hns.Subnet{
		{Prefix: netip.MustParsePrefix("10.65.0.0/16"), Gateway: netip.MustParseAddr("10.65.255.254")},
		{Prefix: netip.MustParsePrefix("fd00:65::/64"), Gateway: netip.MustParseAddr("fd00:65::ffff")},
	}})
	if err != nil {
		t.Fatal(err)
	}
	n.network = network.ID
	listen := freeAddress(t)
	n.status = newStatusOf(listen, net.Dial)
	exe, state := wine.Program(t, "./cmd/felid", wine.Options{Race: modern}), t.TempDir()
	// The agent finds what its probe has proven: under Wine, no packets can be sent.
	if err := probe.Save(state, proven(build, n.Version(), modern)); err != nil {
		t.Fatal(err)
	}
	flags := append(agentFlags(name, wine.Path(state), listen, wine.Path(server.Kubeconfig)), "--probe=false")
	n.agent = n.Start(t, exe, flags...)
	return n
}

// firstOfSets is the first assumption about sets in docs/windows.md, which come last but for that about versions.
const firstOfSets probe.Assumption = 34

// proven is the result of a probe by which lists have IPv6, and name sets or not.
func proven(build int, v hns.Version, sets bool) probe.Result {
	r := probe.Assume(build, v)
	for i := range r.Findings {
		if !sets && r.Findings[i].Assumption >= firstOfSets {
			r.Findings[i].Outcome = probe.NotTried
		}
	}
	return r
}

// freeAddress is one that nothing listens on just now.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// connect makes a pod's endpoint and attaches it; it goes with the test.
func (n *windowsNode) connect(t *testing.T, name string, addresses []netip.Prefix) {
	t.Helper()
	e, err := n.client.CreateEndpoint(hns.NewEndpoint{Name: name, Network: n.network, Addresses: addresses})
	if err != nil {
		t.Fatal(err)
	}
	ns, err := n.client.CreateNamespace("")
	if err != nil {
		t.Fatal(err)
	}
	if err := n.client.Attach(ns.ID, e.ID); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.client.DeleteEndpoint(e.ID); err != nil {
			t.Error(err)
		}
		if err := n.client.DeleteNamespace(ns.ID); err != nil {
			t.Error(err)
		}
	})
}

// build makes felid for this machine.
func build(t *testing.T) string {
	t.Helper()
	exe := filepath.Join(t.TempDir(), "felid")
	cmd := exec.Command("go", "build", "-o", exe, "github.com/felid-net/felid/cmd/felid")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatal(fmt.Errorf("building felid: %w\n%s", err, out))
	}
	return exe
}
