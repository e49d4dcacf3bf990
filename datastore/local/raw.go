package local

import (
	"context"
	"fmt"
	"strings"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

// PutMode says what PutRaw does with what is there.
type PutMode = datastore.PutMode

// The modes.
const (
	PutApply   = datastore.PutApply
	PutCreate  = datastore.PutCreate
	PutReplace = datastore.PutReplace
	PutDelete  = datastore.PutDelete
)

var _ datastore.RawStore = (*Store)(nil)

// PutRaw implements datastore.RawStore: the object is written as it was given, in its place or in a file of its own.
func (s *Store) PutRaw(ctx context.Context, raw Raw, mode PutMode) (what string, err error) {
	t, err := rawTargetOf(raw)
	if err != nil {
		return "", err
	}
	_, err = s.write(ctx, t.key, func() (change, error) {
		p, err := s.rawPlace(t)
		if err == nil {
			what, err = mode.Outcome(p != nil)
		}
		if err != nil {
			return change{}, fmt.Errorf("%s: %w", raw.Origin, err)
		}
		return s.putRawAt(p, t, raw.JSON, mode)
	})
	return what, err
}

// CheckRaw implements datastore.RawStore.
func (s *Store) CheckRaw(ctx context.Context, raw Raw, mode PutMode) error {
	t, err := rawTargetOf(raw)
	if err != nil {
		return err
	}
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	p, err := s.rawPlace(t)
	if err == nil {
		_, err = mode.Outcome(p != nil)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", raw.Origin, err)
	}
	return nil
}

// rawTarget is where a Kubernetes object belongs.
type rawTarget struct {
	key  v3.Key // of its view, whether it has one just now or not; zero for what never has
	role role
	path string // of a file of its own
}

func rawTargetOf(raw Raw) (rawTarget, error) {
	c := parse(raw.Origin, raw.JSON, false)
	if len(c.errs) > 0 {
		return rawTarget{}, fmt.Errorf("%w: %w", datastore.ErrInvalid, c.errs[0])
	}
	t := rawTarget{path: rawPath(raw.Origin)}
	if len(c.items) > 0 {
		t.key, t.role = c.items[0].key, c.items[0].role
	} else if pod := keyFrom(raw.Origin); pod.Kind == "Pod" { // finished, say: its view may be there yet
		t.key, t.role = v3.Key{Kind: v3.KindWorkloadEndpoint, Namespace: pod.Namespace, Name: pod.Name}, podOf
	}
	return t, nil
}

// putRawAt makes the change of a file, in whose place p is nil for a new one.
func (s *Store) putRawAt(p *place, t rawTarget, json []byte, mode PutMode) (change, error) {
	data := append(append([]byte{}, json...), '\n')
	if mode == PutDelete {
		data = nil
	}
	switch {
	case p == nil:
		return change{path: t.path, data: data}, nil
	case p.path == t.path && p.revision == "": // a file of its own, without a view
		return change{t.path, data, s.index.files[t.path].signature}, nil
	}
	return s.splice(p, t.key, data)
}

// rawPlace finds the Kubernetes object in the directory as it is now; nil if it is not there.
func (s *Store) rawPlace(t rawTarget) (*place, error) {
	s.sync(t.path, true)
	if e := s.index.entry(t.key); e != nil {
		for _, p := range append([]place(nil), e.places...) {
			s.sync(p.path, true)
		}
	}
	if s.index.twice[t.key] {
		return nil, fmt.Errorf("%w: %w", datastore.ErrInvalid, s.index.twiceError(t.key))
	}
	if e := s.index.entry(t.key); e != nil {
		p := e.first(func(p *place) bool { return p.role == t.role })
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
	f := s.index.files[t.path]
	switch {
	case f == nil:
		return nil, nil
	case len(f.faults) > 0:
		return nil, fmt.Errorf("%w: %s can't be read: mend it or remove it first", datastore.ErrInvalid, t.path)
	}
	return &place{path: t.path}, nil
}

// rawPath is where a Kubernetes object gets a file of its own: KIND/[NAMESPACE/]NAME.json, and KubernetesKIND for the kinds whose
// names are ours too.
func rawPath(origin string) string {
	kind, name, _ := strings.Cut(origin, " ")
	namespace, rest, namespaced := strings.Cut(name, "/")
	if !namespaced {
		namespace, rest = "", name
	}
	return pathOf(v3.Key{Kind: v3.Kind(rawFolder(kind)), Namespace: namespace, Name: rest})
}

// rawFolder is where the objects of a kind of Kubernetes' own get their files.
func rawFolder(kind string) string {
	if _, ours := v3.InfoOf(v3.Kind(kind)); ours {
		return "Kubernetes" + kind
	}
	return kind
}
