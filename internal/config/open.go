package config

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/datastore/local"
)

// Open opens the datastore that the configuration names.
func Open(c *Config, log *slog.Logger) (datastore.Store, error) {
	kind, rest, _ := strings.Cut(c.Datastore, ":")
	switch {
	case kind == "local" && rest != "":
		return local.Open(rest, local.Options{Log: log})
	case kind == "kube", kind == "etcd":
		return nil, fmt.Errorf("datastore %q: %w in this version; valid: local:DIR", c.Datastore, datastore.ErrUnsupported)
	}
	return nil, fmt.Errorf("datastore %q: %w; valid: local:DIR", c.Datastore, datastore.ErrInvalid)
}
