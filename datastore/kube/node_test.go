package kube

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/test/kubernetes"
)

const taint = "felid.dev/agent-not-ready"

func TestUntainted(t *testing.T) {
	for _, tt := range []struct{ name, taints, want string }{
		{"none", `[]`, ""},
		{"absent", `null`, ""},
		{"only others", `[{"key":"a","effect":"NoSchedule"}]`, ""},
		{"ours among others", `[{"key":"a","effect":"NoExecute","timeAdded":"2026-01-01T00:00:00Z","later":[1]},{"key":"felid.dev/agent-not-ready","effect":"NoSchedule"},{"key":"b"}]`,
			`{"metadata":{"resourceVersion":"7"},"spec":{"taints":[{"key":"a","effect":"NoExecute","timeAdded":"2026-01-01T00:00:00Z","later":[1]},{"key":"b"}]}}`},
		{"ours with two effects", `[{"key":"felid.dev/agent-not-ready","effect":"NoSchedule"},{"key":"felid.dev/agent-not-ready","effect":"NoExecute"}]`,
			`{"metadata":{"resourceVersion":"7"},"spec":{"taints":[]}}`},
	} {
		got, err := untainted([]byte(`{"metadata":{"name":"n","resourceVersion":"7"},"spec":{"taints":`+tt.taints+`}}`), taint)
		if err != nil || string(got) != tt.want {
			t.Errorf("%s: %s, %v; want %s", tt.name, got, err, tt.want)
		}
	}
	for _, bad := range []string{`{`, `{"spec":{"taints":[1]}}`} {
		if got, err := untainted([]byte(bad), taint); err == nil {
			t.Errorf("%s: %s", bad, got)
		}
	}
}

func FuzzUntainted(f *testing.F) {
	f.Add([]byte(`{"metadata":{"resourceVersion":"7"},"spec":{"taints":[{"key":"felid.dev/agent-not-ready"},{"key":"b"}]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		patch, err := untainted(data, taint)
		if err != nil || patch == nil {
			return
		}
		again, err := untainted(patch, taint)
		if err != nil || again != nil || !json.Valid(patch) {
			t.Errorf("the patch %s leaves the taint, or is none: %s, %v", patch, again, err)
		}
	})
}

// TestUntaint: somebody else's taints, put there meanwhile, are not lost.
func TestUntaint(t *testing.T) {
	server := kubernetes.Shared(t)
	store := openOn(t, server)
	server.Kubectl(t, "create", "-f", writeFile(t, `{"apiVersion":"v1","kind":"Node","metadata":{"name":"tainted"},"spec":{"taints":[
		{"key":"felid.dev/agent-not-ready","effect":"NoSchedule"},{"key":"first","effect":"NoExecute","value":"v"}]}}`))
	var both sync.WaitGroup
	both.Go(func() {
		for _, key := range []string{"a", "b", "c", "d"} {
			server.Kubectl(t, "taint", "node", "tainted", key+"=:NoSchedule")
		}
	})
	both.Go(func() {
		if err := store.Untaint(t.Context(), "tainted", taint); err != nil {
			t.Error(err)
		}
	})
	both.Wait()
	if err := store.Untaint(t.Context(), "tainted", taint); err != nil {
		t.Error(err)
	}
	got := strings.Fields(server.Kubectl(t, "get", "node", "tainted", "-o", "jsonpath={.spec.taints[*].key}"))
	for _, key := range []string{"first", "a", "b", "c", "d"} {
		if !strings.Contains(" "+strings.Join(got, " ")+" ", " "+key+" ") {
			t.Errorf("taint %s is lost: %v", key, got)
		}
	}
	if strings.Contains(strings.Join(got, " "), taint) {
		t.Errorf("taints %v", got)
	}
	if err := store.Untaint(t.Context(), "nobody", taint); !errors.Is(err, datastore.ErrNotFound) || !strings.Contains(err.Error(), "Node nobody") {
		t.Errorf("a Node that is not there: %v", err)
	}
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "object.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
