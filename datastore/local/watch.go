package local

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

// maxBehind is how many events a watch may be behind before it ends with ErrExpired.
const maxBehind = 1 << 17

// watch is one Watch: events are put under the Store's lock and taken by a goroutine of its own.
type watch struct {
	kind v3.Kind
	wake chan struct{}

	mu     sync.Mutex
	events []datastore.Event
	behind bool
}

func (w *watch) put(e datastore.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.events) >= maxBehind {
		w.events, w.behind = nil, true
	}
	if !w.behind {
		w.events = append(w.events, e)
	}
}

// ring wakes whoever takes, if there is something to take.
func (w *watch) ring() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.events) == 0 && !w.behind {
		return
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *watch) take() []datastore.Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	events := w.events
	w.events = nil
	if w.behind {
		events = []datastore.Event{{Err: fmt.Errorf("more than %d events behind: %w", maxBehind, datastore.ErrExpired)}}
	}
	return events
}

// Watch implements datastore.Store.
func (s *Store) Watch(ctx context.Context, kind v3.Kind, revision string) (<-chan datastore.Event, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	boot, text, _ := strings.Cut(revision, ".")
	after, err := strconv.ParseUint(text, 10, 64)
	if err != nil || boot != s.boot || after < s.index.forgotten {
		return nil, fmt.Errorf("watching %s after %q: %w", kind, revision, datastore.ErrExpired)
	}
	w := &watch{kind: kind, wake: make(chan struct{}, 1)}
	s.watches[w] = true // first: the replay reads files, and what that shows is delivered to watches
	s.replay(w, after)
	events := make(chan datastore.Event, 128) // of a burst, one is not waited for after each
	s.ended.Go(func() { s.follow(ctx, w, events) })
	return events, nil
}

// replay puts the changes after a number, in their order.
func (s *Store) replay(w *watch, after uint64) {
	if after == s.index.number {
		return
	}
	var missed []tombstone
	for key, e := range s.index.entries[w.kind] {
		if e.number > after {
			missed = append(missed, tombstone{e.number, key})
		}
	}
	at, _ := slices.BinarySearchFunc(s.index.tombstones, after+1, func(t tombstone, n uint64) int { return cmp.Compare(t.number, n) })
	for _, t := range s.index.tombstones[at:] {
		if t.key.Kind == w.kind {
			missed = append(missed, t)
		}
	}
	slices.SortFunc(missed, func(a, b tombstone) int { return cmp.Compare(a.number, b.number) })
	l := s.loader()
	for _, m := range missed {
		e := s.index.entry(m.key)
		switch {
		case e == nil:
			w.put(datastore.Event{Key: m.key})
		case e.number == m.number:
			if o, _ := s.compose(m.key, l); o != nil {
				w.put(datastore.Event{Key: m.key, Object: o})
			}
		}
	}
	w.put(datastore.Event{Faults: s.index.faults(w.kind)})
	w.ring()
}

// follow sends what is put into the watch until ctx or the Store ends.
func (s *Store) follow(ctx context.Context, w *watch, events chan<- datastore.Event) {
	defer close(events)
	defer func() {
		s.mu.Lock()
		delete(s.watches, w)
		s.mu.Unlock()
	}()
	for {
		for _, e := range w.take() {
			select {
			case events <- e:
			case <-ctx.Done():
				return
			case <-s.done:
				return
			}
			if e.Err != nil {
				return
			}
		}
		select {
		case <-w.wake:
		case <-ctx.Done():
			return
		case <-s.done:
			select {
			case events <- datastore.Event{Err: fmt.Errorf("local datastore %s is closed: %w", s.dir, datastore.ErrUnreachable)}:
			case <-ctx.Done():
			default:
			}
			return
		}
	}
}
