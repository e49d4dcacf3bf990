package config

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

const kubeconfig = `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}]
contexts: [{name: a, context: {cluster: c, namespace: web-ns}}, {name: b, context: {cluster: c}}]
current-context: a
`

// TestOpenKube: nobody is called, and a node keeps its records in its state folder.
func TestOpenKube(t *testing.T) {
	file, state := filepath.Join(t.TempDir(), "kubeconfig"), t.TempDir()
	if err := os.WriteFile(file, []byte(kubeconfig), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &Config{Datastore: "kube", Kubeconfig: file, Node: "n1", StateDir: state}
	store, err := OpenForNode(c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(state, "records")); err != nil {
		t.Error(err)
	}
	for _, want := range []struct{ context, namespace string }{{"", "web-ns"}, {"b", "default"}} {
		c.Context = want.context
		if got, err := Namespace(c); err != nil || got != want.namespace {
			t.Errorf("context %q: namespace %q, %v", want.context, got, err)
		}
	}
	c.Context = "no such"
	if _, err := Open(c, nil); !errors.Is(err, datastore.ErrInvalid) {
		t.Errorf("an unknown context: %v", err)
	}
	c.Datastore = "kube:" + file + ".not"
	if _, err := Open(c, nil); !errors.Is(err, datastore.ErrInvalid) {
		t.Errorf("no such file: %v", err)
	}
}

func TestOpenLocalAndEtcd(t *testing.T) {
	for _, text := range []string{"local:" + t.TempDir(), "etcd:http://127.0.0.1:1,http://127.0.0.1:2"} {
		c := &Config{Datastore: text}
		store, err := Open(c, nil)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if _, err := store.Get(t.Context(), v3.Key{Kind: v3.KindTier, Name: "a"}); err == nil {
			t.Errorf("%s has a tier", text)
		}
		if namespace, err := Namespace(c); err != nil || namespace != "default" {
			t.Errorf("%s: namespace %q, %v", text, namespace, err)
		}
		if err := store.Close(); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, text := range []string{"", "etcd:", "local:", "redis:x", "etcd"} {
		if _, err := Open(&Config{Datastore: text}, nil); !errors.Is(err, datastore.ErrInvalid) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
