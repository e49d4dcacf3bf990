package agent

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/felid-net/felid/test/windows/emulator"
	"github.com/felid-net/felid/test/windows/wine"
)

// tool runs a program of Windows, by its name.
func (n *node) tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	defer cancel()
	out, err := n.Command(ctx, name, args...).CombinedOutput()
	if err != nil {
		t.Errorf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// emulator is the variable by which a program finds the HNS of the node.
func (n *node) emulator(t *testing.T) string {
	t.Helper()
	for _, e := range n.Command(t.Context(), "").Env {
		if strings.HasPrefix(e, "HNSEMU_ADDR=") {
			return e
		}
	}
	t.Fatal("programs of the node know no HNS")
	return ""
}

// TestService: made as the operator guide says, the agent runs as a service: it enforces, writes its log to a file, and stops when it is told to.
func TestService(t *testing.T) {
	n := newNode(t, emulator.Options{}, wine.Options{})
	n.write(t, "resources/all.yaml", pods+"---\n"+appFromWeb(80))
	n.write(t, "felid.yaml", fmt.Sprintf("node: win-1\ndatastore: 'local:%s'\nstateDir: '%s'\nlisten: %s\nsocket: ''\n",
		wine.Path(n.path("resources")), wine.Path(n.path("state")), n.listen))
	service := "felid-" + strings.ReplaceAll(n.listen, ":", "-")
	// The manager gives services an environment of its own, and Wine's knows no other way to add to it.
	n.tool(t, "sc", "create", service, "binPath=", fmt.Sprintf(`cmd.exe /c set %s&&%s agent --service --config %s`, n.emulator(t), wine.Path(n.exe), wine.Path(n.path("felid.yaml"))))
	t.Cleanup(func() {
		_ = n.Command(context.Background(), "sc", "stop", service).Run() // fails where it is stopped already
		n.tool(t, "sc", "delete", service)
	})
	n.tool(t, "sc", "start", service)
	log := func() string {
		text, err := os.ReadFile(n.path("state/felid.log"))
		if err != nil {
			return err.Error()
		}
		return string(text)
	}
	n.awaitReady(t, log)
	if !n.passes(t, 80) || n.passes(t, 81) {
		t.Errorf("%s", n.lists(t))
	}
	n.tool(t, "sc", "stop", service)
	eventually(t, "the service is stopped", func() (bool, string) {
		out := n.tool(t, "sc", "query", service)
		return strings.Contains(out, "STOPPED"), out + log()
	})
	if !strings.Contains(log(), "felid agent ends; its rules stay in place") || !n.passes(t, 80) || n.passes(t, 81) {
		t.Errorf("%s\n%s", log(), n.lists(t))
	}
}

// TestServiceThatCanNotStart: what is wrong with its settings is in the log, as nobody sees what a service writes elsewhere.
func TestServiceThatCanNotStart(t *testing.T) {
	n := newNode(t, emulator.Options{}, wine.Options{})
	n.write(t, "felid.yaml", fmt.Sprintf("node: win-1\nstateDir: '%s'\nlistn: typo\ndenyEvents: true\n", wine.Path(n.path("state"))))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := n.Command(ctx, n.exe, "agent", "--service", "--config", wine.Path(n.path("felid.yaml"))).CombinedOutput()
	if err == nil {
		t.Errorf("it runs:\n%s", out)
	}
	log, err := os.ReadFile(n.path("state/felid.log"))
	if err != nil || !strings.Contains(string(log), "listn: unknown key") || !strings.Contains(string(log), "denyEvents (from file)") {
		t.Errorf("%v\n%s\n%s", err, log, out)
	}
}

// TestServiceFlagWithoutManager: called by hand, the agent says what started it not.
func TestServiceFlagWithoutManager(t *testing.T) {
	n := newNode(t, emulator.Options{}, wine.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	start := time.Now()
	out, err := n.Command(ctx, n.exe, append(n.flags("local:"+wine.Path(n.folder)), "--service")...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "--service: the service control manager has not started this") {
		t.Errorf("after %s: %v\n%s", time.Since(start), err, out)
	}
}
