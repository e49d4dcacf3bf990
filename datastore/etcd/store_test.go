package etcd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
	server "github.com/felid-net/felid/test/etcd"
)

// put writes a value as somebody else would.
func put(t *testing.T, s *server.Server, path, value string) {
	t.Helper()
	if _, err := s.Client().Put(t.Context(), path, value); err != nil {
		t.Fatal(err)
	}
}

// TestLayout: what etcdctl shows.
func TestLayout(t *testing.T) {
	s := server.Shared(t)
	store := open(t, s)
	o := create(t, store, tier("a", 7))
	answer, err := s.Client().Get(t.Context(), "/felid/v1/projectcalico.org/v3/Tier/a")
	if err != nil || len(answer.Kvs) != 1 {
		t.Fatalf("%v, %v", answer, err)
	}
	want := `{"kind":"Tier","apiVersion":"projectcalico.org/v3","metadata":{"name":"a"},"spec":{"order":7}`
	if got := string(answer.Kvs[0].Value); !strings.HasPrefix(got, want) {
		t.Errorf("is kept as %s, want %s…", got, want)
	}
	if got := fmt.Sprint(answer.Kvs[0].ModRevision); got != o.GetResourceVersion() {
		t.Errorf("revision %s, want %s", o.GetResourceVersion(), got)
	}
}

// TestListIsOfOneRevision: writes between pages are no part of it, and a watch has them.
func TestListIsOfOneRevision(t *testing.T) {
	s := server.Shared(t)
	store := open(t, s, func(o *Options) { o.PageSize = 3 })
	for i := range 10 {
		create(t, store, tier(fmt.Sprintf("t%d", i), 1))
	}
	p := &pages{Store: store, kind: v3.KindTier, prefix: kindPrefix(v3.KindTier), faults: map[string]datastore.Fault{}}
	now, err := store.now(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Delete(t.Context(), tierKey("t9"), ""); err != nil {
		t.Fatal(err)
	}
	create(t, store, tier("later", 1))
	if err := p.from(t.Context(), now.revision); err != nil || len(p.objects) != 10 || p.at != now {
		t.Errorf("%d objects at %s, %v; want the 10 of %s", len(p.objects), p.at, err, now)
	}
	events := watchFrom(t, store, v3.KindTier, p.at.String())
	if e := next(t, events); e.Key != tierKey("t9") || e.Object != nil {
		t.Errorf("%+v, want t9 gone", e)
	}
	if e := next(t, events); e.Key != tierKey("later") || e.Object == nil {
		t.Errorf("%+v, want later", e)
	}
	if l := list(t, store, v3.KindTier); len(l.Objects) != 10 {
		t.Errorf("%d objects, want 10", len(l.Objects))
	}
}

// TestWhatCannotBeReadIsNotGone: it is named by a fault until it can be read or is gone.
func TestWhatCannotBeReadIsNotGone(t *testing.T) {
	s := server.Shared(t)
	store := open(t, s)
	create(t, store, tier("good", 1))
	put(t, s, "/felid/v1/projectcalico.org/v3/Tier/bad", `{"kind":"Tier","metadata":{"name":"bad"},"spec":7}`)
	put(t, s, "/felid/v1/projectcalico.org/v3/Tier/other", `{"metadata":{"name":"good"}}`)
	l := list(t, store, v3.KindTier)
	if len(l.Objects) != 1 || len(l.Faults) != 2 || l.Faults[0].Key != tierKey("bad") || l.Faults[1].Key != tierKey("other") ||
		!strings.Contains(l.Faults[1].String(), "what is kept there is Tier good") {
		t.Fatalf("%+v", l)
	}
	if _, err := store.Get(t.Context(), tierKey("bad")); !errors.Is(err, datastore.ErrInvalid) || !strings.Contains(err.Error(), "Tier bad: spec") {
		t.Errorf("Get: %v", err)
	}
	events := watchFrom(t, store, v3.KindTier, l.Revision)
	put(t, s, "/felid/v1/projectcalico.org/v3/Tier/good", `no JSON`)
	if e := next(t, events); e.Key.Name != "" || len(e.Faults) != 3 {
		t.Errorf("%+v, want three faults and no object", e)
	}
	put(t, s, "/felid/v1/projectcalico.org/v3/Tier/bad", `{"metadata":{"name":"bad"}}`)
	if e := next(t, events); e.Key != tierKey("bad") || e.Object == nil || len(e.Faults) != 2 {
		t.Errorf("%+v, want bad, and two faults", e)
	}
	if err := store.Delete(t.Context(), tierKey("other"), ""); err != nil {
		t.Fatal(err)
	}
	if e := next(t, events); e.Key != tierKey("other") || e.Object != nil || len(e.Faults) != 1 {
		t.Errorf("%+v, want other gone, and one fault", e)
	}
}

// TestFaultsOfAWatchAreAllOfItsKind: also those of before it, and where another list was the last.
func TestFaultsOfAWatchAreAllOfItsKind(t *testing.T) {
	s := server.Shared(t)
	store := open(t, s)
	put(t, s, "/felid/v1/projectcalico.org/v3/Tier/a", `[]`)
	old := list(t, store, v3.KindTier)
	put(t, s, "/felid/v1/projectcalico.org/v3/Tier/b", `[]`)
	list(t, store, v3.KindTier)
	e := next(t, watchFrom(t, store, v3.KindTier, old.Revision))
	if len(e.Faults) != 2 || e.Faults[0].Key != tierKey("a") || e.Faults[1].Key != tierKey("b") {
		t.Errorf("%+v", e.Faults)
	}
}

// TestLostFieldsOfAPolicyAreSaid, and what would lose them is not written.
func TestLostFieldsOfAPolicyAreSaid(t *testing.T) {
	s := server.Shared(t)
	store := open(t, s)
	put(t, s, "/felid/v1/projectcalico.org/v3/GlobalNetworkPolicy/p", `{"metadata":{"name":"p"},"spec":{"mood":1,"ingress":[{"action":"Allow","zone":"z"}]}}`)
	l := list(t, store, v3.KindGlobalNetworkPolicy)
	if len(l.Objects) != 1 || len(l.Faults) != 1 || !strings.Contains(l.Faults[0].String(), "spec.mood: unknown field: the policy is in force without it") {
		t.Fatalf("%+v", l)
	}
	if _, err := store.Update(t.Context(), l.Objects[0]); !errors.Is(err, datastore.ErrInvalid) || !strings.Contains(err.Error(), "zone") {
		t.Errorf("Update: %v", err)
	}
}

func TestViewsAreEmpty(t *testing.T) {
	store := open(t, server.Shared(t))
	if l := list(t, store, v3.KindKubernetesNetworkPolicy); len(l.Objects) > 0 || l.Revision == "" {
		t.Errorf("%+v", l)
	}
	if _, err := store.Get(t.Context(), v3.Key{Kind: v3.KindServiceEndpoints, Namespace: "a", Name: "b"}); !errors.Is(err, datastore.ErrNotFound) {
		t.Errorf("Get: %v", err)
	}
}

func TestAnObjectThatIsTooLarge(t *testing.T) {
	store := open(t, server.Shared(t))
	o := tier("a", 1)
	o.Annotations = map[string]string{"a": strings.Repeat("x", 1700000)}
	if _, err := store.Create(t.Context(), o); !errors.Is(err, datastore.ErrInvalid) || !strings.Contains(err.Error(), "max-request-bytes") {
		t.Errorf("Create: %v", err)
	}
}

// TestManyWriters: a thousand writes that conflict, from stores of their own; each counts once.
func TestManyWriters(t *testing.T) {
	s := server.Shared(t)
	const writers, each = 10, 100
	create(t, open(t, s), tier("a", 0))
	failed := make(chan error, writers)
	for range writers {
		store := open(t, s)
		go func() {
			for range each {
				if err := increment(t.Context(), store); err != nil {
					failed <- err
					return
				}
			}
			failed <- nil
		}()
	}
	for range writers {
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
	}
	o, err := open(t, s).Get(t.Context(), tierKey("a"))
	if err != nil || *o.(*v3.Tier).Spec.Order != writers*each {
		t.Errorf("%s, %v; want %d", cmp.Diff(o, nil), err, writers*each)
	}
}

func increment(ctx context.Context, store *Store) error {
	for {
		old, err := store.Get(ctx, tierKey("a"))
		if err != nil {
			return err
		}
		o := old.Copy().(*v3.Tier)
		*o.Spec.Order++
		if _, err := store.Update(ctx, o); !errors.Is(err, datastore.ErrConflict) {
			return err
		}
	}
}

func BenchmarkUpdate(b *testing.B) {
	s := server.Shared(b)
	store, err := Open(Options{Endpoints: []string{s.Endpoint}})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	o, err := store.Create(b.Context(), tier("a", 1))
	for err == nil && b.Loop() {
		o, err = store.Update(b.Context(), o)
	}
	if err != nil {
		b.Fatal(err)
	}
}

// BenchmarkList lists 10,000 sets.
func BenchmarkList(b *testing.B) {
	s := server.Shared(b)
	store, err := Open(Options{Endpoints: []string{s.Endpoint}})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	for i := range 10000 {
		o := &v3.NetworkSet{Spec: v3.NetworkSetSpec{Nets: []string{"10.0.0.0/8"}}}
		o.Namespace, o.Name = fmt.Sprintf("ns-%d", i%50), fmt.Sprintf("set-%d", i)
		if _, err := store.Create(b.Context(), o); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	start := time.Now()
	for b.Loop() {
		if l, err := store.List(b.Context(), v3.KindNetworkSet, ""); err != nil || len(l.Objects) != 10000 {
			b.Fatal(len(l.Objects), err)
		}
	}
	b.ReportMetric(float64(b.N)*10000/time.Since(start).Seconds(), "objects/s")
}
