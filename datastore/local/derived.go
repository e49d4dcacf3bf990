package local

import (
	"context"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

var _ datastore.Deriver = (*Store)(nil)

// Derived implements datastore.Deriver: a file has the Kubernetes object that it comes from, and none has the object itself.
func (s *Store) Derived(key v3.Key) bool {
	if s.enter(context.Background()) != nil {
		return false
	}
	defer s.mu.Unlock()
	e := s.index.entry(key)
	return e != nil && e.first(func(p *place) bool { return p.role == stored }) == nil
}
