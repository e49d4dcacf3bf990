package kube

import (
	"context"
	"fmt"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

// keptEvents is how many events a watch may be behind that joins a source.
const keptEvents = 1024

// joins are watches of a stored kind that share the upstream watch of a source. All of it under the source's lock.
type joins struct {
	kind   v3.Kind
	start  string // the revision after which events has all
	events []joinEvent
	joined map[*joinedWatch]bool
	// learn is told of every object that came, changed or went; it returns all the faults of the kind where they have changed, else nil.
	learn func(key v3.Key, d *decoded, there bool) []datastore.Fault
}

type joinEvent struct {
	revision string
	event    datastore.Event
}

// joinedWatch is one watch; a receiver that is slow gets the latest of each object.
type joinedWatch struct {
	after  string // events up to this revision are known
	wake   chan struct{}
	events []datastore.Event
	place  map[v3.Key]int
	ended  error
}

func newJoins(kind v3.Kind) *joins {
	nothing := func(v3.Key, *decoded, bool) []datastore.Fault { return nil }
	return &joins{kind: kind, joined: map[*joinedWatch]bool{}, learn: nothing}
}

func (j *joins) eventOf(d *decoded, e rawEvent) joinEvent {
	key := d.name.key(j.kind)
	out := joinEvent{revision: e.revision, event: datastore.Event{Faults: j.learn(key, d, !e.gone)}}
	switch {
	case e.gone:
		out.event.Key = key
	case d.object != nil:
		out.event.Key, out.event.Object = key, d.object
	}
	return out
}

// reset forgets the past: the source has listed, and what there was between nobody has seen.
func (j *joins) reset(revision string) {
	j.start, j.events = revision, nil
	for w := range j.joined {
		w.ended = fmt.Errorf("watching %s: %w", j.kind, datastore.ErrExpired)
		w.ring()
	}
}

func (j *joins) add(e joinEvent) {
	if len(j.events) >= 2*keptEvents {
		j.start = j.events[keptEvents-1].revision
		j.events = append([]joinEvent(nil), j.events[keptEvents:]...)
	}
	j.events = append(j.events, e)
	for w := range j.joined {
		w.put(e)
	}
}

func (w *joinedWatch) put(e joinEvent) {
	if !earlier(w.after, e.revision) || e.event.Key.Name == "" && e.event.Faults == nil {
		return
	}
	if at, ok := w.place[e.event.Key]; ok {
		if e.event.Faults == nil {
			e.event.Faults = w.events[at].Faults
		}
		w.events[at] = e.event
	} else {
		w.place[e.event.Key] = len(w.events)
		w.events = append(w.events, e.event)
	}
	w.ring()
}

func (w *joinedWatch) ring() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// join is a watch of the source's own objects after a revision; ok is false where the source does not know what came since.
func (s *source) join(ctx context.Context, revision string) (events <-chan datastore.Event, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.joins
	if j == nil || s.revision == "" || s.err != nil || !earlier("0", revision) || earlier(revision, j.start) {
		return nil, false
	}
	w := &joinedWatch{after: revision, wake: make(chan struct{}, 1), place: map[v3.Key]int{}}
	for _, e := range j.events {
		w.put(e)
	}
	j.joined[w] = true
	out := make(chan datastore.Event, 128)
	go s.sendJoined(ctx, w, out)
	return out, true
}

// take empties a joined watch.
func (s *source) takeJoined(w *joinedWatch) ([]datastore.Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	events := w.events
	w.events = nil
	clear(w.place)
	return events, w.ended
}

// sendJoined sends what a joined watch has until ctx ends or the source has lost the thread.
func (s *source) sendJoined(ctx context.Context, w *joinedWatch, out chan<- datastore.Event) {
	defer close(out)
	defer func() {
		s.mu.Lock()
		delete(s.joins.joined, w)
		s.mu.Unlock()
	}()
	send := func(e datastore.Event) bool {
		select {
		case out <- e:
			return true
		case <-ctx.Done():
			return false
		}
	}
	for {
		events, ended := s.takeJoined(w)
		for _, e := range events {
			if !send(e) {
				return
			}
		}
		if ended != nil {
			send(datastore.Event{Err: ended})
			return
		}
		select {
		case <-w.wake:
		case <-ctx.Done():
			return
		}
	}
}
