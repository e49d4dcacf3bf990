package dstest

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

// next is the next event of a watch that is about an object.
func next(t *testing.T, events <-chan datastore.Event) datastore.Event {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case e, ok := <-events:
			if !ok {
				t.Fatal("the watch has ended")
			}
			if e.Err != nil {
				t.Fatalf("the watch has failed: %v", e.Err)
			}
			if e.Key.Name != "" {
				return e
			}
		case <-deadline:
			t.Fatal("no event")
		}
	}
}

func mustWatch(t *testing.T, s datastore.Store, kind v3.Kind, revision string) <-chan datastore.Event {
	t.Helper()
	events, err := s.Watch(t.Context(), kind, revision)
	if err != nil {
		t.Fatalf("Watch %s: %v", kind, err)
	}
	return events
}

func wantEvent(t *testing.T, events <-chan datastore.Event, key v3.Key, want v3.Object) {
	t.Helper()
	e := next(t, events)
	if e.Key != key {
		t.Fatalf("event of %s, want one of %s", e.Key, key)
	}
	if want == nil && e.Object != nil || want != nil && !cmp.Equal(want, e.Object) {
		t.Fatalf("event of %s: got %+v, want %+v", key, e.Object, want)
	}
}

func testWatch(t *testing.T, s datastore.Store) {
	ctx := t.Context()
	mustCreate(t, s, tier("before", 1))
	events := mustWatch(t, s, v3.KindTier, mustList(t, s, v3.KindTier, "").Revision)
	created := mustCreate(t, s, tier("a", 1))
	wantEvent(t, events, v3.KeyOf(created), created)
	changed := created.Copy().(*v3.Tier)
	changed.Spec.DefaultAction = v3.Pass
	updated, err := s.Update(ctx, changed)
	if err != nil {
		t.Fatal(err)
	}
	wantEvent(t, events, v3.KeyOf(created), updated)
	if err := s.Delete(ctx, v3.KeyOf(created), ""); err != nil {
		t.Fatal(err)
	}
	wantEvent(t, events, v3.KeyOf(created), nil)
	again := mustCreate(t, s, tier("a", 1))
	wantEvent(t, events, v3.KeyOf(created), again)
}

func testWatchKind(t *testing.T, s datastore.Store) {
	events := mustWatch(t, s, v3.KindTier, mustList(t, s, v3.KindTier, "").Revision)
	mustCreate(t, s, set("ns", "other", "10.0.0.0/8"))
	created := mustCreate(t, s, tier("a", 1))
	wantEvent(t, events, v3.KeyOf(created), created)
}

func testWatchReplay(t *testing.T, s datastore.Store) {
	gone := mustCreate(t, s, tier("gone", 1))
	list := mustList(t, s, v3.KindTier, "")
	created := mustCreate(t, s, tier("a", 1))
	if err := s.Delete(t.Context(), v3.KeyOf(gone), ""); err != nil {
		t.Fatal(err)
	}
	events := mustWatch(t, s, v3.KindTier, list.Revision)
	wantEvent(t, events, v3.KeyOf(created), created)
	wantEvent(t, events, v3.KeyOf(gone), nil)
	last := mustCreate(t, s, tier("b", 1))
	wantEvent(t, events, v3.KeyOf(last), last)
}

func testWatchExpired(t *testing.T, s datastore.Store) {
	events, err := s.Watch(t.Context(), v3.KindTier, "no revision of this store")
	if err == nil {
		select {
		case e := <-events:
			err = e.Err
		case <-time.After(patience):
		}
	}
	wantError(t, "Watch", err, datastore.ErrExpired)
}

func testWatchEnds(t *testing.T, s datastore.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	events, err := s.Watch(ctx, v3.KindTier, mustList(t, s, v3.KindTier, "").Revision)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	deadline := time.After(patience)
	for {
		select {
		case _, ok := <-events:
			if !ok {
				return
			}
		case <-deadline:
			t.Fatal("the channel was not closed when the context ended")
		}
	}
}
