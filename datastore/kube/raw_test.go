package kube

import (
	"errors"
	"strings"
	"testing"

	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/test/kubernetes"
)

// keptPolicy is as kubectl prints one, with what another server wrote.
const keptPolicy = `{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"name":"p","uid":"0c5c0f3a-0c4a-4f1c-8a53-5a8c3c2f1f10","managedFields":[{"manager":"x"}]},
	"spec":{"podSelector":{},"policyTypes":["Ingress"]}}`

// TestPutRaw: Kubernetes' own objects are the API server's, in each mode.
func TestPutRaw(t *testing.T) {
	server := kubernetes.Shared(t)
	server.Namespace(t, "raw")
	store, err := Open(Options{Config: server.Config})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	raw := datastore.Raw{Origin: "NetworkPolicy raw/p", JSON: []byte(keptPolicy)}
	put := func(mode datastore.PutMode, wantWhat string, wantErr error) {
		t.Helper()
		checked := store.CheckRaw(t.Context(), raw, mode)
		what, err := store.PutRaw(t.Context(), raw, mode)
		if what != wantWhat || !errors.Is(err, wantErr) || !errors.Is(checked, wantErr) {
			t.Errorf("mode %d: %q, %v, checked %v; want %q, %v", mode, what, err, checked, wantWhat, wantErr)
		}
	}
	put(datastore.PutReplace, "", datastore.ErrNotFound)
	put(datastore.PutDelete, "", datastore.ErrNotFound)
	put(datastore.PutCreate, "created", nil)
	put(datastore.PutCreate, "", datastore.ErrExists)
	put(datastore.PutReplace, "replaced", nil)
	put(datastore.PutDelete, "deleted", nil)
	put(datastore.PutApply, "created", nil)
	raw.JSON = []byte(strings.Replace(keptPolicy, `["Ingress"]`, `["Egress"]`, 1))
	put(datastore.PutApply, "applied", nil)
	if got := server.Kubectl(t, "get", "networkpolicy", "-n", "raw", "p", "-o", "jsonpath={.spec.policyTypes}"); got != `["Egress"]` {
		t.Errorf("applied: %s", got)
	}
	put(datastore.PutDelete, "deleted", nil)
}

func TestPutRawSaysWhatTheServerRefuses(t *testing.T) {
	server := kubernetes.Shared(t)
	store, err := Open(Options{Config: server.As("jane", nil)})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	_, err = store.PutRaw(t.Context(), datastore.Raw{Origin: "NetworkPolicy raw/p", JSON: []byte(keptPolicy)}, datastore.PutApply)
	if !errors.Is(err, datastore.ErrForbidden) || !strings.Contains(err.Error(), `a rule with apiGroups ["networking.k8s.io"], resources ["networkpolicies"], verbs ["get"]`) {
		t.Errorf("by somebody without a role: %v", err)
	}
	_, err = store.PutRaw(t.Context(), datastore.Raw{Origin: "Deployment raw/p", JSON: []byte(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"p"}}`)}, datastore.PutApply)
	if !errors.Is(err, datastore.ErrUnsupported) {
		t.Errorf("a Deployment: %v", err)
	}
}
