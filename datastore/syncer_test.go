package datastore_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/datastore/dstest"
)

func tier(name string, order float64) *v3.Tier {
	o := &v3.Tier{Spec: v3.TierSpec{Order: &order}}
	o.Name = name
	return o
}

func key(name string) v3.Key { return v3.Key{Kind: v3.KindTier, Name: name} }

// put creates or replaces.
func put(t *testing.T, m *dstest.Memory, o v3.Object) {
	t.Helper()
	_, err := m.Update(context.Background(), o)
	if errors.Is(err, datastore.ErrNotFound) {
		_, err = m.Create(context.Background(), o)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// startSyncer runs a Syncer of tiers and sets; stop ends it.
func startSyncer(m datastore.Store) (out chan datastore.Batch, stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	out = make(chan datastore.Batch)
	ended := make(chan error, 1)
	kinds := []v3.Kind{v3.KindTier, v3.KindNetworkSet}
	go func() { ended <- datastore.NewSyncer(m, kinds, nil).Run(ctx, out) }()
	return out, func() { cancel(); <-ended }
}

// nextBatch is the batch that is there when everything has come to rest; ok is false if there is none.
func nextBatch(out <-chan datastore.Batch) (b datastore.Batch, ok bool) {
	synctest.Wait()
	select {
	case b = <-out:
		return b, true
	default:
		return b, false
	}
}

// untilSync takes batches until one is in sync, and counts updates.
func untilSync(t *testing.T, out <-chan datastore.Batch) (updates int) {
	t.Helper()
	for range 10 {
		b, _ := nextBatch(out)
		updates += len(b.Updates)
		if b.InSync {
			return updates
		}
	}
	t.Fatal("never in sync")
	return 0
}

func TestSyncerDeliversListThenChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := dstest.NewMemory()
		put(t, m, tier("a", 1))
		out, stop := startSyncer(m)
		defer stop()
		if n := untilSync(t, out); n != 1 {
			t.Errorf("%d updates at the start, want 1", n)
		}
		put(t, m, tier("b", 1))
		if b, ok := nextBatch(out); !ok || len(b.Updates) != 1 || b.Updates[0].Key != key("b") || !b.InSync {
			t.Errorf("got %+v, %v; want b", b, ok)
		}
		if b, ok := nextBatch(out); ok {
			t.Errorf("got %+v; want nothing more", b)
		}
	})
}

func TestSyncerOfAnEmptyStoreIsInSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out, stop := startSyncer(dstest.NewMemory())
		defer stop()
		if n := untilSync(t, out); n != 0 {
			t.Errorf("%d updates", n)
		}
	})
}

func TestSyncerMakesChangesOneWhileTheReceiverIsBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := dstest.NewMemory()
		out, stop := startSyncer(m)
		defer stop()
		untilSync(t, out)
		put(t, m, tier("first", 0))
		synctest.Wait() // it is being offered: what follows gathers
		for i := range 1000 {
			put(t, m, tier("a", float64(i)))
			put(t, m, tier(fmt.Sprint("t", i%3), float64(i)))
		}
		if err := m.Delete(context.Background(), key("t0"), ""); err != nil {
			t.Fatal(err)
		}
		if b, _ := nextBatch(out); len(b.Updates) != 1 {
			t.Fatalf("got %+v; want first alone", b)
		}
		b, _ := nextBatch(out)
		last := map[v3.Key]v3.Object{}
		for _, u := range b.Updates {
			last[u.Key] = u.Object
		}
		if len(b.Updates) != 4 || *last[key("a")].(*v3.Tier).Spec.Order != 999 || last[key("t0")] != nil {
			t.Errorf("got %+v; want the last of a, t1, t2, and t0 gone", b.Updates)
		}
	})
}

func TestSyncerListsAgainAndDeliversDifferencesOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := dstest.NewMemory()
		for i := range 10 {
			put(t, m, tier(fmt.Sprint(i), 1))
		}
		out, stop := startSyncer(m)
		defer stop()
		untilSync(t, out)
		m.SetDown(fmt.Errorf("cable out: %w", datastore.ErrUnreachable))
		time.Sleep(time.Minute)
		if b, ok := nextBatch(out); ok {
			t.Errorf("got %+v while the store is down; want nothing", b)
		}
		m.SetDown(nil)
		put(t, m, tier("3", 7))
		if err := m.Delete(context.Background(), key("4"), ""); err != nil {
			t.Fatal(err)
		}
		put(t, m, tier("new", 1))
		m.Expire()
		time.Sleep(time.Minute)
		got := map[v3.Key]bool{}
		for b, ok := nextBatch(out); ok; b, ok = nextBatch(out) {
			if !b.InSync {
				t.Error("out of sync again")
			}
			for _, u := range b.Updates {
				got[u.Key] = u.Object != nil
			}
		}
		if len(got) != 3 || !got[key("3")] || got[key("4")] || !got[key("new")] {
			t.Errorf("got %v; want 3 changed, 4 gone, new", got)
		}
	})
}

func TestSyncerKeepsWhatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := dstest.NewMemory()
		put(t, m, tier("a", 1))
		out, stop := startSyncer(m)
		defer stop()
		untilSync(t, out)
		m.Break(key("a"), errors.New("bad bytes"))
		b, ok := nextBatch(out)
		if !ok || len(b.Updates) != 0 || len(b.Faults) != 1 || b.Faults[0].Key != key("a") {
			t.Fatalf("got %+v, %v; want a fault and no update", b, ok)
		}
		m.Expire() // and not when it lists again either
		time.Sleep(time.Minute)
		if b, ok := nextBatch(out); ok && len(b.Updates) > 0 {
			t.Errorf("got %+v; want a to stay", b.Updates)
		}
	})
}

func TestSyncerWaitsForAStoreThatIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := dstest.NewMemory()
		put(t, m, tier("a", 1))
		m.SetDown(datastore.ErrUnreachable)
		out, stop := startSyncer(m)
		defer stop()
		time.Sleep(time.Hour)
		if b, ok := nextBatch(out); ok {
			t.Fatalf("got %+v from a store that is down", b)
		}
		m.SetDown(nil)
		time.Sleep(time.Minute)
		if n := untilSync(t, out); n != 1 {
			t.Errorf("%d updates, want 1", n)
		}
	})
}
