package ipam

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/datastore/dstest"
)

// exhausted is a store whose pool of two blocks of two addresses is all taken by a and b.
func exhausted(t *testing.T) (store *dstest.Memory, a, b *Allocator) {
	t.Helper()
	store = dstest.NewMemory()
	newPool(t, store, "p", "10.0.0.0/30", func(s *v3.IPPoolSpec) { s.BlockSize = 31 })
	a, b = New(store, "a", Options{Handover: true}), New(store, "b", Options{Handover: true})
	for _, node := range []*Allocator{a, b} {
		for i := range 2 {
			if _, err := node.Assign(t.Context(), Request{Handle: fmt.Sprint(node.node, i), IPv4: true}); err != nil {
				t.Fatal(err)
			}
		}
	}
	return store, a, b
}

// wanted are the nodes that ask for a block.
func wanted(t *testing.T, store datastore.Store) (requests []*v3.BlockAffinity) {
	t.Helper()
	list, err := store.List(t.Context(), v3.KindBlockAffinity, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range list.Objects {
		if o.(*v3.BlockAffinity).Spec.State == StateWanted {
			requests = append(requests, o.(*v3.BlockAffinity))
		}
	}
	return requests
}

// handOver makes the empty block another node's, and takes the request away.
func handOver(t *testing.T, store datastore.Store, request *v3.BlockAffinity) {
	t.Helper()
	list, err := store.List(t.Context(), v3.KindIPAMBlock, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range list.Objects {
		b, err := ReadBlock(o.(*v3.IPAMBlock))
		if err != nil {
			t.Fatal(err)
		}
		if b.Taken() > 0 {
			continue
		}
		if _, err := store.Update(t.Context(), b.HandedTo(request.Spec.Node, time.Now())); err != nil {
			t.Fatal(err)
		}
		if err := store.Delete(t.Context(), v3.KeyOf(request), request.ResourceVersion); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatal("no block is empty")
}

func TestANodeAsksForABlockAndGetsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, a, _ := exhausted(t)
		c := New(store, "c", Options{Handover: true})
		answer := make(chan []netip.Addr)
		for i := range 2 {
			go func() {
				got, err := c.Assign(t.Context(), Request{Handle: fmt.Sprint("c", i), IPv4: true})
				if err != nil {
					t.Error(err)
				}
				answer <- got
			}()
		}
		time.Sleep(time.Second)
		requests := wanted(t, store)
		if len(requests) != 1 || requests[0].Spec.Node != "c" || requests[0].Spec.CIDR != "10.0.0.0/30" {
			t.Fatalf("requests %+v; want one of c for the pool", requests)
		}
		for i := range 2 {
			if _, err := a.Release(t.Context(), fmt.Sprint("a", i)); err != nil {
				t.Fatal(err)
			}
		}
		handOver(t, store, requests[0])
		start := time.Now()
		got := map[netip.Addr]bool{(<-answer)[0]: true, (<-answer)[0]: true}
		if waited := time.Since(start); waited > time.Second || len(got) != 2 {
			t.Errorf("%v after %s; want two addresses within a second", got, waited)
		}
		if got, err := a.Assign(t.Context(), Request{Handle: "a9", IPv4: true}); !errors.Is(err, ErrExhausted) {
			t.Errorf("%v, %v from a block that was handed over", got, err)
		}
	})
}

// TestABlockComesBack: that a node remembers a block as another's does not keep it from finding it when it is its own again.
func TestABlockComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, a, b := exhausted(t)
		give := func(to *Allocator, handle string) {
			t.Helper()
			done := make(chan error)
			go func() {
				_, err := to.Assign(t.Context(), Request{Handle: handle, IPv4: true})
				done <- err
			}()
			time.Sleep(time.Second)
			requests := wanted(t, store)
			if len(requests) != 1 {
				t.Fatalf("%d requests; want one of %s", len(requests), to.node)
			}
			handOver(t, store, requests[0])
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		for i := range 2 {
			if _, err := a.Release(t.Context(), fmt.Sprint("a", i)); err != nil {
				t.Fatal(err)
			}
		}
		give(b, "b2")
		if _, err := a.ByHandle(t.Context(), "a0"); err != nil { // reads the blocks again
			t.Fatal(err)
		}
		if _, err := b.Release(t.Context(), "b2"); err != nil {
			t.Fatal(err)
		}
		give(a, "a2")
	})
}

func TestNobodyHandsABlockOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, _, _ := exhausted(t)
		c := New(store, "c", Options{Handover: true})
		start := time.Now()
		if got, err := c.Assign(t.Context(), Request{Handle: "c", IPv4: true}); !errors.Is(err, ErrExhausted) || time.Since(start) != handoverWait {
			t.Errorf("%v, %v after %s; want ErrExhausted after %s", got, err, time.Since(start), handoverWait)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Assign(ctx, Request{Handle: "c", IPv4: true}); err == nil || time.Since(start) != handoverWait+time.Second {
			t.Errorf("%v after %s; want it to end with the context", err, time.Since(start))
		}
	})
}

func TestOwnAddressThatComesFreeIsTakenAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, _ := exhausted(t)
		done := make(chan error)
		go func() {
			_, err := a.Assign(t.Context(), Request{Handle: "new", IPv4: true})
			done <- err
		}()
		time.Sleep(time.Second)
		start := time.Now()
		if _, err := a.Release(t.Context(), "a0"); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil || time.Since(start) > 0 {
			t.Errorf("%v after %s", err, time.Since(start))
		}
	})
}

// TestOthersBlocksAreNotWritten: an address in another node's block, from before, is left to the controller.
func TestOthersBlocksAreNotWritten(t *testing.T) {
	store := dstest.NewMemory()
	newPool(t, store, "p", "10.0.0.0/31", func(s *v3.IPPoolSpec) { s.BlockSize = 31 })
	if _, err := New(store, "a", Options{}).Assign(t.Context(), Request{Handle: "a", IPv4: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := New(store, "b", Options{}).Assign(t.Context(), Request{Handle: "b", IPv4: true}); err != nil {
		t.Fatal(err) // borrowed
	}
	before, err := store.List(t.Context(), v3.KindIPAMBlock, "")
	if err != nil {
		t.Fatal(err)
	}
	freed, err := New(store, "b", Options{Handover: true}).Release(t.Context(), "b")
	after, listErr := store.List(t.Context(), v3.KindIPAMBlock, "")
	if err != nil || listErr != nil || len(freed) != 0 || before.Objects[0].GetResourceVersion() != after.Objects[0].GetResourceVersion() {
		t.Errorf("freed %v, %v, %v; want another node's block left alone", freed, err, listErr)
	}
}
