package cli

import (
	"log/slog"
	"os"
	"testing"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/internal/config"
	"github.com/felid-net/felid/test/etcd"
	"github.com/felid-net/felid/test/kubernetes"
)

func TestMain(m *testing.M) { os.Exit(etcd.Main(withKubernetes{m})) }

type withKubernetes struct{ m *testing.M }

func (w withKubernetes) Run() int { return kubernetes.Main(w.m) }

// eachStore runs a test on an empty datastore of each kind.
func eachStore(t *testing.T, test func(*testing.T, caller)) {
	t.Run("local", func(t *testing.T) {
		c, _ := storeCaller(t)
		test(t, c)
	})
	t.Run("etcd", func(t *testing.T) { test(t, etcdCaller(t)) })
	t.Run("kube", func(t *testing.T) { test(t, kubeCaller(t)) })
}

func etcdCaller(t *testing.T) caller {
	return caller{t: t, env: map[string]string{"FELID_DATASTORE": "etcd:" + etcd.Shared(t).Endpoint}}
}

// kubeNamespaces are those that the tests' objects are in.
var kubeNamespaces = []string{"web-ns", "app-ns", "production", "my-namespace", "team-a"}

// kubeCaller runs commands on the API server that the tests share, which has felid's definitions and no object.
func kubeCaller(t *testing.T) caller {
	t.Helper()
	server := kubernetes.Shared(t)
	server.InstallCRDs(t)
	for _, namespace := range kubeNamespaces {
		server.Namespace(t, namespace)
	}
	server.Kubectl(t, "delete", "pods,networkpolicies,services,endpointslices.discovery.k8s.io", "--all", "-A", "--force", "--grace-period=0", "--ignore-not-found")
	server.Kubectl(t, "delete", "nodes", "--all")
	cfg := &config.Config{Datastore: "kube:" + server.Kubeconfig}
	store, err := config.Open(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	for _, kind := range movedKinds {
		list, err := store.List(t.Context(), kind, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range list.Objects {
			if key := v3.KeyOf(o); !store.(datastore.Deriver).Derived(key) {
				if err := store.Delete(t.Context(), key, ""); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	return caller{t: t, env: map[string]string{"FELID_DATASTORE": cfg.Datastore}}
}
