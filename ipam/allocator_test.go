package ipam

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/datastore/dstest"
)

// slowStore counts the writes of blocks, and holds the first up until it is let go.
type slowStore struct {
	datastore.Store
	updates atomic.Int64
	hold    chan struct{}
}

func (s *slowStore) Update(ctx context.Context, o v3.Object) (v3.Object, error) {
	if s.updates.Add(1) == 1 {
		<-s.hold
	}
	return s.Store.Update(ctx, o)
}

func TestConcurrentRequestsShareAWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowStore{Store: dstest.NewMemory(), hold: make(chan struct{})}
		newPool(t, store, "p", "10.0.0.0/16")
		a := New(store, "n", Options{})
		var group sync.WaitGroup
		for i := range 20 {
			group.Go(func() {
				if _, err := a.Assign(context.Background(), Request{Handle: fmt.Sprint(i), IPv4: true}); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		close(store.hold)
		group.Wait()
		// The first write confirms the claim of the block; the first request's own and that of the nineteen behind it follow.
		if n := store.updates.Load(); n != 3 {
			t.Errorf("%d writes for 20 requests; want 3", n)
		}
	})
}

func TestRepeatedAssignDoesNotTrustMemory(t *testing.T) {
	ctx := context.Background()
	store := dstest.NewMemory()
	newPool(t, store, "p", "10.0.0.0/24")
	a, other := New(store, "n", Options{}), New(store, "n", Options{})
	first, err := a.Assign(ctx, Request{Handle: "h", IPv4: true})
	if err != nil {
		t.Fatal(err)
	}
	if freed, err := other.Release(ctx, "h"); err != nil || len(freed) != 1 {
		t.Fatal(freed, err)
	}
	if got, err := a.ByHandle(ctx, "h"); err != nil || len(got) != 0 {
		t.Errorf("ByHandle: %v, %v; want nothing any more", got, err)
	}
	second, err := a.Assign(ctx, Request{Handle: "h", IPv4: true})
	if err != nil || second[0] == first[0] {
		t.Errorf("got %v, %v; want another address than %v, which somebody released", second, err, first)
	}
	third, err := other.Assign(ctx, Request{Handle: "g", IPv4: true})
	if err != nil || third[0] == second[0] {
		t.Errorf("got %v, %v; want another address than %v", third, err, second)
	}
	if freed, err := other.Release(ctx, "h"); err != nil || len(freed) != 1 || freed[0] != second[0] {
		t.Errorf("Release of what another allocator assigned: %v, %v; want %v", freed, err, second)
	}
}

func TestHalfADualStackRequestIsGivenBack(t *testing.T) {
	ctx := context.Background()
	store := dstest.NewMemory()
	newPool(t, store, "four", "10.0.0.0/24")
	newPool(t, store, "six", "fd00::/128", func(s *v3.IPPoolSpec) { s.BlockSize = 128 })
	a := New(store, "n", Options{})
	if _, err := a.Assign(ctx, Request{Handle: "first", IPv4: true, IPv6: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Assign(ctx, Request{Handle: "second", IPv4: true, IPv6: true}); !errors.Is(err, ErrExhausted) {
		t.Errorf("got %v; want ErrExhausted", err)
	}
	if got, err := New(store, "n", Options{}).ByHandle(ctx, "second"); err != nil || len(got) != 0 {
		t.Errorf("%v, %v stayed assigned", got, err)
	}
}

func TestPoolsAndReservations(t *testing.T) {
	ctx := context.Background()
	store := dstest.NewMemory()
	newPool(t, store, "a-disabled", "10.1.0.0/24", func(s *v3.IPPoolSpec) { s.Disabled = true })
	newPool(t, store, "b-manual", "10.2.0.0/24", func(s *v3.IPPoolSpec) { s.AssignmentMode = "Manual" })
	newPool(t, store, "c-other-node", "10.3.0.0/24", func(s *v3.IPPoolSpec) { s.NodeSelector = "zone == 'x'" })
	newPool(t, store, "d-other-namespace", "10.4.0.0/24", func(s *v3.IPPoolSpec) { s.NamespaceSelector = "team == 'x'" })
	newPool(t, store, "e-tunnel", "10.5.0.0/24", func(s *v3.IPPoolSpec) { s.AllowedUses = []string{"Tunnel"} })
	newPool(t, store, "e-under-another", "10.6.0.0/16", func(s *v3.IPPoolSpec) { s.NodeSelector = "all()" })
	overlapping := get(t, store, v3.KindIPPool, "e-under-another").(*v3.IPPool)
	overlapping.Status.Conditions = []metav1.Condition{{Type: ConditionAllocatable, Status: metav1.ConditionFalse, Reason: ReasonOverlap}}
	if _, err := store.Update(ctx, overlapping); err != nil {
		t.Fatal(err)
	}
	newPool(t, store, "f", "10.6.0.0/24", func(s *v3.IPPoolSpec) { s.NodeSelector = "all()" })
	reserved := &v3.IPReservation{Spec: v3.IPReservationSpec{ReservedCIDRs: []string{"10.6.0.0/25", "10.6.0.128/26", "10.6.0.192"}}}
	reserved.Name = "r"
	if _, err := store.Create(ctx, reserved); err != nil {
		t.Fatal(err)
	}
	team := Options{NamespaceSelected: func(selector, namespace string) bool { return selector == "team == 'x'" && namespace == "x" }}
	tests := []struct {
		name string
		o    Options
		r    Request
		want string // prefix of the address, or "" for ErrNoPool
	}{
		{"automatic", Options{}, Request{}, "10.6.0.193/32"},
		{"manual by name", Options{}, Request{Pools: []string{"b-manual"}}, "10.2.0.0/24"},
		{"by CIDR", Options{}, Request{Pools: []string{"10.2.0.0/24"}}, "10.2.0.0/24"},
		{"other node's by name", Options{}, Request{Pools: []string{"c-other-node"}}, "10.3.0.0/24"},
		{"other namespace's by name", team, Request{Pools: []string{"d-other-namespace"}, Namespace: "y"}, ""},
		{"the namespace's by name", team, Request{Pools: []string{"d-other-namespace"}, Namespace: "x"}, "10.4.0.0/24"},
		{"disabled by name", Options{}, Request{Pools: []string{"a-disabled"}}, ""},
		{"under another by name", Options{}, Request{Pools: []string{"e-under-another"}}, ""},
		{"tunnel by name", Options{}, Request{Pools: []string{"e-tunnel"}}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.r.Handle, test.r.IPv4 = test.name, true
			got, err := New(store, "n", test.o).Assign(ctx, test.r)
			if test.want == "" {
				if !errors.Is(err, ErrNoPool) {
					t.Errorf("got %v, %v; want ErrNoPool", got, err)
				}
				return
			}
			if err != nil || !netip.MustParsePrefix(test.want).Contains(got[0]) {
				t.Errorf("got %v, %v; want one of %s", got, err, test.want)
			}
		})
	}
}

// get is a copy of what is stored.
func get(t *testing.T, store datastore.Store, kind v3.Kind, name string) v3.Object {
	t.Helper()
	o, err := store.Get(t.Context(), v3.Key{Kind: kind, Name: name})
	if err != nil {
		t.Fatal(err)
	}
	return o.Copy()
}

func TestWhatIsStored(t *testing.T) {
	ctx := context.Background()
	store := dstest.NewMemory()
	newPool(t, store, "p", "10.0.0.0/24")
	attrs := map[string]string{AttrPod: "web-1", AttrNamespace: "web"}
	if _, err := New(store, "n", Options{}).Assign(ctx, Request{Handle: "h", IPv4: true, Attrs: attrs}); err != nil {
		t.Fatal(err)
	}
	blocks, err := store.List(ctx, v3.KindIPAMBlock, "")
	if err != nil || len(blocks.Objects) != 1 {
		t.Fatal(blocks, err)
	}
	b := blocks.Objects[0].(*v3.IPAMBlock)
	got := b.Spec.Attributes[0]
	if *got.HandleID != "h" || got.Secondary[AttrPod] != "web-1" || got.Secondary[AttrNode] != "n" || got.Secondary[AttrTimestamp] == "" {
		t.Errorf("attributes %+v", got)
	}
	if *b.Spec.Affinity != "host:n" || len(b.Spec.Unallocated) != 63 {
		t.Errorf("block %+v", b.Spec)
	}
	affinities, err := store.List(ctx, v3.KindBlockAffinity, "")
	if err != nil || len(affinities.Objects) != 1 {
		t.Fatal(affinities, err)
	}
	if a := affinities.Objects[0].(*v3.BlockAffinity); a.Spec.State != stateConfirmed || a.Spec.CIDR != b.Spec.CIDR || a.Name != "n-"+b.Name {
		t.Errorf("affinity %s %+v", a.Name, a.Spec)
	}
}
