package local

import (
	"context"
	"fmt"
	"strings"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

// PutMode says what PutRaw does with what is there.
type PutMode uint8

// The modes.
const (
	PutApply   PutMode = iota // create or replace
	PutCreate                 // ErrExists if it is there
	PutReplace                // ErrNotFound if it is not
	PutDelete                 // ErrNotFound if it is not
)

// PutRaw writes a Kubernetes object as it was given, in its place or in a file of its own, and says what it did ("created"). Only a
// directory takes such objects: on a cluster they are Kubernetes' own to write.
func (s *Store) PutRaw(ctx context.Context, raw Raw, mode PutMode) (what string, err error) {
	c := parse(raw.Origin, raw.JSON, false)
	if len(c.errs) > 0 {
		return "", fmt.Errorf("%w: %w", datastore.ErrInvalid, c.errs[0])
	}
	path := rawPath(raw.Origin)
	key, at := v3.Key{}, role(view)
	if len(c.items) > 0 { // a pod on the host's own network, for one, has no view
		key, at = c.items[0].key, c.items[0].role
	}
	_, err = s.write(ctx, key, func() (change, error) {
		p, err := s.rawPlace(key, at, path)
		if err != nil {
			return change{}, err
		}
		if what, err = mode.outcome(p != nil); err != nil {
			return change{}, fmt.Errorf("%s: %w", raw.Origin, err)
		}
		return s.putRawAt(p, key, path, raw.JSON, mode)
	})
	return what, err
}

// outcome says what is done to an object that is there or not, or why it can't be.
func (m PutMode) outcome(there bool) (string, error) {
	switch {
	case m == PutCreate && there:
		return "", datastore.ErrExists
	case (m == PutReplace || m == PutDelete) && !there:
		return "", datastore.ErrNotFound
	case m == PutDelete:
		return "deleted", nil
	case !there:
		return "created", nil
	case m == PutReplace:
		return "replaced", nil
	}
	return "applied", nil
}

// putRawAt makes the change of a file, in whose place p is nil for a new one.
func (s *Store) putRawAt(p *place, key v3.Key, path string, json []byte, mode PutMode) (change, error) {
	data := append(append([]byte{}, json...), '\n')
	if mode == PutDelete {
		data = nil
	}
	switch {
	case p == nil:
		return change{path: path, data: data}, nil
	case p.path == path && p.revision == "": // a file of its own, without a view
		return change{path, data, s.index.files[path].signature}, nil
	}
	return s.splice(p, key, data)
}

// rawPlace finds the Kubernetes object that a view of a key comes from, in the directory as it is now; nil if it is not there.
func (s *Store) rawPlace(key v3.Key, at role, path string) (*place, error) {
	s.sync(path, true)
	if e := s.index.entry(key); e != nil {
		for _, p := range append([]place(nil), e.places...) {
			s.sync(p.path, true)
		}
	}
	if e := s.index.entry(key); e != nil {
		p := e.first(func(p *place) bool { return p.role == at })
		switch {
		case p == nil:
		case p.stale:
			return nil, fmt.Errorf("%w: %s can't be read: mend it or remove it first", datastore.ErrInvalid, p.path)
		case p.inList:
			return nil, fmt.Errorf("%w: it is an item of a List in %s: make it a document of its own", datastore.ErrUnsupported, p.path)
		default:
			return p, nil
		}
	}
	if s.index.files[path] != nil {
		return &place{path: path}, nil
	}
	return nil, nil
}

// rawPath is where a Kubernetes object gets a file of its own: KIND/[NAMESPACE/]NAME.json, and KubernetesKIND for the kinds whose
// names are ours too.
func rawPath(origin string) string {
	kind, name, _ := strings.Cut(origin, " ")
	if _, ours := v3.InfoOf(v3.Kind(kind)); ours {
		kind = "Kubernetes" + kind
	}
	namespace, rest, namespaced := strings.Cut(name, "/")
	if !namespaced {
		namespace, rest = "", name
	}
	return pathOf(v3.Key{Kind: v3.Kind(kind), Namespace: namespace, Name: rest})
}
