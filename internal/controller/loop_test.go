package controller

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/datastore/dstest"
)

// TestSchedule compares it with a map that is searched.
func TestSchedule(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		s, want, now := newSchedule(), map[task]time.Time{}, start
		for range rapid.IntRange(1, 100).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "add") {
				k := task{rapid.IntRange(0, 2).Draw(t, "reconciler"), tierKey(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "item"))}
				at := start.Add(time.Duration(rapid.IntRange(0, 100).Draw(t, "at")))
				if before, ok := want[k]; !ok || at.Before(before) {
					want[k] = at
				}
				s.add(k, at)
				continue
			}
			now = now.Add(time.Duration(rapid.IntRange(0, 20).Draw(t, "later")))
			checkPop(t, s, want, now)
		}
		if s.len() != len(want) {
			t.Fatalf("%d tasks, want %d", s.len(), len(want))
		}
	})
}

func checkPop(t *rapid.T, s *schedule, want map[task]time.Time, now time.Time) {
	var first time.Time
	if len(want) > 0 {
		first = slices.MinFunc(slices.Collect(maps.Values(want)), time.Time.Compare)
	}
	if next, ok := s.next(); ok != (len(want) > 0) || !next.Equal(first) {
		t.Fatalf("next is %v, %v; want %v", next, ok, first)
	}
	got, ok := s.pop(now)
	switch {
	case ok != (len(want) > 0 && !first.After(now)):
		t.Fatalf("popped %v, %v at %v; want the first at %v", got, ok, now, first)
	case ok && !want[got].Equal(first):
		t.Fatalf("popped %v of %v; want one of %v", got, want[got], first)
	case ok:
		delete(want, got)
	}
}

// echo wants each tier's order to be 1, and notes what it is told.
type echo struct {
	tiers map[string]*v3.Tier
	plans int
}

func (e *echo) Name() string     { return "echo" }
func (e *echo) Kinds() []v3.Kind { return []v3.Kind{v3.KindTier} }

func (e *echo) Update(key v3.Key, o v3.Object) []v3.Key {
	delete(e.tiers, key.Name)
	if o != nil {
		e.tiers[key.Name] = o.(*v3.Tier)
	}
	return []v3.Key{key}
}

func (e *echo) Plan(item v3.Key, _ time.Time) Step {
	e.plans++
	tier := e.tiers[item.Name]
	if tier == nil || tier.Spec.Order != nil && *tier.Spec.Order == 1 {
		return Step{}
	}
	changed := tier.DeepCopy()
	changed.Spec.Order = new(float64(1))
	return Step{Writes: []Write{{Verb: Update, Object: changed, Note: "did it"}}, Problem: "it is not 1"}
}

// faulty is a store whose updates fail, or wait, as a test says.
type faulty struct {
	dstest.Cluster
	mu    sync.Mutex
	err   error
	calls int
	hold  chan struct{}
}

func (f *faulty) Update(ctx context.Context, o v3.Object) (v3.Object, error) {
	f.mu.Lock()
	err, hold := f.err, f.hold
	f.calls++
	f.mu.Unlock()
	if err != nil {
		return nil, err
	}
	stored, err := f.Cluster.Update(ctx, o)
	if hold != nil {
		<-hold
	}
	return stored, err
}

func (f *faulty) set(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func TestFailedWritesAreTriedAgainAndLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		store := &faulty{Cluster: b.store, err: fmt.Errorf("disk full: %w", datastore.ErrUnreachable)}
		b.create(newTier("a"))
		defer b.start(store, &echo{tiers: map[string]*v3.Tier{}})()
		b.after(time.Hour)
		if n := len(b.log.lines("a write failed")); n != 1 {
			t.Errorf("%d lines for one cause", n)
		}
		if store.calls < 100 || store.calls > 150 {
			t.Errorf("%d tries in an hour; want about one each %s", store.calls, lastDelay)
		}
		store.set(errors.New("disk still full"))
		b.after(time.Hour)
		if n := len(b.log.lines("disk still full")); n != 1 {
			t.Errorf("%d lines for another cause", n)
		}
		store.set(nil)
		b.after(lastDelay)
		if lines := b.log.lines("level="); len(lines) != 2 {
			t.Errorf("%q; want that it was done, and that nothing fails", lines)
		}
		if *get(b, newTier("a")).Spec.Order != 1 {
			t.Error("never written")
		}
	})
}

// TestAnOutageIsOneCause: however many objects were to be written.
func TestAnOutageIsOneCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		store := &faulty{Cluster: b.store, err: datastore.ErrUnreachable}
		for i := range 20 {
			b.create(newTier(fmt.Sprint("t", i)))
		}
		defer b.start(store, &echo{tiers: map[string]*v3.Tier{}})()
		for range 3 {
			b.after(time.Hour)
			if lines := b.log.lines("a write failed"); len(lines) != 1 {
				t.Errorf("%d lines for one outage", len(lines))
			}
			store.set(nil)
			b.after(lastDelay)
			if lines := b.log.lines("that failed is done"); len(lines) != 1 {
				t.Errorf("%d lines for its end", len(lines))
			}
			store.set(datastore.ErrUnreachable)
			for i := range 20 {
				edit(b, newTier(fmt.Sprint("t", i)), func(tier *v3.Tier) { tier.Spec.Order = new(float64(2)) })
			}
		}
	})
}

// TestConflictIsNoFailure: somebody else was faster, which is nobody's fault.
func TestConflictIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		store := &faulty{Cluster: b.store, err: datastore.ErrConflict}
		b.create(newTier("a"))
		defer b.start(store, &echo{tiers: map[string]*v3.Tier{}})()
		b.after(time.Minute)
		store.set(nil)
		b.after(time.Minute)
		if lines := b.log.lines("fail"); len(lines) > 0 {
			t.Errorf("logged %q", lines)
		}
		if *get(b, newTier("a")).Spec.Order != 1 {
			t.Error("never written")
		}
	})
}

// TestNewerKnowledgeIsKept: what a write returns does not replace what the watch has brought while it was under way.
func TestNewerKnowledgeIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		store := &faulty{Cluster: b.store, hold: make(chan struct{})}
		b.create(newTier("a"))
		e := &echo{tiers: map[string]*v3.Tier{}}
		defer b.start(store, e)()
		b.after(time.Second)
		edit(b, newTier("a"), func(tier *v3.Tier) { tier.Spec.Order = new(float64(2)) }) // after the write, before its answer
		b.after(time.Second)
		close(store.hold)
		b.after(time.Second)
		if got := *get(b, newTier("a")).Spec.Order; got != 1 {
			t.Errorf("order is %v: the change was forgotten", got)
		}
	})
}

// TestWorkIsProportionalToChange: one change among many objects is planned once, and once more for what was written.
func TestWorkIsProportionalToChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		for i := range 1000 {
			b.create(newTier(fmt.Sprint("t", i)))
		}
		e := &echo{tiers: map[string]*v3.Tier{}}
		defer b.start(b.store, e)()
		b.after(time.Minute)
		e.plans = 0 // nobody is at work
		edit(b, newTier("t5"), func(tier *v3.Tier) { tier.Spec.Order = new(float64(2)) })
		b.after(time.Minute)
		if e.plans > 4 {
			t.Errorf("%d plans for one change", e.plans)
		}
	})
}

// teller hears of a tier from elsewhere.
type teller struct {
	echo
	tell chan func(func() []v3.Key)
}

func (l *teller) Listen(ctx context.Context, tell func(func() []v3.Key)) error {
	l.tell <- tell
	<-ctx.Done()
	return ctx.Err()
}

func TestListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		b.create(newTier("a"))
		l := &teller{echo{tiers: map[string]*v3.Tier{}}, make(chan func(func() []v3.Key), 1)}
		defer b.start(b.store, l)()
		b.after(time.Second)
		tell, plans := <-l.tell, l.plans
		tell(func() []v3.Key { return []v3.Key{tierKey("a"), tierKey("b")} })
		b.after(time.Second)
		if l.plans != plans+2 {
			t.Errorf("%d plans after it was told of two; want 2", l.plans-plans)
		}
	})
}

// TestNothingIsPlannedBeforeSync: what is missing may only not have been seen yet.
func TestNothingIsPlannedBeforeSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		b.create(newTier("a"))
		b.store.SetDown(datastore.ErrUnreachable)
		e := &echo{tiers: map[string]*v3.Tier{}}
		defer b.start(b.store, e, newTiers(Settings{}))()
		b.after(time.Hour)
		if e.plans > 0 {
			t.Errorf("%d plans", e.plans)
		}
		b.store.SetDown(nil)
		b.after(time.Minute)
		if e.plans == 0 || !b.has(newTier("default")) {
			t.Error("nothing is planned once the store answers")
		}
	})
}
