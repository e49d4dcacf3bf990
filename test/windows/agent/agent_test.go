package agent

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/felid-net/felid/dataplane_windows/hns"
	"github.com/felid-net/felid/dataplane_windows/probe"
	"github.com/felid-net/felid/test/windows/emulator"
	"github.com/felid-net/felid/test/windows/wine"
)

// TestAgent: it becomes ready, polices pods by what a directory says, follows changes, and is replaced without a change of what is in force.
func TestAgent(t *testing.T) {
	for name, c := range map[string]struct {
		build int
		o     wine.Options
		form  string
	}{
		"2022": {emulator.Server2022, wine.Options{}, "hns: plain addresses"},
		"2025": {emulator.Server2025, wine.Options{}, "hns: plain addresses"},
		"sets": {emulator.Server2025, wine.Options{}, "hns: sets, IPv6"},
		"race": {emulator.Server2022, wine.Options{Race: true}, "hns: plain addresses"},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, emulator.Options{Build: c.build}, c.o)
			if name == "sets" { // as if a probe had found that everything holds: Wine has no packets to find that out by
				if err := probe.Save(n.path("state"), probe.Assume(c.build, n.Version())); err != nil {
					t.Fatal(err)
				}
			}
			lifeOfAnAgent(t, n, c.form)
		})
	}
}

func lifeOfAnAgent(t *testing.T, n *node, form string) {
	n.write(t, "resources/pods.yaml", pods)
	n.write(t, "resources/policy.yaml", appFromWeb(6379))
	flags := n.flags("local:" + wine.Path(n.path("resources")))
	a := n.Start(t, n.exe, flags...)
	n.awaitReady(t, a.Output)
	n.awaitPort(t, 6379, true, a.Output)
	if n.passes(t, 80) {
		t.Errorf("port 80 of app is open:\n%s", n.lists(t))
	}
	n.write(t, "resources/policy.yaml", appFromWeb(80))
	n.awaitPort(t, 80, true, a.Output)
	if n.passes(t, 6379) {
		t.Errorf("port 6379 of app is open still:\n%s", n.lists(t))
	}
	n.judgeStatus(t, form)
	for _, addr := range hostAddresses(t) { // a node may reach its own pods, from any of its addresses; the Node object says none of them
		if !n.reaches(t, emulator.Packet{FromHost: true}, addr, 9999) {
			t.Errorf("from the node's own address %s app can't be reached:\n%s", addr, n.lists(t))
		}
	}
	if n.reaches(t, emulator.Packet{}, netip.MustParseAddr("203.0.113.9"), 9999) {
		t.Errorf("from elsewhere app can be reached:\n%s", n.lists(t))
	}
	stopped := time.Now()
	if err := a.Stop(); err != nil || time.Since(stopped) > 5*time.Second {
		t.Errorf("after CTRL_SHUTDOWN it took %s: %v\n%s", time.Since(stopped), err, a.Output())
	}
	if !strings.Contains(a.Output(), "felid agent ends; its rules stay in place") || strings.Contains(a.Output(), "DATA RACE") {
		t.Errorf("%s", a.Output())
	}
	before := n.lists(t)
	n.ResetLog()
	a = n.Start(t, n.exe, flags...)
	n.awaitReady(t, a.Output)
	if after := n.lists(t); after != before || n.modifies() != 0 || !n.passes(t, 80) || n.passes(t, 6379) {
		t.Errorf("%d changes by the next agent, of\n%sto\n%s", n.modifies(), before, after)
	}
	a.Kill()
	if after := n.lists(t); after != before {
		t.Errorf("killed, it left\n%safter\n%s", after, before)
	}
	n.judgeCleanup(t)
}

// judgeCleanup takes felid off the node.
func (n *node) judgeCleanup(t *testing.T) {
	t.Helper()
	cmd := n.Command(t.Context(), n.exe, "node", "cleanup", "--node", "win-1", "--state-dir", wine.Path(n.path("state")),
		"--cni-bin-dir", wine.Path(n.path("bin")), "--cni-conf-dir", wine.Path(n.path("conf")))
	if out, err := cmd.CombinedOutput(); err != nil || n.lists(t) != "" || !n.passes(t, 6379) {
		t.Errorf("after felid node cleanup: %v\n%s\n%s", err, out, n.lists(t))
	}
	networks, err := hns.NewClient(n.Calls()).Networks()
	if err != nil || len(networks) != 1 || len(networks[0].Sets) != 0 {
		t.Errorf("%+v, %v", networks, err)
	}
}

// judgeStatus looks at what the agent says of itself.
func (n *node) judgeStatus(t *testing.T, form string) {
	t.Helper()
	var status struct {
		Dataplane string
		Endpoints int
		Ungated   []string
		Uncovered []string
	}
	_, body := n.ask(t, "/status")
	if err := json.Unmarshal([]byte(body), &status); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	if status.Dataplane != form || status.Endpoints != 2 || len(status.Uncovered) != 0 || !slices.Equal(status.Ungated, []string{"pod/shop/app", "pod/shop/web"}) {
		t.Errorf("%s", body)
	}
	if code, body := n.ask(t, "/healthz"); code != http.StatusOK {
		t.Errorf("healthz: %d %s", code, body)
	}
	_, metrics := n.ask(t, "/metrics")
	for _, want := range []string{"\nfelid_endpoints 2\n", "\nfelid_uncovered_endpoints 0\n", "\nfelid_in_sync 1\n", "\nprocess_resident_memory_bytes ", "\ngo_goroutines "} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %q in the metrics:\n%s", want, metrics)
		}
	}
	out, err := n.Command(t.Context(), n.exe, "node", "status", "--listen", n.listen).CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "win-1: enforcing on windows ("+form+")") || !strings.Contains(string(out), "2 endpoints") {
		t.Errorf("felid node status: %v\n%s", err, out)
	}
}

// TestHNSAway: while HNS does not answer, the agent runs, says so, and is not ready; when it does, everything is in force by itself. A stop waits for
// nobody.
func TestHNSAway(t *testing.T) {
	n := newNode(t, emulator.Options{}, wine.Options{})
	n.write(t, "resources/all.yaml", pods+"---\n"+appFromWeb(80))
	n.Stop()
	a := n.Start(t, n.exe, n.flags("local:"+wine.Path(n.path("resources")))...)
	eventually(t, "it says that HNS does not answer", func() (bool, string) {
		code, body := n.ask(t, "/readyz")
		return code == http.StatusServiceUnavailable && strings.Contains(body, "dataplane"), body + a.Output()
	})
	if code, body := n.ask(t, "/healthz"); code != http.StatusOK {
		t.Errorf("it lives: %d %s", code, body)
	}
	n.Server.Start()
	n.awaitReady(t, a.Output)
	if !n.passes(t, 80) || n.passes(t, 81) {
		t.Errorf("%s", n.lists(t))
	}
	released := make(chan struct{})
	defer close(released)
	n.Inject(emulator.Fault{Op: emulator.OpModify, Do: func() { <-released }})
	n.write(t, "resources/all.yaml", pods+"---\n"+appFromWeb(81))
	eventually(t, "a call to HNS hangs", func() (bool, string) {
		code, body := n.ask(t, "/readyz")
		return code == http.StatusServiceUnavailable, body
	})
	stopped := time.Now()
	err := a.Stop()
	if took := time.Since(stopped); took > 6*time.Second || err != nil && !strings.Contains(a.Output(), "not everything ended in time") {
		t.Errorf("while HNS hangs, it took %s to stop: %v\n%s", took, err, a.Output())
	}
}

// TestHNSHangsAtStart: an agent starts while HNS answers nothing, and enforces when it does.
func TestHNSHangsAtStart(t *testing.T) {
	n := newNode(t, emulator.Options{}, wine.Options{})
	n.write(t, "resources/all.yaml", pods+"---\n"+appFromWeb(80))
	released := make(chan struct{})
	n.Inject(emulator.Fault{Op: emulator.OpEnumerate, Do: func() { <-released }})
	a := n.Start(t, n.exe, append(n.flags("local:"+wine.Path(n.path("resources"))), "--probe=false")...)
	eventually(t, "it lives", func() (bool, string) {
		code, body := n.ask(t, "/healthz")
		return code == http.StatusOK, body + a.Output()
	})
	if code, body := n.ask(t, "/readyz"); code != http.StatusServiceUnavailable {
		t.Errorf("ready, while HNS hangs: %d %s", code, body)
	}
	close(released)
	n.awaitReady(t, a.Output)
	if !n.passes(t, 80) || n.passes(t, 81) {
		t.Errorf("%s", n.lists(t))
	}
}

// TestSettingsOfTheDaemonSet: what deploy/windows gives the agent is what it takes.
func TestSettingsOfTheDaemonSet(t *testing.T) {
	manifest, err := os.ReadFile("../../../deploy/windows/node.yaml")
	if err != nil {
		t.Fatal(err)
	}
	n := newNode(t, emulator.Options{}, wine.Options{})
	cmd := n.Command(t.Context(), n.exe, "agent", "--print-config")
	cmd.Env = append(cmd.Env, append(environment(t, manifest), "FELID_NODE=win-1")...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		`cniBinDir: "C:\\opt\\cni\\bin" # environment`, `cniConfDir: "C:\\etc\\cni\\net.d" # environment`, `datastore: "kube" # environment`, `node: "win-1" # environment`,
		`network: "guest" # default`, `socket: "\\\\.\\pipe\\felid" # default`, `stateDir: "C:\\ProgramData\\felid" # default`,
	} {
		if !strings.Contains(strings.Join(strings.Fields(string(out)), " "), want) {
			t.Errorf("no %s in\n%s", want, out)
		}
	}
	cmd = n.Command(t.Context(), n.exe, "agent", "--node", "win-1", "--datastore", "kube", "--deny-events")
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "denyEvents (from flag)") {
		t.Errorf("%v\n%s", err, out)
	}
}
