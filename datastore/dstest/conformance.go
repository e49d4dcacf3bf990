package dstest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

// patience bounds every wait of the suite.
const patience = 10 * time.Second

// Limit is something that a back end can't do, and says so.
type Limit string

// DNSNames: names are DNS subdomains (RFC 1123, lower case); any other is ErrInvalid.
const DNSNames Limit = "DNS names"

// RunConformance proves that a back end keeps the contract, within its limits. open gives an empty store, closed by the suite.
func RunConformance(t *testing.T, open func(t *testing.T) datastore.Store, limits ...Limit) {
	tests := []struct {
		name string
		run  func(*testing.T, datastore.Store)
	}{
		{"Get of what is not there", testGetMissing},
		{"Create, Get, Update, Delete", testLifeCycle},
		{"Compare and swap", testCompareAndSwap},
		{"Objects are not shared with the caller", testNotShared},
		{"What can't be stored", testInvalid},
		{"List is sorted and narrowed by namespace", testList},
		{"Names that file systems dislike", func(t *testing.T, s datastore.Store) { testNames(t, s, slices.Contains(limits, DNSNames)) }},
		{"Watch goes on from a list", testWatch},
		{"Watch of one kind does not see another", testWatchKind},
		{"Watch replays what came between list and watch", testWatchReplay},
		{"Watch from a foreign revision expires", testWatchExpired},
		{"Watch ends with its context", testWatchEnds},
		{"Concurrent writers lose no update", testConcurrentWriters},
		{"Concurrent creators: one wins", testConcurrentCreators},
		{"Watch under concurrent writers converges in order", testWatchOrder},
		{"Syncer follows", testSyncer},
		{"Cancelled context", testCancelled},
		{"Status is written apart, where it is", testStatus},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			store := open(t)
			t.Cleanup(func() {
				if err := store.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			})
			test.run(t, store)
		})
	}
}

// set is a NetworkSet with one net.
func set(namespace, name, net string) *v3.NetworkSet {
	s := &v3.NetworkSet{Spec: v3.NetworkSetSpec{Nets: []string{net}}}
	s.Namespace, s.Name = namespace, name
	return s
}

func tier(name string, order float64) *v3.Tier {
	o := &v3.Tier{Spec: v3.TierSpec{Order: &order}}
	o.Name = name
	return o
}

func mustCreate(t *testing.T, s datastore.Store, o v3.Object) v3.Object {
	t.Helper()
	stored, err := s.Create(t.Context(), o)
	if err != nil {
		t.Fatalf("Create %s: %v", v3.KeyOf(o), err)
	}
	if stored.GetResourceVersion() == "" {
		t.Fatalf("Create %s: the stored object has no revision", v3.KeyOf(o))
	}
	return stored
}

func mustList(t *testing.T, s datastore.Store, kind v3.Kind, namespace string) datastore.List {
	t.Helper()
	list, err := s.List(t.Context(), kind, namespace)
	if err != nil {
		t.Fatalf("List %s: %v", kind, err)
	}
	return list
}

func wantError(t *testing.T, doing string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got error %v, want %v", doing, err, want)
	}
}

func testGetMissing(t *testing.T, s datastore.Store) {
	key := v3.KeyOf(set("ns", "a", ""))
	_, err := s.Get(t.Context(), key)
	wantError(t, "Get", err, datastore.ErrNotFound)
	_, err = s.Update(t.Context(), set("ns", "a", "10.0.0.0/8"))
	wantError(t, "Update", err, datastore.ErrNotFound)
	wantError(t, "Delete", s.Delete(t.Context(), key, ""), datastore.ErrNotFound)
}

func testLifeCycle(t *testing.T, s datastore.Store) {
	ctx := t.Context()
	o := set("ns", "a", "10.0.0.0/8")
	o.Labels = map[string]string{"x": "y"}
	o.Annotations = map[string]string{"note": "with \"quotes\" and\nlines"}
	created := mustCreate(t, s, o)
	if got := created.(*v3.NetworkSet); !cmp.Equal(got.Spec, o.Spec) || got.Labels["x"] != "y" || got.Annotations["note"] != o.Annotations["note"] {
		t.Errorf("Create returned %+v", got)
	}
	got, err := s.Get(ctx, v3.KeyOf(o))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(created, got); diff != "" {
		t.Errorf("Get differs from what Create returned:\n%s", diff)
	}
	_, err = s.Create(ctx, o)
	wantError(t, "second Create", err, datastore.ErrExists)

	changed := got.Copy().(*v3.NetworkSet)
	changed.Spec.Nets = []string{"fd00::/8"}
	updated, err := s.Update(ctx, changed)
	if err != nil {
		t.Fatal(err)
	}
	if updated.GetResourceVersion() == got.GetResourceVersion() {
		t.Error("Update did not change the revision")
	}
	if got, err = s.Get(ctx, v3.KeyOf(o)); err != nil || !cmp.Equal(got, updated) {
		t.Errorf("Get after Update: %v\n%s", err, cmp.Diff(updated, got))
	}
	if err := s.Delete(ctx, v3.KeyOf(o), updated.GetResourceVersion()); err != nil {
		t.Fatal(err)
	}
	_, err = s.Get(ctx, v3.KeyOf(o))
	wantError(t, "Get after Delete", err, datastore.ErrNotFound)
	mustCreate(t, s, o)
}

func testCompareAndSwap(t *testing.T, s datastore.Store) {
	ctx := t.Context()
	first := mustCreate(t, s, set("ns", "a", "10.0.0.0/8"))
	second, err := s.Update(ctx, withNet(first, "11.0.0.0/8"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Update(ctx, withNet(first, "12.0.0.0/8"))
	wantError(t, "Update with an old revision", err, datastore.ErrConflict)
	wantError(t, "Delete with an old revision", s.Delete(ctx, v3.KeyOf(first), first.GetResourceVersion()), datastore.ErrConflict)
	if got, err := s.Get(ctx, v3.KeyOf(first)); err != nil || !cmp.Equal(got, second) {
		t.Errorf("the object changed though both writes were refused: %v\n%s", err, cmp.Diff(second, got))
	}
	whatever := withNet(first, "13.0.0.0/8")
	whatever.SetResourceVersion("")
	if _, err := s.Update(ctx, whatever); err != nil {
		t.Errorf("Update without a revision: %v", err)
	}
	if err := s.Delete(ctx, v3.KeyOf(first), ""); err != nil {
		t.Errorf("Delete without a revision: %v", err)
	}
}

func withNet(o v3.Object, net string) *v3.NetworkSet {
	changed := o.Copy().(*v3.NetworkSet)
	changed.Spec.Nets = []string{net}
	return changed
}

func testNotShared(t *testing.T, s datastore.Store) {
	mine := set("ns", "a", "10.0.0.0/8")
	mustCreate(t, s, mine)
	mine.Spec.Nets[0] = "99.0.0.0/8"
	got, err := s.Get(t.Context(), v3.KeyOf(mine))
	if err != nil || got.(*v3.NetworkSet).Spec.Nets[0] != "10.0.0.0/8" {
		t.Errorf("got %v, %v: the store kept the caller's object", got, err)
	}
	if mine.ResourceVersion != "" {
		t.Error("Create changed the caller's object")
	}
}

func testInvalid(t *testing.T, s datastore.Store) {
	ctx := t.Context()
	_, err := s.Create(ctx, tier("", 1))
	wantError(t, "Create without a name", err, datastore.ErrInvalid)
	_, err = s.Create(ctx, set("", "a", "10.0.0.0/8"))
	wantError(t, "Create without a namespace", err, datastore.ErrInvalid)
	namespaced := tier("a", 1)
	namespaced.Namespace = "ns"
	_, err = s.Create(ctx, namespaced)
	wantError(t, "Create of a cluster-scoped object in a namespace", err, datastore.ErrInvalid)
	view := &v3.ServiceEndpoints{}
	view.Namespace, view.Name = "ns", "a"
	_, err = s.Create(ctx, view)
	wantError(t, "Create of a view", err, datastore.ErrUnsupported)
}

func testList(t *testing.T, s datastore.Store) {
	if list := mustList(t, s, v3.KindNetworkSet, ""); len(list.Objects) != 0 || list.Revision == "" {
		t.Fatalf("list of an empty store: %+v", list)
	}
	for _, name := range []string{"b/z", "a/y", "b/a", "a/x", "a-b/x"} {
		namespace, name, _ := cut(name)
		mustCreate(t, s, set(namespace, name, "10.0.0.0/8"))
	}
	mustCreate(t, s, tier("x", 1))
	want := []string{"a/x", "a/y", "a-b/x", "b/a", "b/z"}
	if got := names(mustList(t, s, v3.KindNetworkSet, "").Objects); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := names(mustList(t, s, v3.KindNetworkSet, "b").Objects); !slices.Equal(got, want[3:]) {
		t.Errorf("of namespace b: got %v, want %v", got, want[3:])
	}
}

func cut(s string) (namespace, name string, ok bool) {
	for i := range len(s) {
		if s[i] == '/' {
			return s[:i], s[i+1:], true
		}
	}
	return "", s, false
}

func names(objects []v3.Object) []string {
	var out []string
	for _, o := range objects {
		out = append(out, o.GetNamespace()+"/"+o.GetName())
	}
	return out
}

func globalSet(name string) *v3.GlobalNetworkSet {
	o := &v3.GlobalNetworkSet{}
	o.Name = name
	return o
}

func testNames(t *testing.T, s datastore.Store, dnsOnly bool) {
	long := ""
	for len(long) < 253 {
		long += "x"
	}
	kept := 0
	for _, name := range []string{"kns.ns", "web-1+net1", "a:b", "con", "A", "a", long, long[:252] + "y"} {
		if dnsOnly && strings.ContainsAny(name, "+:A") {
			_, err := s.Create(t.Context(), globalSet(name))
			wantError(t, "Create of a name that is no DNS name", err, datastore.ErrInvalid)
			continue
		}
		kept++
		created := mustCreate(t, s, globalSet(name))
		got, err := s.Get(t.Context(), v3.Key{Kind: v3.KindGlobalNetworkSet, Name: name})
		if err != nil || !cmp.Equal(created, got) {
			t.Errorf("%q: %v\n%s", name, err, cmp.Diff(created, got))
		}
	}
	if n := len(mustList(t, s, v3.KindGlobalNetworkSet, "").Objects); n != kept {
		t.Errorf("list has %d objects, want %d", n, kept)
	}
}

// increment adds one to a counter that is kept in an annotation.
func increment(ctx context.Context, s datastore.Store, key v3.Key) error {
	for {
		o, err := s.Get(ctx, key)
		if err != nil {
			return err
		}
		changed := o.Copy()
		n, err := strconv.Atoi(changed.GetAnnotations()["count"])
		if err != nil {
			return err
		}
		changed.SetAnnotations(map[string]string{"count": strconv.Itoa(n + 1)})
		if _, err = s.Update(ctx, changed); !errors.Is(err, datastore.ErrConflict) {
			return err
		}
	}
}

func testConcurrentWriters(t *testing.T, s datastore.Store) {
	const writers, each = 8, 20
	o := tier("counter", 1)
	o.Annotations = map[string]string{"count": "0"}
	key := v3.KeyOf(mustCreate(t, s, o))
	var group sync.WaitGroup
	for range writers {
		group.Go(func() {
			for range each {
				if err := increment(t.Context(), s, key); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	got, err := s.Get(t.Context(), key)
	if err != nil || got.GetAnnotations()["count"] != strconv.Itoa(writers*each) {
		t.Errorf("counted %v, %v; want %d", got, err, writers*each)
	}
}

func testConcurrentCreators(t *testing.T, s datastore.Store) {
	const creators = 16
	won := make([]error, creators)
	var group sync.WaitGroup
	for i := range creators {
		group.Go(func() { _, won[i] = s.Create(t.Context(), tier("a", float64(i))) })
	}
	group.Wait()
	winners := 0
	for _, err := range won {
		if err == nil {
			winners++
		} else if !errors.Is(err, datastore.ErrExists) {
			t.Errorf("a loser got %v, want ErrExists", err)
		}
	}
	if winners != 1 {
		t.Errorf("%d creators won", winners)
	}
}

// testWatchOrder has writers count counters up: a watch may leave numbers out, but never goes back nor repeats, and ends at the last.
func testWatchOrder(t *testing.T, s datastore.Store) {
	const counters, each = 4, 50
	keys := make([]v3.Key, counters)
	for i := range keys {
		o := tier(fmt.Sprintf("counter-%d", i), 1)
		o.Annotations = map[string]string{"count": "0"}
		keys[i] = v3.KeyOf(mustCreate(t, s, o))
	}
	events := mustWatch(t, s, v3.KindTier, mustList(t, s, v3.KindTier, "").Revision)
	var group sync.WaitGroup
	defer group.Wait()
	for _, key := range keys {
		group.Go(func() {
			for range each {
				if err := increment(t.Context(), s, key); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	last := map[v3.Key]int{}
	for at := 0; at < counters; {
		e := next(t, events)
		n, err := strconv.Atoi(e.Object.GetAnnotations()["count"])
		if err != nil || n <= last[e.Key] {
			t.Fatalf("%s: %d after %d (%v)", e.Key, n, last[e.Key], err)
		}
		if last[e.Key] = n; n == each {
			at++
		}
	}
}

func testSyncer(t *testing.T, s datastore.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	mustCreate(t, s, tier("a", 1))
	out := make(chan datastore.Batch)
	ended := make(chan error, 1)
	go func() { ended <- datastore.NewSyncer(s, []v3.Kind{v3.KindTier, v3.KindNetworkSet}, nil).Run(ctx, out) }()
	have := map[v3.Key]v3.Object{}
	inSync := false
	until := func(what string, done func() bool) {
		t.Helper()
		deadline := time.After(patience)
		for !done() {
			select {
			case b := <-out:
				inSync = inSync || b.InSync
				for _, u := range b.Updates {
					if have[u.Key] = u.Object; u.Object == nil {
						delete(have, u.Key)
					}
				}
			case <-deadline:
				t.Fatalf("never %s; have %v", what, have)
			}
		}
	}
	until("in sync with one tier", func() bool { return inSync && len(have) == 1 })
	created := mustCreate(t, s, set("ns", "b", "10.0.0.0/8"))
	until("a set", func() bool { return cmp.Equal(have[v3.KeyOf(created)], created) })
	if err := s.Delete(ctx, v3.KeyOf(created), ""); err != nil {
		t.Fatal(err)
	}
	until("without the set", func() bool { return len(have) == 1 })
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Run returned %v", err)
	}
}

func testCancelled(t *testing.T, s datastore.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Get(ctx, v3.KeyOf(tier("a", 1)))
	wantError(t, "Get", err, context.Canceled)
	_, err = s.Create(ctx, tier("a", 1))
	wantError(t, "Create", err, context.Canceled)
}
