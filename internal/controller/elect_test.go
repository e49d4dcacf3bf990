package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felid-net/felid/datastore"
)

// memoryLease is a LeaseStore in memory.
type memoryLease struct {
	mu     sync.Mutex
	lease  datastore.Lease
	number int
	down   map[string]bool // who can't reach it
}

// seat is the lease as one process reaches it.
type seat struct {
	*memoryLease
	name string
}

func (s seat) reach() error {
	if s.down[s.name] {
		return fmt.Errorf("cable out: %w", datastore.ErrUnreachable)
	}
	return nil
}

func (s seat) ReadLease(context.Context) (datastore.Lease, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.reach(); err != nil {
		return datastore.Lease{}, err
	}
	if s.number == 0 {
		return datastore.Lease{}, datastore.ErrNotFound
	}
	return s.lease, nil
}

func (s seat) WriteLease(_ context.Context, l datastore.Lease) (datastore.Lease, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.reach(); err != nil {
		return datastore.Lease{}, err
	}
	if l.Revision != s.lease.Revision {
		return datastore.Lease{}, datastore.ErrConflict
	}
	s.number++
	l.Revision = strconv.Itoa(s.number)
	s.lease = l
	return l, nil
}

func (m *memoryLease) setDown(name string, down bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down[name] = down
}

// race is some processes that stand for election, with clocks that differ.
type race struct {
	t       *testing.T
	lease   *memoryLease
	mu      sync.Mutex
	leading map[string]bool
	cancel  map[string]context.CancelFunc
	ended   map[string]chan error
}

func newRace(t *testing.T, names ...string) *race {
	r := &race{t: t, lease: &memoryLease{down: map[string]bool{}}, leading: map[string]bool{}, cancel: map[string]context.CancelFunc{}, ended: map[string]chan error{}}
	for _, name := range names {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		r.cancel[name], r.ended[name] = cancel, ended
		e := &Election{Lease: seat{r.lease, name}, Name: name, Log: slog.New(slog.DiscardHandler)}
		go func() { ended <- e.Run(ctx, func(ctx context.Context) error { return r.work(ctx, name) }) }()
	}
	return r
}

func (r *race) work(ctx context.Context, name string) error {
	r.set(name, true)
	<-ctx.Done()
	r.set(name, false)
	return ctx.Err()
}

func (r *race) set(name string, leads bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leading[name] = leads
	n := 0
	for _, leads := range r.leading {
		if leads {
			n++
		}
	}
	if n > 1 {
		r.t.Errorf("%d lead at once", n)
	}
}

// leader is who leads after a while.
func (r *race) leader(after time.Duration) string {
	time.Sleep(after)
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, leads := range r.leading {
		if leads {
			return name
		}
	}
	return ""
}

func (r *race) stop(name string) {
	r.cancel[name]()
	if err := <-r.ended[name]; err != nil && !errors.Is(err, context.Canceled) {
		r.t.Errorf("%s ended with %v", name, err)
	}
}

func other(name string) string { return map[string]string{"a": "b", "b": "a"}[name] }

func TestOneLeadsAndAnotherFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRace(t, "a", "b")
		first := r.leader(time.Second)
		if first == "" || r.leader(time.Hour) != first {
			t.Fatalf("%q leads first, and another an hour later", first)
		}
		r.stop(first)
		if got := r.leader(retryPeriod + time.Millisecond); got != other(first) {
			t.Errorf("%q leads after %s gave up; want the other within %s", got, first, retryPeriod)
		}
		if r.lease.lease.Transitions != 1 {
			t.Errorf("%d transitions; want 1", r.lease.lease.Transitions)
		}
		r.stop(other(first))
	})
}

func TestTheSilentOneIsReplacedAndStopsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRace(t, "a", "b")
		first := r.leader(time.Minute)
		r.lease.setDown(first, true)
		if got := r.leader(renewDeadline + retryPeriod); got == first {
			t.Errorf("%s still leads %s after it lost the lease", first, renewDeadline+retryPeriod)
		}
		if got := r.leader(leaseDuration); got != other(first) {
			t.Errorf("%q leads; want the other", got)
		}
		r.lease.setDown(first, false)
		if got := r.leader(time.Minute); got != other(first) {
			t.Errorf("%q leads; want the one that took over", got)
		}
		r.stop("a")
		r.stop("b")
	})
}

func TestNobodyLeadsWithoutTheDatastore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRace(t, "a", "b")
		r.leader(time.Minute)
		r.lease.setDown("a", true)
		r.lease.setDown("b", true)
		if got := r.leader(time.Hour); got != "" {
			t.Errorf("%s leads", got)
		}
		r.lease.setDown("a", false)
		r.lease.setDown("b", false)
		if got := r.leader(leaseDuration + 2*retryPeriod); got == "" {
			t.Error("nobody leads after the datastore came back")
		}
		r.stop("a")
		r.stop("b")
	})
}

func TestWorkThatFailsEndsTheElection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lease := &memoryLease{}
		broken := errors.New("broken")
		e := &Election{Lease: seat{lease, "a"}, Name: "a", Log: slog.New(slog.DiscardHandler)}
		if err := e.Run(t.Context(), func(context.Context) error { return broken }); !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
		if lease.lease.Holder != "" {
			t.Errorf("%q still holds the lease", lease.lease.Holder)
		}
	})
}

// TestClaim: what is written in a lease of another's clock is never compared with the own clock.
func TestClaim(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	held := datastore.Lease{Holder: "b", Duration: leaseDuration, Renewed: now.Add(-time.Hour), Revision: "1", Transitions: 4}
	if _, ok := claim(held, "a", now, leaseDuration); ok {
		t.Error("taken from a holder that was silent for no longer than it may be")
	}
	got, ok := claim(held, "a", now, leaseDuration+1)
	if want := (datastore.Lease{Holder: "a", Duration: leaseDuration, Renewed: now, Acquired: now, Revision: "1", Transitions: 5}); !ok || got != want {
		t.Errorf("got %+v, %v; want %+v", got, ok, want)
	}
}
