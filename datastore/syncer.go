package datastore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
)

// Syncer follows kinds of a Store: it lists and watches them, each in a goroutine of its own, and delivers what changed in batches.
//
// What it delivers is exact at the end, not in between: while the receiver is busy, changes of one object become one. An object that
// the store can no longer read (its key is named by a fault) is not gone: what was delivered of it stays until it is readable again or
// deleted.
type Syncer struct {
	store Store
	kinds []v3.Kind
	log   *slog.Logger
}

// NewSyncer makes a Syncer of these kinds; Run starts it.
func NewSyncer(store Store, kinds []v3.Kind, log *slog.Logger) *Syncer {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Syncer{store: store, kinds: kinds, log: log}
}

// Run delivers batches on out until ctx ends, whose error it returns. It never blocks the store on a slow receiver. An unreachable
// store is tried again with backoff.
func (s *Syncer) Run(ctx context.Context, out chan<- Batch) error {
	box := newMailbox(len(s.kinds))
	held := newTroubles(s.log)
	var followers sync.WaitGroup
	defer followers.Wait()
	for _, kind := range s.kinds {
		f := &follower{store: s.store, kind: kind, log: s.log, held: held, box: box, known: map[v3.Key]string{}}
		followers.Go(func() { f.run(ctx) })
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-box.wake:
		}
		batch, ok := box.take()
		if !ok {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case out <- batch:
		}
	}
}

// follower lists and watches one kind.
type follower struct {
	store  Store
	kind   v3.Kind
	log    *slog.Logger
	held   *troubles
	box    *mailbox
	known  map[v3.Key]string // revisions delivered
	listed bool
	delay  time.Duration // before the next attempt
}

// The delays between attempts.
const (
	firstDelay = 50 * time.Millisecond
	lastDelay  = 10 * time.Second
)

func (f *follower) run(ctx context.Context) {
	for {
		err := f.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, ErrUnsupported) {
			f.log.Warn("kind is not followed", "kind", f.kind, "reason", err)
			f.finishList(nil)
			return
		}
		if !errors.Is(err, ErrExpired) {
			f.held.begin(f.kind, err)
		} else if f.delay == 0 {
			f.delay = firstDelay // for the next time, unless the watch delivers something
			continue
		}
		f.delay = min(max(2*f.delay, firstDelay), lastDelay)
		select {
		case <-ctx.Done():
			return
		case <-time.After(f.delay):
		}
	}
}

// follow lists once and then watches, until an error.
func (f *follower) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	list, err := f.store.List(ctx, f.kind, "")
	if err != nil {
		return fmt.Errorf("listing %s: %w", f.kind, err)
	}
	f.relist(&list)
	events, err := f.store.Watch(ctx, f.kind, list.Revision)
	list = List{}
	if err != nil {
		f.delay = max(f.delay, firstDelay)
		return fmt.Errorf("watching %s: %w", f.kind, err)
	}
	f.held.end(f.kind)
	for event := range events {
		if event.Err != nil {
			return fmt.Errorf("watching %s: %w", f.kind, event.Err)
		}
		f.delay = 0
		f.event(&event)
	}
	return fmt.Errorf("watching %s: %w: the watch ended without saying why", f.kind, ErrUnreachable)
}

// relist delivers how a list differs from what was delivered before. It empties the list.
func (f *follower) relist(list *List) {
	updates := make([]Update, 0, len(list.Objects))
	there := make(map[v3.Key]string, len(list.Objects))
	for i, o := range list.Objects {
		list.Objects[i] = nil // held until it is delivered, and no longer
		key, revision := v3.KeyOf(o), o.GetResourceVersion()
		there[key] = revision
		if before, ok := f.known[key]; !ok || before != revision {
			updates = append(updates, Update{key, o})
		}
	}
	for i := range list.Faults {
		key := list.Faults[i].Key
		if before, ok := f.known[key]; ok && there[key] == "" {
			there[key] = before // can't be read, which is not gone
		}
	}
	for key := range f.known {
		if _, ok := there[key]; !ok {
			updates = append(updates, Update{Key: key})
		}
	}
	f.known = there
	f.box.put(updates)
	f.finishList(list.Faults)
}

// finishList counts the kind as delivered, once, and sets its faults.
func (f *follower) finishList(faults []Fault) {
	f.box.setFaults(f.kind, faults)
	if !f.listed {
		f.listed = true
		f.box.listed()
	}
}

// event delivers one change.
func (f *follower) event(e *Event) {
	if e.Faults != nil {
		f.box.setFaults(f.kind, e.Faults)
	}
	if e.Key == (v3.Key{}) {
		return
	}
	before, ok := f.known[e.Key]
	if e.Object == nil {
		if ok {
			delete(f.known, e.Key)
			f.box.put([]Update{{Key: e.Key}})
		}
		return
	}
	if revision := e.Object.GetResourceVersion(); !ok || before != revision {
		f.known[e.Key] = revision
		f.box.put([]Update{{e.Key, e.Object}})
	}
}
