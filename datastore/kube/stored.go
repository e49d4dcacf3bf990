package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

// stored are the kinds that the API server keeps as custom resources.
type stored struct {
	api      *client
	pulses   *pulses
	patience time.Duration // how long a list that lost much has to stay so
	now      func() time.Time

	ctx     context.Context // ends all watches
	cancel  context.CancelFunc
	watches sync.WaitGroup

	mu    sync.Mutex
	kinds map[v3.Kind]*storedKind
}

// storedKind is what is remembered of a kind.
type storedKind struct {
	resource *resource

	mu     sync.Mutex
	faults map[v3.Key][]datastore.Fault
	// lossy objects have something that the decoder has no place for, as last read.
	lossy map[v3.Key]bool
	// known are the objects of the last list that was believed, and of what was watched since; nil before.
	known map[v3.Key]struct{}
	doubt doubt
	// followed: there is or was a watch, so that a list which lost much may be that of another server than the one before. Not while one of
	// the watches, live, is heard of: what went then went.
	followed bool
	live     int
}

func newStored(api *client, p *pulses, patience time.Duration, now func() time.Time) *stored {
	s := &stored{api: api, pulses: p, patience: patience, now: now, kinds: map[v3.Kind]*storedKind{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// close ends all watches.
func (s *stored) close() {
	s.cancel()
	s.watches.Wait()
}

func (s *stored) kind(kind v3.Kind) (*storedKind, error) {
	info, ok := v3.InfoOf(kind)
	if !ok {
		return nil, fmt.Errorf("%s: unknown kind: %w", kind, datastore.ErrInvalid)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.kinds[kind]
	if k == nil {
		k = &storedKind{resource: storedResource(info), faults: map[v3.Key][]datastore.Fault{}, lossy: map[v3.Key]bool{}}
		s.kinds[kind] = k
	}
	return k, nil
}

// readStored reads an object, which is nil where it can't be judged.
func readStored(kind v3.Kind, raw []byte) (key v3.Key, o v3.Object, faults []datastore.Fault, lossy bool) {
	o, errs := v3.DecodeJSON(kind, raw, false)
	if o != nil && len(errs) == 0 {
		o.SetManagedFields(nil)
		return v3.KeyOf(o), o, nil, false
	}
	namespace, name, _ := metaOf(raw)
	key = v3.Key{Kind: kind, Namespace: namespace, Name: name}
	if o, faults = datastore.Decode(key, raw); o != nil {
		o.SetManagedFields(nil)
	}
	return key, o, faults, true
}

// learn takes in what one object has of faults, and whether it is there. It tells whether the faults of the kind have changed.
func (k *storedKind) learn(key v3.Key, faults []datastore.Fault, lossy, there bool) (changed bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if lossy && there {
		k.lossy[key] = true
	} else {
		delete(k.lossy, key)
	}
	if k.known != nil && there {
		k.known[key] = struct{}{}
	} else {
		delete(k.known, key)
	}
	if len(faults) == 0 && len(k.faults[key]) == 0 {
		return false
	}
	if len(faults) == 0 || !there {
		delete(k.faults, key)
	} else {
		k.faults[key] = faults
	}
	return true
}

// follow says that the kind is watched from now on.
func (k *storedKind) follow() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.followed = true
}

// saw notes a revision that a watch has come to.
func (k *storedKind) saw(revision string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.doubt.seen(revision)
}

// allFaults are those of the kind, in order of their keys. It is not nil.
func (k *storedKind) allFaults() []datastore.Fault {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := []datastore.Fault{}
	for _, faults := range k.faults {
		all = append(all, faults...)
	}
	slices.SortStableFunc(all, func(a, b datastore.Fault) int { return compareKeys(a.Key, b.Key) })
	return all
}

func compareKeys(a, b v3.Key) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}

// get is the object as the server has it.
func (s *stored) get(ctx context.Context, key v3.Key) (v3.Object, error) {
	k, err := s.kind(key.Kind)
	if err != nil {
		return nil, err
	}
	raw, err := s.api.get(ctx, k.resource, key.Namespace, key.Name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return k.read(key, raw)
}

// read decodes what the server answered about one object.
func (k *storedKind) read(key v3.Key, raw []byte) (v3.Object, error) {
	_, o, faults, lossy := readStored(key.Kind, raw)
	k.mu.Lock()
	if lossy {
		k.lossy[key] = true
	} else {
		delete(k.lossy, key)
	}
	k.mu.Unlock()
	if o == nil {
		return nil, fmt.Errorf("%s: %w: %s", key, datastore.ErrInvalid, faults[0].Err)
	}
	return o, nil
}

// list reads a kind. Annotations that only kubectl reads are left out.
func (s *stored) list(ctx context.Context, kind v3.Kind, namespace string) (datastore.List, error) {
	k, err := s.kind(kind)
	if err != nil {
		return datastore.List{}, err
	}
	l := listing{kind: kind}
	revision, err := s.api.list(ctx, k.resource, namespace, l.reset, l.add)
	if err != nil && ctx.Err() == nil && namespace == "" {
		s.pulses.lost(kind, k.resource, err, 0)
	}
	if err == nil && namespace == "" {
		err = s.judge(k, kind, &l, revision)
	}
	if err != nil {
		return datastore.List{}, err
	}
	slices.SortFunc(l.objects, func(a, b v3.Object) int { return compareKeys(v3.KeyOf(a), v3.KeyOf(b)) })
	list := datastore.List{Objects: l.objects, Revision: revision}
	for _, faults := range l.faults {
		list.Faults = append(list.Faults, faults...)
	}
	slices.SortStableFunc(list.Faults, func(a, b datastore.Fault) int { return compareKeys(a.Key, b.Key) })
	return list, nil
}

// listing gathers a list.
type listing struct {
	kind    v3.Kind
	objects []v3.Object
	keys    []v3.Key // of those that can't be read too
	faults  map[v3.Key][]datastore.Fault
	lossy   map[v3.Key]bool
}

func (l *listing) reset() {
	*l = listing{kind: l.kind, objects: l.objects[:0], keys: l.keys[:0], faults: map[v3.Key][]datastore.Fault{}, lossy: map[v3.Key]bool{}}
}

func (l *listing) add(raw []byte) error {
	key, o, faults, lossy := readStored(l.kind, raw)
	l.keys = append(l.keys, key)
	if o != nil {
		l.objects = append(l.objects, o)
	}
	if len(faults) > 0 {
		l.faults[key] = faults
	}
	if lossy {
		l.lossy[key] = true
	}
	return nil
}

// judge takes a list of all namespaces in, or says by an error that it is not believed yet.
func (s *stored) judge(k *storedKind, kind v3.Kind, l *listing, revision string) error {
	k.mu.Lock()
	known := make(map[v3.Key]struct{}, len(l.keys))
	for _, key := range l.keys {
		known[key] = struct{}{}
	}
	lost := 0
	for key := range k.known {
		if _, ok := known[key]; !ok {
			lost++
		}
	}
	before := len(k.known)
	if !k.followed || k.live > 0 {
		lost = 0
	}
	believed := k.doubt.believe(before, lost, revision, s.now(), s.patience)
	if believed {
		k.known, k.faults, k.lossy = known, l.faults, l.lossy
	}
	k.mu.Unlock()
	if believed {
		s.pulses.heard(kind, k.resource)
		return nil
	}
	err := fmt.Errorf("%w: it lists %d fewer %s than the %d known, which is believed only when it has stayed so for %s", datastore.ErrUnreachable,
		lost, k.resource.plural, before, s.patience)
	s.pulses.lost(kind, k.resource, err, lost)
	return err
}

// watch follows a kind, through outages; ErrExpired and a kind that is not served any more end it.
func (s *stored) watch(ctx context.Context, kind v3.Kind, revision string) (<-chan datastore.Event, error) {
	k, err := s.kind(kind)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(ctx.Err(), s.ctx.Err()); err != nil {
		return nil, fmt.Errorf("watching %s: %w", kind, err)
	}
	if revision == "" || strings.Trim(revision, "0123456789/") != "" { // two numbers: an aggregated server that reads two sources
		return nil, fmt.Errorf("watching %s after %q: %w: not one of an API server", kind, revision, datastore.ErrExpired)
	}
	f := &storedWatch{stored: s, of: k, kind: kind, revision: revision, out: make(chan datastore.Event, 64)}
	s.pulses.watched(kind, k.resource, 1)
	k.follow()
	s.watches.Go(func() {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(s.ctx, cancel)()
		f.run(ctx)
	})
	return f.out, nil
}
