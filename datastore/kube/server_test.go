package kube

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/test/kubernetes"
)

func TestMain(m *testing.M) { os.Exit(kubernetes.Main(m)) }

func testLog(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// loose is a CRD of a kind that takes whatever it is given.
func loose(info v3.KindInfo) string {
	scope, status := "Cluster", ""
	if info.Namespaced {
		scope = "Namespaced"
	}
	if info.New != nil {
		if _, ok := statusIn(info.New()); ok {
			status = "\n    subresources: {status: {}}"
		}
	}
	return fmt.Sprintf(`apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: %[1]s.%[2]s}
spec:
  group: %[2]s
  scope: %[3]s
  names: {plural: %[1]s, singular: %[4]s, kind: %[5]s}
  versions:
  - name: v3
    served: true
    storage: true%[6]s
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`, info.Plural, v3.Group, scope, strings.ToLower(string(info.Kind)), info.Kind, status)
}

// applyLoose installs loose CRDs of these kinds and waits until they are served.
func applyLoose(t *testing.T, server *kubernetes.Server, kinds ...v3.Kind) {
	t.Helper()
	var text strings.Builder
	for _, kind := range kinds {
		info, ok := v3.InfoOf(kind)
		if !ok {
			t.Fatalf("no kind %s", kind)
		}
		text.WriteString("---\n" + loose(info))
	}
	file := filepath.Join(t.TempDir(), "crds.yaml")
	if err := os.WriteFile(file, []byte(text.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	server.Apply(t, file)
	server.AwaitCRDs(t)
}

// openOn opens a Store on a server, closed after the test.
func openOn(t *testing.T, server *kubernetes.Server, change ...func(*Options)) *Store {
	t.Helper()
	o := Options{Config: server.Config, Log: testLog(t)}
	for _, f := range change {
		f(&o)
	}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// empty deletes all objects of these kinds.
func empty(t *testing.T, s *Store, kinds ...v3.Kind) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context()) // after the test, too
	for _, kind := range kinds {
		list, err := s.stored.list(ctx, kind, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range list.Objects {
			if err := s.Delete(ctx, v3.KeyOf(o), ""); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func newTier(name string, order float64) *v3.Tier {
	o := &v3.Tier{Spec: v3.TierSpec{Order: &order}}
	o.Name = name
	return o
}

func mustCreate(t *testing.T, s datastore.Store, o v3.Object) v3.Object {
	t.Helper()
	created, err := s.Create(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return created
}
