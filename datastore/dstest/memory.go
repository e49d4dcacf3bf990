package dstest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

// Memory is a Store in memory. Every write has the next number as its revision; watches replay a history, which Expire forgets.
type Memory struct {
	mu      sync.Mutex
	number  uint64
	objects map[v3.Key]v3.Object
	history []change
	oldest  uint64 // the revision before the first of history
	changed chan struct{}
	faults  map[v3.Kind][]datastore.Fault
	down    error
}

// change is one entry of the history; faults, if not nil, are those of the kind from then on.
type change struct {
	number uint64
	key    v3.Key
	object v3.Object
	faults []datastore.Fault
}

// NewMemory makes an empty store.
func NewMemory() *Memory {
	return &Memory{objects: map[v3.Key]v3.Object{}, changed: make(chan struct{}), faults: map[v3.Kind][]datastore.Fault{}}
}

// Expire forgets the history: watches that have not seen all of it, and those that go on from an older list, end with ErrExpired.
func (m *Memory) Expire() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.number++
	m.oldest = m.number
	m.history = nil
	m.wakeWatches()
}

// SetDown makes every call fail with err, and every watch end with it, until it is nil.
func (m *Memory) SetDown(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down = err
	m.wakeWatches()
}

// Break makes an object unreadable: lists leave it out and name it in a fault, without an event that it is gone.
func (m *Memory) Break(key v3.Key, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.objects, key)
	faults := append(slices.Clone(m.faults[key.Kind]), datastore.Fault{Key: key, Err: err})
	m.faults[key.Kind] = faults
	m.record(change{key: v3.Key{Kind: key.Kind}, faults: faults})
}

// record appends to the history and wakes watches. The caller holds mu.
func (m *Memory) record(c change) {
	m.number++
	c.number = m.number
	m.history = append(m.history, c)
	m.wakeWatches()
}

func (m *Memory) wakeWatches() {
	close(m.changed)
	m.changed = make(chan struct{})
}

// lock takes mu unless the store is down or ctx has ended.
func (m *Memory) lock(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	if m.down != nil {
		defer m.mu.Unlock()
		return m.down
	}
	return nil
}

// Get implements datastore.Store.
func (m *Memory) Get(ctx context.Context, key v3.Key) (v3.Object, error) {
	if err := m.lock(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	o, ok := m.objects[key]
	if !ok {
		return nil, fmt.Errorf("%s: %w", key, datastore.ErrNotFound)
	}
	return o, nil
}

// List implements datastore.Store.
func (m *Memory) List(ctx context.Context, kind v3.Kind, namespace string) (datastore.List, error) {
	if err := m.lock(ctx); err != nil {
		return datastore.List{}, err
	}
	defer m.mu.Unlock()
	list := datastore.List{Revision: strconv.FormatUint(m.number, 10), Faults: m.faults[kind]}
	for key, o := range m.objects {
		if key.Kind == kind && (namespace == "" || key.Namespace == namespace) {
			list.Objects = append(list.Objects, o)
		}
	}
	slices.SortFunc(list.Objects, func(a, b v3.Object) int {
		return cmp.Or(cmp.Compare(a.GetNamespace(), b.GetNamespace()), cmp.Compare(a.GetName(), b.GetName()))
	})
	return list, nil
}

// Create implements datastore.Store.
func (m *Memory) Create(ctx context.Context, o v3.Object) (v3.Object, error) {
	key := v3.KeyOf(o)
	if err := datastore.Storable(key); err != nil {
		return nil, err
	}
	if err := m.lock(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	if _, ok := m.objects[key]; ok {
		return nil, fmt.Errorf("%s: %w", key, datastore.ErrExists)
	}
	return m.store(key, o), nil
}

// Update implements datastore.Store.
func (m *Memory) Update(ctx context.Context, o v3.Object) (v3.Object, error) {
	key := v3.KeyOf(o)
	if err := datastore.Storable(key); err != nil {
		return nil, err
	}
	if err := m.lock(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	if err := m.current(key, o.GetResourceVersion()); err != nil {
		return nil, err
	}
	return m.store(key, o), nil
}

// Delete implements datastore.Store.
func (m *Memory) Delete(ctx context.Context, key v3.Key, revision string) error {
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	if err := m.current(key, revision); err != nil {
		return err
	}
	delete(m.objects, key)
	m.record(change{key: key})
	return nil
}

// current says whether the object is there, and at that revision, if one is given.
func (m *Memory) current(key v3.Key, revision string) error {
	there, ok := m.objects[key]
	switch {
	case !ok:
		return fmt.Errorf("%s: %w", key, datastore.ErrNotFound)
	case revision != "" && revision != there.GetResourceVersion():
		return fmt.Errorf("%s: %w", key, datastore.ErrConflict)
	}
	return nil
}

func (m *Memory) store(key v3.Key, o v3.Object) v3.Object {
	o = o.Copy()
	o.SetResourceVersion(strconv.FormatUint(m.number+1, 10))
	m.objects[key] = o
	m.record(change{key: key, object: o})
	return o
}

// Watch implements datastore.Store.
func (m *Memory) Watch(ctx context.Context, kind v3.Kind, revision string) (<-chan datastore.Event, error) {
	after, err := strconv.ParseUint(revision, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("watching %s after %q: %w", kind, revision, datastore.ErrExpired)
	}
	if err := m.lock(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	if after < m.oldest {
		return nil, fmt.Errorf("watching %s after %q: %w", kind, revision, datastore.ErrExpired)
	}
	events := make(chan datastore.Event)
	go m.watch(ctx, kind, after, events)
	return events, nil
}

func (m *Memory) watch(ctx context.Context, kind v3.Kind, after uint64, events chan<- datastore.Event) {
	defer close(events)
	for {
		batch, changed := m.since(kind, &after)
		for _, e := range batch {
			select {
			case events <- e:
			case <-ctx.Done():
				return
			}
			if e.Err != nil {
				return
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// since returns the events of a kind after a revision, which it moves on, and what is closed when there are more.
func (m *Memory) since(kind v3.Kind, after *uint64) ([]datastore.Event, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down != nil {
		return []datastore.Event{{Err: m.down}}, m.changed
	}
	if *after < m.oldest {
		return []datastore.Event{{Err: datastore.ErrExpired}}, m.changed
	}
	var events []datastore.Event
	for _, c := range m.history[*after-m.oldest:] {
		switch {
		case c.key.Kind != kind:
		case c.faults != nil:
			events = append(events, datastore.Event{Faults: c.faults})
		default:
			events = append(events, datastore.Event{Key: c.key, Object: c.object})
		}
	}
	*after = m.number
	return events, m.changed
}

// Close implements datastore.Store.
func (m *Memory) Close() error { return nil }
