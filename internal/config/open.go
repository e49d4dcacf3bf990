package config

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/datastore/etcd"
	"github.com/felid-net/felid/datastore/kube"
	"github.com/felid-net/felid/datastore/local"
)

// StoreKeys are the keys of what Open needs.
var StoreKeys = []string{"datastore", "kubeconfig", "context", "etcdCert", "etcdKey", "etcdCa"}

// validStores says what datastore may be.
const validStores = "kube, kube:KUBECONFIG, etcd:URL[,URL...] or local:DIR"

// Open opens the datastore that the configuration names, for commands and the controller.
func Open(c *Config, log *slog.Logger) (datastore.Store, error) { return open(c, "", log) }

// OpenForNode opens it for the agent of the node, with the records that the node keeps for itself.
func OpenForNode(c *Config, log *slog.Logger) (datastore.Store, error) { return open(c, c.Node, log) }

func open(c *Config, node string, log *slog.Logger) (datastore.Store, error) {
	kind, rest, _ := strings.Cut(c.Datastore, ":")
	switch {
	case kind == "local" && rest != "":
		return local.Open(rest, local.Options{Log: log})
	case kind == "etcd" && rest != "":
		return etcd.Open(etcd.Options{
			Endpoints: strings.Split(rest, ","), CertFile: c.EtcdCert, KeyFile: c.EtcdKey, CAFile: c.EtcdCA, Log: log,
		})
	case kind == "kube":
		return openKube(c, cmp.Or(rest, c.Kubeconfig), node, log)
	}
	return nil, fmt.Errorf("datastore %q: %w; valid: %s", c.Datastore, datastore.ErrInvalid, validStores)
}

// Namespace is the one that is meant where none is named: that of the kubeconfig's context, or "default".
func Namespace(c *Config) (string, error) {
	kind, rest, _ := strings.Cut(c.Datastore, ":")
	if kind != "kube" {
		return "default", nil
	}
	_, namespace, err := kube.LoadConfig(cmp.Or(rest, c.Kubeconfig), c.Context)
	return namespace, err
}

// openKube opens the datastore of a cluster. A node keeps the records of its sandboxes itself, in its state folder.
func openKube(c *Config, kubeconfig, node string, log *slog.Logger) (datastore.Store, error) {
	server, _, err := kube.LoadConfig(kubeconfig, c.Context)
	if err != nil {
		return nil, err
	}
	o := kube.Options{Config: server, Node: node, Log: log}
	if node == "" {
		return kube.Open(o)
	}
	records, err := local.Open(filepath.Join(c.StateDir, "records"), local.Options{Log: log})
	if err != nil {
		return nil, err
	}
	o.Records = records
	store, err := kube.Open(o)
	if err != nil {
		return nil, errors.Join(err, records.Close())
	}
	return store, nil
}
