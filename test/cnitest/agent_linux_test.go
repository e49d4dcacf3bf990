package cnitest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/datastore/local"
)

func TestMain(m *testing.M) { os.Exit(Main(m)) }

// TestAgent is the whole thing: the plugin, the felid agent with iptables, a directory store.
func TestAgent(t *testing.T) {
	program := buildAgent(t)
	Run(t, func(t *testing.T) World { return newAgent(t, program) })
}

// BenchmarkAgentAdd measures the plugin's process with policy in force at its end.
func BenchmarkAgentAdd(b *testing.B) { BenchmarkAdd(b, newAgent(b, buildAgent(b))) }

// BenchmarkAgentAddParallel starts twenty at once.
func BenchmarkAgentAddParallel(b *testing.B) { BenchmarkAddParallel(b, newAgent(b, buildAgent(b))) }

func buildAgent(t testing.TB) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "felid")
	Command(t, "go", "build", "-o", program, "github.com/felid-net/felid/cmd/felid")
	return program
}

// agent is a node with a felid agent in a process of its own.
type agent struct {
	program, dir, netns string
	flags               []string // further ones
	store               datastore.Store
	look                func() datastore.Store // the store as it is now: w.store hears of others' changes a little later
	process             *exec.Cmd
	log                 *bytes.Buffer
}

func newAgent(t testing.TB, program string, flags ...string) *agent {
	t.Helper()
	dir, err := os.MkdirTemp("", "felid") // short: a socket's path has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	w := &agent{program: program, dir: dir, flags: flags, netns: NewNetns(t, "node"), log: new(bytes.Buffer)}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	w.look = func() datastore.Store { return openLocal(t, filepath.Join(dir, "store")) }
	w.store = w.look()
	for name, cidr := range map[string]string{"pool-4": Pool4, "pool-6": Pool6} {
		pool := &v3.IPPool{Spec: v3.IPPoolSpec{CIDR: cidr}}
		pool.Kind, pool.APIVersion, pool.Name = string(v3.KindIPPool), v3.APIVersion, name
		w.create(t, pool)
	}
	profile := &v3.Profile{Spec: v3.ProfileSpec{Ingress: []v3.Rule{{Action: v3.Allow}}, Egress: []v3.Rule{{Action: v3.Allow}}}}
	profile.Kind, profile.APIVersion, profile.Name = string(v3.KindProfile), v3.APIVersion, "kns.web"
	w.create(t, profile)
	w.start(t)
	t.Cleanup(func() {
		w.kill()
		if t.Failed() {
			t.Logf("agent:\n%s", w.log)
		}
	})
	return w
}

func openLocal(t testing.TB, dir string) datastore.Store {
	t.Helper()
	store, err := local.Open(dir, local.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

func (w *agent) create(t testing.TB, o v3.Object) {
	t.Helper()
	if _, err := w.store.Create(context.Background(), o); err != nil {
		t.Fatal(err)
	}
}

func (w *agent) start(t testing.TB) {
	t.Helper()
	args := []string{"netns", "exec", w.netns, w.program, "agent", "--node", w.Node(), "--datastore", "local:" + filepath.Join(w.dir, "store"),
		"--socket", w.Socket(), "--state-dir", w.dir, "--listen", "", "--iptables-lock-file", filepath.Join(w.dir, "xtables.lock")}
	w.process = exec.Command("ip", append(args, w.flags...)...)
	w.process.Stdout, w.process.Stderr = w.log, w.log
	if err := w.process.Start(); err != nil {
		t.Fatal(err)
	}
	Eventually(t, func() error { return Serving(w) })
}

func (w *agent) kill() {
	if w.process != nil {
		_ = w.process.Process.Kill()
		_ = w.process.Wait()
		w.process = nil
	}
}

func (w *agent) Start(t *testing.T)     { w.start(t) }
func (w *agent) Kill(*testing.T)        { w.kill() }
func (w *agent) Netns() string          { return w.netns }
func (w *agent) Socket() string         { return filepath.Join(w.dir, "cni.sock") }
func (w *agent) Node() string           { return "node-1" }
func (w *agent) Store() datastore.Store { return w.look() }

// TestAgentEnforcesAtOnce: when ADD answers, what policy denies is denied, and what it allows is allowed.
func TestAgentEnforcesAtOnce(t *testing.T) {
	w := newAgent(t, buildAgent(t))
	closed := &v3.NetworkPolicy{Spec: v3.NetworkPolicySpec{PolicySpec: v3.PolicySpec{
		Tier: "default", Selector: "app == 'closed'", Types: []v3.PolicyType{v3.PolicyTypeIngress}}}}
	closed.Kind, closed.APIVersion, closed.Namespace, closed.Name = string(v3.KindNetworkPolicy), v3.APIVersion, "web", "closed"
	w.create(t, closed)
	c := newContainers(t, w)
	labelled := c.with("args", map[string]any{"cni": map[string]any{"labels": []map[string]string{{"key": "app", "value": "closed"}}}})
	client := newSandbox(t, "web/client")
	c.mustAdd(t, client)
	for i := range 5 {
		shut := newSandbox(t, fmt.Sprintf("web/shut-%d", i))
		for _, addr := range labelled.mustAdd(t, shut) {
			if reach(client, shut, addr) == nil {
				t.Errorf("%s is reached, though policy denies it", addr)
			}
		}
		open := newSandbox(t, fmt.Sprintf("web/open-%d", i))
		for _, addr := range c.mustAdd(t, open) {
			if err := reach(client, open, addr); err != nil {
				t.Errorf("%s: %v", addr, err)
			}
		}
	}
}
