package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

// writeTimeout bounds the writes of one step.
const writeTimeout = 30 * time.Second

// errNotProven: Verify found that the write would be wrong.
var errNotProven = errors.New("not proven")

// result is what became of the writes of a step.
type result struct {
	task   task
	writes []Write
	stored []datastore.Update // what was written before err, as it is in the datastore now
	err    error
}

// perform makes writes in order, up to the first that fails.
func (l *loop) perform(ctx context.Context, t task, writes []Write) result {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	r := result{task: t, writes: writes}
	for i := range writes {
		w := &writes[i]
		stored, err := write(ctx, l.o.Store, w)
		l.o.Metrics.wrote(l.name(t), string(w.Verb), err)
		if err != nil {
			r.err = fmt.Errorf("%s %s: %w", w.Verb, v3.KeyOf(w.Object), err)
			return r
		}
		if w.Note != "" {
			l.o.Log.Info(w.Note, "reconciler", l.name(t), "object", v3.KeyOf(w.Object).String())
		}
		if w.Do == nil {
			r.stored = append(r.stored, datastore.Update{Key: v3.KeyOf(w.Object), Object: stored})
		}
	}
	return r
}

// write makes one write, and returns what is stored then: nil for what is gone.
func write(ctx context.Context, store datastore.Store, w *Write) (v3.Object, error) {
	if w.Verify != nil {
		if err := w.Verify(ctx, store); err != nil {
			return nil, err
		}
	}
	if w.Do != nil {
		return nil, w.Do(ctx)
	}
	switch w.Verb {
	case Create:
		return store.Create(ctx, w.Object)
	case Update:
		return store.Update(ctx, w.Object)
	case UpdateStatus:
		if s, ok := store.(datastore.StatusStore); ok {
			return s.UpdateStatus(ctx, w.Object)
		}
		return nil, datastore.ErrUnsupported
	case Delete:
		return remove(ctx, store, w.Object)
	}
	panic("controller: unknown verb " + string(w.Verb))
}

// remove deletes an object. One that a finalizer holds is still there after that.
func remove(ctx context.Context, store datastore.Store, o v3.Object) (v3.Object, error) {
	err := store.Delete(ctx, v3.KeyOf(o), o.GetResourceVersion())
	if err == nil && len(o.GetFinalizers()) > 0 {
		var left v3.Object
		left, err = store.Get(ctx, v3.KeyOf(o))
		if err == nil {
			return left, nil
		}
	}
	if errors.Is(err, datastore.ErrNotFound) {
		return nil, nil
	}
	return nil, err
}
