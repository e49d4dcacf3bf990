//go:build linux

package e2e

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore/local"
	"github.com/felid-net/felid/internal/lab"
)

// bin holds the programs, built once from the source as it is.
var bin string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		if os.Getuid() != 0 {
			fmt.Fprintln(os.Stderr, "these tests make network namespaces and need root")
			return 1
		}
		dir, err := os.MkdirTemp("", "felid-e2e-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		bin = dir
		build := exec.Command("go", "build", "-o", dir, "../../cmd/felid", "../../cmd/felid-cni")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "building the programs: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// cluster is a lab with its store, for one test.
type cluster struct {
	*lab.Lab
	t     *testing.T
	store *local.Store
}

func newCluster(t *testing.T, nodes int, flags ...string) *cluster {
	t.Helper()
	l, err := lab.Up(t.Context(), lab.Options{
		Dir: filepath.Join(t.TempDir(), "lab"), Name: fmt.Sprintf("felid-e2e-%d", os.Getpid()), Bin: bin, Nodes: nodes, IPv6: true, Agent: flags,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, n := range l.Nodes {
				log, _ := os.ReadFile(l.Log(n.Name))
				t.Logf("log of %s:\n%s", n.Name, tail(string(log), 40))
			}
		}
		if err := l.Down(context.Background()); err != nil {
			t.Error(err)
		}
	})
	store, err := local.Open(strings.TrimPrefix(l.Store(), "local:"), local.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return &cluster{l, t, store}
}

func tail(text string, lines int) string {
	all := strings.Split(text, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// apply writes the resources of a text into the store, Kubernetes' own as they are.
func (c *cluster) apply(yaml string) {
	c.t.Helper()
	found, errs := local.Parse("test", []byte(yaml))
	if v3.Failed(errs) {
		c.t.Fatal(errs)
	}
	for _, raw := range found.Raw {
		if _, err := c.store.PutRaw(c.t.Context(), raw, local.PutApply); err != nil {
			c.t.Fatalf("%s: %v", raw.Origin, err)
		}
	}
	for _, f := range found.Found {
		if f.Origin == "" {
			v3.SetDefaults(f.Object)
			if err := put(c.t.Context(), c.store, f.Object); err != nil {
				c.t.Fatalf("%s: %v", v3.KeyOf(f.Object), err)
			}
		}
	}
}

func put(ctx context.Context, s *local.Store, o v3.Object) error {
	if _, err := s.Get(ctx, v3.KeyOf(o)); err != nil {
		_, err = s.Create(ctx, o)
		return err
	}
	_, err := s.Update(ctx, o)
	return err
}

// addPod stores a Pod with labels and connects it.
func (c *cluster) addPod(node, namespace, name string, labels map[string]string, ports ...uint16) *lab.Pod {
	c.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: v1\nkind: Pod\nmetadata:\n  name: %s\n  namespace: %s\n  labels: {", name, namespace)
	for k, v := range labels {
		fmt.Fprintf(&b, "%s: %q, ", k, v)
	}
	fmt.Fprintf(&b, "}\nspec:\n  nodeName: %s\n  containers: [{name: c}]\n", node)
	c.apply(b.String())
	p, err := c.AddPod(c.t.Context(), node, namespace, name, ports)
	if err != nil {
		c.t.Fatal(err)
	}
	return p
}

const pools = `
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: {name: v4}
spec: {cidr: 10.65.0.0/16}
---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: {name: v6}
spec: {cidr: "fd00:65::/64"}
`
