package etcd

import (
	"context"
	"fmt"
	"maps"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

// Watch implements datastore.Store. It returns at once; that a revision is too old is the watch's first event.
func (s *Store) Watch(ctx context.Context, kind v3.Kind, revision string) (<-chan datastore.Event, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	after, ok := parseListRevision(revision, s.lineage.eraNow())
	if !ok {
		return nil, fmt.Errorf("watching %s after %q: %w", kind, revision, datastore.ErrExpired)
	}
	w := &watch{Store: s, kind: kind, after: after, events: make(chan datastore.Event, 128)}
	s.ended.Go(func() { w.run(ctx) })
	return w.events, nil
}

// watch is one Watch.
type watch struct {
	*Store
	kind   v3.Kind
	after  listRevision
	faults map[string]datastore.Fault // by path, as told; nil until they are known
	events chan datastore.Event
}

// run sends events until the watch ends, and says why, unless its caller ended it.
func (w *watch) run(ctx context.Context) {
	defer close(w.events)
	pulse := w.listen(w.kind)
	defer w.leave(pulse)
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(pulse.ctx, cancel)()
	err := w.follow(inner)
	if cause := context.Cause(pulse.ctx); cause != nil {
		err = cause
	}
	select {
	case w.events <- datastore.Event{Err: fmt.Errorf("watching %s: %w", w.kind, err)}:
	case <-ctx.Done():
	case <-w.live.Done(): // nobody may be reading any more
	}
}

// follow sends what changes, until an error.
func (w *watch) follow(ctx context.Context) error {
	// Etcd would wait in silence for a revision that is yet to come, and of another history.
	now, err := w.now(ctx)
	if err != nil {
		return err
	}
	if now.cluster != w.after.cluster || now.era != w.after.era || now.revision < w.after.revision {
		return fmt.Errorf("%w: revision %s is of another store than %s", datastore.ErrExpired, w.after, now)
	}
	// From the list's own revision: etcd sends no notes of progress on a watch whose first revision is yet to come.
	changes := w.client.Watch(clientv3.WithRequireLeader(ctx), kindPrefix(w.kind),
		clientv3.WithPrefix(), clientv3.WithRev(w.after.revision), clientv3.WithFragment(), clientv3.WithCreatedNotify(), clientv3.WithProgressNotify())
	stall := time.NewTimer(w.o.Stall)
	defer stall.Stop()
	for {
		select {
		case <-stall.C:
			return fmt.Errorf("%w: nothing was heard on the watch for %s, not even that nothing changed", datastore.ErrExpired, w.o.Stall)
		case answer, ok := <-changes:
			if !ok {
				return fmt.Errorf("%w: etcd ended the watch", datastore.ErrUnreachable)
			}
			if err := w.take(ctx, &answer); err != nil {
				return err
			}
			stall.Reset(w.o.Stall)
		}
	}
}

// take sends what changed by one answer, which may be that nothing did.
func (w *watch) take(ctx context.Context, answer *clientv3.WatchResponse) error {
	if err := answer.Err(); err != nil {
		return told(err)
	}
	for _, e := range answer.Events {
		if e.Kv.ModRevision <= w.after.revision {
			continue // listed
		}
		if err := w.change(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

// change sends one change, and the faults where they are others by it.
func (w *watch) change(ctx context.Context, e *clientv3.Event) error {
	path := string(e.Kv.Key)
	var event datastore.Event
	var fault *datastore.Fault
	if e.Type == mvccpb.DELETE {
		if key, err := keyOf(w.kind, path); err == nil {
			event.Key = key
		}
	} else if event.Object, fault = w.read(w.kind, e.Kv); event.Object != nil {
		event.Key = v3.KeyOf(event.Object)
	}
	changed, err := w.fault(ctx, path, fault)
	if err != nil {
		return err
	}
	if changed {
		event.Faults = sorted(w.faults)
	}
	if event.Key.Name == "" && event.Faults == nil {
		return nil
	}
	select {
	case w.events <- event:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// fault takes note of what is wrong with one entry now, nil for nothing, and tells whether that is another thing than before.
func (w *watch) fault(ctx context.Context, path string, fault *datastore.Fault) (changed bool, err error) {
	if w.faults == nil {
		if w.faults, err = w.faultsAt(ctx, w.kind, w.after); err != nil {
			return false, err
		}
	}
	before, was := w.faults[path]
	switch {
	case fault == nil:
		delete(w.faults, path)
		return was, nil
	case was && before.String() == fault.String():
		return false, nil
	}
	w.faults[path] = *fault
	return true, nil
}

// faultsAt are a kind's faults at a revision: what its list said, if that was the last one, else by another list.
func (s *Store) faultsAt(ctx context.Context, kind v3.Kind, at listRevision) (map[string]datastore.Fault, error) {
	s.mu.Lock()
	last, ok := s.faults[kind]
	s.mu.Unlock()
	if ok && last.at == at {
		return maps.Clone(last.byKey), nil
	}
	p := &pages{Store: s, kind: kind, prefix: kindPrefix(kind), faults: map[string]datastore.Fault{}}
	return p.faults, p.from(ctx, at.revision)
}
