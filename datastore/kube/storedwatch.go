package kube

import (
	"context"
	"errors"
	"fmt"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

// storedWatch is one Watch of a kind, over as many watches of the API server as it takes.
type storedWatch struct {
	stored   *stored
	of       *storedKind
	kind     v3.Kind
	revision string // the last that was delivered
	failures int    // since something was heard
	live     bool   // the server watches
	out      chan datastore.Event
}

func (f *storedWatch) run(ctx context.Context) {
	defer close(f.out)
	defer f.stored.pulses.watched(f.kind, f.of.resource, -1)
	for {
		err := f.stored.api.watch(ctx, f.of.resource, f.revision, func(e rawEvent) error { return f.event(ctx, e) })
		f.setLive(false)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			continue
		}
		if errors.Is(err, datastore.ErrInvalid) { // no revision of this server's, which alone knows what they look like
			err = fmt.Errorf("%w: %w", datastore.ErrExpired, err)
		}
		if errors.Is(err, datastore.ErrExpired) || errors.Is(err, datastore.ErrNotServed) {
			select { // whoever gets it lists again, and finds out how it is
			case f.out <- datastore.Event{Err: err}:
			case <-ctx.Done():
			}
			return
		}
		if f.failures >= f.brief(err) {
			f.stored.pulses.lost(f.kind, f.of.resource, err, 0)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(retryDelay(f.failures, err)):
		}
		f.failures++
	}
}

// brief is how often a watch may fail until that is more than a hitch: a connection that breaks is nothing if the next one holds.
func (f *storedWatch) brief(err error) int {
	if errors.Is(err, datastore.ErrForbidden) {
		return briefRefusals
	}
	return 1
}

// setLive counts the watch among those that are heard of, or no more.
func (f *storedWatch) setLive(live bool) {
	if f.live == live {
		return
	}
	f.live = live
	f.of.mu.Lock()
	defer f.of.mu.Unlock()
	if live {
		f.of.live++
	} else {
		f.of.live--
	}
}

// event delivers one event.
func (f *storedWatch) event(ctx context.Context, e rawEvent) error {
	f.setLive(true)
	if e.raw != nil || e.revision != f.revision { // more than that the server watches
		f.failures = 0
	}
	f.stored.pulses.heard(f.kind, f.of.resource)
	f.of.saw(e.revision)
	if e.raw == nil {
		f.revision = e.revision
		return nil
	}
	var out datastore.Event
	key, o, faults, lossy := readStored(f.kind, e.raw)
	if e.gone {
		o, faults = nil, nil
	}
	if f.of.learn(key, faults, lossy, !e.gone) {
		out.Faults = f.of.allFaults()
	}
	if o != nil || e.gone {
		out.Key, out.Object = key, o
	}
	select {
	case f.out <- out:
		f.revision = e.revision
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
