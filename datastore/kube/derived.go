package kube

import (
	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

var _ datastore.Deriver = (*Store)(nil)

// Derived implements datastore.Deriver: nodes and endpoints are Kubernetes', and so are the profiles of namespaces and service accounts.
func (s *Store) Derived(key v3.Key) bool { return s.isView(key) }
