package ipam

import (
	"context"
	"fmt"
	"testing"

	"github.com/felid-net/felid/datastore/dstest"
)

// BenchmarkAssignRelease is one address given and taken back, over a store in memory.
func BenchmarkAssignRelease(b *testing.B) {
	store := dstest.NewMemory()
	a := New(store, "n", Options{})
	p := newPoolObject("p", "10.0.0.0/16")
	if _, err := store.Create(context.Background(), p); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		handle := fmt.Sprint(i)
		if _, err := a.Assign(context.Background(), Request{Handle: handle, IPv4: true}); err != nil {
			b.Fatal(err)
		}
		if _, err := a.Release(context.Background(), handle); err != nil {
			b.Fatal(err)
		}
		i++
	}
}
