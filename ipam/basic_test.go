package ipam

import (
	"context"
	"testing"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/datastore/dstest"
)

func newPoolObject(name, cidr string) *v3.IPPool {
	p := &v3.IPPool{Spec: v3.IPPoolSpec{CIDR: cidr}}
	p.Name = name
	return p
}

func newPool(t *testing.T, store datastore.Store, name, cidr string, change ...func(*v3.IPPoolSpec)) {
	t.Helper()
	p := newPoolObject(name, cidr)
	for _, f := range change {
		f(&p.Spec)
	}
	if _, err := store.Create(context.Background(), p); err != nil {
		t.Fatal(err)
	}
}

func TestAssignIsIdempotentByHandle(t *testing.T) {
	ctx := context.Background()
	store := dstest.NewMemory()
	newPool(t, store, "four", "10.65.0.0/16")
	newPool(t, store, "six", "fd00:65::/48")
	a := New(store, "node-1", Options{})
	r := Request{Handle: Handle("net", "c1", "eth0"), IPv4: true, IPv6: true}
	first, err := a.Assign(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	if len(first) != 2 || !first[0].Is4() || !first[1].Is6() {
		t.Fatalf("got %v, want an IPv4 and an IPv6 address", first)
	}
	for _, again := range []*Allocator{a, New(store, "node-1", Options{})} {
		second, err := again.Assign(ctx, r)
		if err != nil || second[0] != first[0] || second[1] != first[1] {
			t.Fatalf("got %v, %v; want %v again", second, err, first)
		}
	}
	freed, err := a.Release(ctx, r.Handle)
	if err != nil || len(freed) != 2 {
		t.Fatalf("released %v, %v; want both", freed, err)
	}
	if freed, err = a.Release(ctx, r.Handle); err != nil || len(freed) != 0 {
		t.Fatalf("released %v, %v; want nothing the second time", freed, err)
	}
}
