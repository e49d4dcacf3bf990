package kube

import (
	"context"
	"errors"
	"testing"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

const patience = 30 * time.Second

// until waits for a condition, which is asked for often.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline:
			t.Fatalf("never %s", what)
		case <-tick.C:
		}
	}
}

// synced is a Syncer of a Store, and what it has delivered.
type synced struct {
	t       *testing.T
	out     chan datastore.Batch
	have    map[v3.Key]v3.Object
	updates []datastore.Update
	faults  []datastore.Fault
	inSync  bool
}

// syncOf starts a Syncer that ends with the test.
func syncOf(t *testing.T, s datastore.Store, kinds ...v3.Kind) *synced {
	t.Helper()
	f := &synced{t: t, out: make(chan datastore.Batch), have: map[v3.Key]v3.Object{}}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- datastore.NewSyncer(s, kinds, testLog(t)).Run(ctx, f.out) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the Syncer ended with %v", err)
		}
	})
	return f
}

// until takes batches until a condition holds.
func (f *synced) until(what string, done func() bool) {
	f.t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case b := <-f.out:
			f.take(b)
		case <-tick.C:
		case <-deadline:
			f.t.Fatalf("never %s; have %d objects, faults %v", what, len(f.have), f.faults)
		}
	}
}

func (f *synced) take(b datastore.Batch) {
	f.inSync = f.inSync || b.InSync
	if b.Faults != nil {
		f.faults = b.Faults
	}
	f.updates = append(f.updates, b.Updates...)
	for _, u := range b.Updates {
		if f.have[u.Key] = u.Object; u.Object == nil {
			delete(f.have, u.Key)
		}
	}
}

func (f *synced) has(o v3.Object) bool {
	got := f.have[v3.KeyOf(o)]
	return got != nil && got.GetResourceVersion() == o.GetResourceVersion()
}

// quick is a timing for tests.
func quick(o *Options) {
	o.times = timing{call: 5 * time.Second, silence: time.Minute, ping: time.Second, pong: time.Second, watching: time.Minute}
}
