package agent

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/dptest"
	"github.com/felid-net/felid/dataplane_windows/hns"
	"github.com/felid-net/felid/test/windows/emulator"
	"github.com/felid-net/felid/test/windows/wine"
)

// put gives a pod's endpoint these ACLs, as whoever made it did.
func (n *node) put(t *testing.T, pod string, acls ...hns.ACL) {
	t.Helper()
	var raw []json.RawMessage
	for _, a := range acls {
		raw = append(raw, a.Raw())
	}
	if err := hns.NewClient(n.Calls()).PutACLs(n.endpoints[pod], raw); err != nil {
		t.Fatal(err)
	}
}

// wireserver tells whether web gets to Azure's own service on each host, which its plugin blocks.
func (n *node) wireserver(t *testing.T) bool {
	t.Helper()
	nextPort++
	v, err := n.Verdict(emulator.Packet{From: n.endpoints["web"], Tuple: dptest.Tuple{Src: web, Dst: netip.MustParseAddr("168.63.129.16"), Protocol: dataplane.ProtoTCP, SrcPort: nextPort, DstPort: 80}})
	if err != nil {
		t.Fatal(err)
	}
	return v.Action == dataplane.Allow
}

// TestBesideAzure: what Azure's plugin has put on an endpoint stays in force, with felid and after it.
func TestBesideAzure(t *testing.T) {
	n := newNode(t, emulator.Options{}, wine.Options{})
	for pod := range n.endpoints {
		n.put(t, pod,
			hns.ACL{Action: hns.Block, Direction: hns.Out, RuleType: hns.Switch, Protocols: "6", RemoteAddresses: "168.63.129.16", RemotePorts: "80", Priority: 200},
			hns.ACL{Action: hns.Allow, Direction: hns.In, RuleType: hns.Switch, Priority: 65500}, hns.ACL{Action: hns.Allow, Direction: hns.Out, RuleType: hns.Switch, Priority: 65500},
			hns.ACL{Action: hns.Allow, Direction: hns.In, RuleType: hns.Host}, hns.ACL{Action: hns.Allow, Direction: hns.Out, RuleType: hns.Host})
	}
	before := n.lists(t)
	n.write(t, "resources/all.yaml", pods+"---\n"+appFromWeb(80))
	a := n.Start(t, n.exe, n.flags("local:"+wine.Path(n.path("resources")))...)
	n.awaitReady(t, a.Output)
	if !n.passes(t, 80) || n.passes(t, 81) || n.wireserver(t) {
		t.Errorf("80: %t, 81: %t, wireserver: %t\n%s", n.passes(t, 80), n.passes(t, 81), n.wireserver(t), n.lists(t))
	}
	if err := a.Stop(); err != nil {
		t.Errorf("%v\n%s", err, a.Output())
	}
	cmd := n.Command(t.Context(), n.exe, "node", "cleanup", "--node", "win-1", "--state-dir", wine.Path(n.path("state")),
		"--cni-bin-dir", wine.Path(n.path("bin")), "--cni-conf-dir", wine.Path(n.path("conf")))
	if out, err := cmd.CombinedOutput(); err != nil || n.lists(t) != before || n.wireserver(t) {
		t.Errorf("%v\n%s\n%sbefore felid:\n%s", err, out, n.lists(t), before)
	}
}

// TestBesideAnotherEngine: at an endpoint that another engine polices felid writes nothing, and says so before it starts and while it runs.
func TestBesideAnotherEngine(t *testing.T) {
	n := newNode(t, emulator.Options{}, wine.Options{})
	n.put(t, "app", hns.ACL{ID: "azure-acl-shop-app", Action: hns.Block, Direction: hns.In, RuleType: hns.Switch, Priority: 3000})
	theirs := strings.Split(n.lists(t), "web ")[0]
	n.write(t, "resources/all.yaml", pods+"---\n"+appFromWeb(80))
	a := n.Start(t, n.exe, n.flags("local:"+wine.Path(n.path("resources")))...)
	eventually(t, "it says which pod it does not police", func() (bool, string) {
		code, body := n.ask(t, "/readyz")
		return code == http.StatusServiceUnavailable && strings.Contains(body, "not in force: pod/shop/app"), body + a.Output()
	})
	if ours := n.lists(t); !strings.HasPrefix(ours, theirs) || strings.Contains(strings.Split(ours, "web ")[0], "felid/") || !strings.Contains(ours, "felid/") {
		t.Errorf("%s", ours)
	}
	if !strings.Contains(a.Output(), "there are ACLs of Azure NPM on endpoints of pods (azure-acl-shop-app)") {
		t.Errorf("%s", a.Output())
	}
	out, err := n.Command(t.Context(), n.exe, "node", "check", "--node", "win-1", "--datastore", "local:"+wine.Path(n.path("resources"))).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "note: node win-1: there are ACLs of Azure NPM") {
		t.Errorf("felid node check: %v\n%s", err, out)
	}
}
