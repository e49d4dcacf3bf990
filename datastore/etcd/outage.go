package etcd

import (
	"time"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

// heard takes note of an answer of the store, or of why there was none.
func (s *Store) heard(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.last, s.silent = time.Now(), ""
	} else {
		s.silent = err.Error()
	}
}

// Outages are the kinds that were ever watched, while the store is silent.
func (s *Store) Outages() []datastore.Outage {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.silent == "" {
		return nil
	}
	var out []datastore.Outage
	for _, info := range v3.Kinds() {
		if s.watched[info.Kind] {
			out = append(out, datastore.Outage{Kind: info.Kind, Since: s.last, Reason: s.silent})
		}
	}
	return out
}
