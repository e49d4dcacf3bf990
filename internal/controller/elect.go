package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/felid-net/felid/datastore"
)

// The times of an election: a holder that has been silent for leaseDuration is replaced; one that could not renew for renewDeadline stops by
// itself, which is earlier; all try every retryPeriod.
const (
	leaseDuration = 15 * time.Second
	renewDeadline = 10 * time.Second
	retryPeriod   = 2 * time.Second
)

// Election makes one of several processes work. Time is counted by the own clock since a change of the lease was seen, never by what is
// written in it: clocks may differ.
type Election struct {
	Lease datastore.LeaseStore
	Name  string // of this process, like no other's
	Log   *slog.Logger
	// Beat, if not nil, is called before each look at the lease.
	Beat func()

	seen    datastore.Lease
	seenAt  time.Time
	problem string // what was logged
}

// Run works whenever this process holds the lease, until ctx ends or work does, and then gives the lease up. The context of work ends when the lease
// is lost; Run then stands for election again.
func (e *Election) Run(ctx context.Context, work func(context.Context) error) error {
	for ctx.Err() == nil {
		if !e.acquire(ctx) {
			break
		}
		e.Log.Info("this controller leads", "name", e.Name)
		lost, err := e.hold(ctx, work)
		if !lost {
			e.release()
			return err
		}
		e.Log.Warn("this controller leads no more: the lease could not be renewed", "name", e.Name)
	}
	return nil
}

// acquire tries until it has the lease; false: ctx has ended.
func (e *Election) acquire(ctx context.Context) bool {
	for {
		if e.try(ctx) {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(retryPeriod):
		}
	}
}

// hold works and renews, until work has ended or the lease is lost.
func (e *Election) hold(ctx context.Context, work func(context.Context) error) (lost bool, err error) {
	working, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- work(working) }()
	renewed := time.Now()
	for {
		select {
		case err := <-ended:
			return false, err
		case <-time.After(retryPeriod):
		}
		before := time.Now()
		if ctx.Err() == nil && e.try(ctx) {
			renewed = before
		}
		if time.Since(renewed) >= renewDeadline || e.seen.Holder != e.Name && ctx.Err() == nil {
			cancel()
			<-ended
			return true, nil
		}
	}
}

// try looks at the lease, and takes or renews it where that is allowed.
func (e *Election) try(parent context.Context) bool {
	ctx, cancel := context.WithTimeout(parent, renewDeadline/2)
	defer cancel()
	if e.Beat != nil {
		e.Beat()
	}
	current, err := e.Lease.ReadLease(ctx)
	if err != nil && !errors.Is(err, datastore.ErrNotFound) {
		e.explain(parent, fmt.Errorf("reading the lease: %w", err))
		return false
	}
	now := time.Now()
	if !sameLease(current, e.seen) || e.seenAt.IsZero() {
		e.seen, e.seenAt = current, now
	}
	next, ok := claim(current, e.Name, now, now.Sub(e.seenAt))
	if !ok {
		e.explain(parent, nil)
		return false
	}
	written, err := e.Lease.WriteLease(ctx, next)
	if err != nil {
		if !errors.Is(err, datastore.ErrConflict) {
			e.explain(parent, fmt.Errorf("writing the lease: %w", err))
		}
		return false
	}
	e.seen, e.seenAt = written, now
	e.explain(parent, nil)
	return true
}

// sameLease says whether the holder has said nothing new.
func sameLease(a, b datastore.Lease) bool {
	return a.Revision == b.Revision && a.Holder == b.Holder && a.Renewed.Equal(b.Renewed)
}

// claim is the lease as a process may write it, after it has seen no change for silent; false: another one holds it.
func claim(current datastore.Lease, name string, now time.Time, silent time.Duration) (datastore.Lease, bool) {
	next := current
	next.Renewed, next.Duration = now, leaseDuration
	switch {
	case current.Holder == name:
	case current.Holder == "" || silent > max(current.Duration, time.Second):
		next.Holder, next.Acquired = name, now
		if current.Revision != "" {
			next.Transitions++
		}
	default:
		return datastore.Lease{}, false
	}
	return next, true
}

// release lets another process take over at once.
func (e *Election) release() {
	ctx, cancel := context.WithTimeout(context.Background(), renewDeadline/2)
	defer cancel()
	next := e.seen
	next.Holder, next.Renewed, next.Duration = "", time.Now(), time.Second
	if _, err := e.Lease.WriteLease(ctx, next); err != nil && !errors.Is(err, datastore.ErrConflict) {
		e.Log.Warn("the lease could not be given up: the next controller waits until it ends", "error", err)
	}
}

// explain logs a failure that is new, and not that of being ended. However the datastore can't be reached, it is one failure.
func (e *Election) explain(ctx context.Context, err error) {
	problem := ""
	switch {
	case err == nil || ctx.Err() != nil:
	case errors.Is(err, datastore.ErrUnreachable) || errors.Is(err, context.DeadlineExceeded):
		problem = datastore.ErrUnreachable.Error()
	default:
		problem = err.Error()
	}
	if problem != "" && problem != e.problem {
		e.Log.Warn("leader election: trying again", "error", err)
	}
	e.problem = problem
}
