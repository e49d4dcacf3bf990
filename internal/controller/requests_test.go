package controller

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/ipam"
)

// exhausted is a cluster whose pool of two blocks of two addresses is all taken by n0 and n1.
func exhausted(t *testing.T) (b *bed, allocators []*ipam.Allocator) {
	b = newBed(t)
	pool := newPool("p", "10.0.0.0/30")
	pool.Spec.BlockSize = 31
	b.create(pool)
	for n := range 3 {
		name := fmt.Sprint("n", n)
		b.create(newNode(name))
		a := ipam.New(b.store, name, ipam.Options{Handover: true})
		allocators = append(allocators, a)
		for i := range 2 {
			if n < 2 {
				assign(b, a, fmt.Sprint(name, "-", i))
			}
		}
	}
	return b, allocators
}

func assign(b *bed, a *ipam.Allocator, handle string) {
	b.t.Helper()
	if _, err := a.Assign(b.t.Context(), ipam.Request{Handle: handle, IPv4: true}); err != nil {
		b.t.Fatal(err)
	}
}

func release(b *bed, a *ipam.Allocator, handles ...string) {
	b.t.Helper()
	for _, handle := range handles {
		if _, err := a.Release(b.t.Context(), handle); err != nil {
			b.t.Fatal(err)
		}
	}
}

// ofIPAM are the reconcilers of addresses.
func ofIPAM() []Reconciler {
	s := Settings{Status: true, Owner: true}
	return []Reconciler{newPools(s), newAddresses(s), newAffinities(Settings{}), newRequests(s)}
}

// TestNodeGetsABlockThatBecomesEmpty: within a second.
func TestNodeGetsABlockThatBecomesEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, nodes := exhausted(t)
		defer b.start(b.store, ofIPAM()...)()
		b.after(2 * youngBlock)
		answer := make(chan error, 1)
		go func() {
			_, err := nodes[2].Assign(t.Context(), ipam.Request{Handle: "n2-0", IPv4: true})
			answer <- err
		}()
		b.after(3 * time.Second)
		if len(b.log.lines("no node has an empty one to spare")) != 1 {
			t.Error("nothing is said of a request that can't be met")
		}
		start := time.Now()
		release(b, nodes[1], "n1-0", "n1-1")
		if err := <-answer; err != nil || time.Since(start) > time.Second {
			t.Fatalf("%v after %s", err, time.Since(start))
		}
		b.after(2 * claimSettles)
		affinities := map[string]int{}
		for _, o := range b.list(v3.KindBlockAffinity) {
			a := o.(*v3.BlockAffinity).Spec
			affinities[a.Node+" "+a.State]++
		}
		if len(affinities) != 2 || affinities["n0 confirmed"] != 1 || affinities["n2 confirmed"] != 1 {
			t.Errorf("affinities %v", affinities)
		}
	})
}

// TestBlockOfANodeThatIsGoneIsTakenFirst: before that of a node that may need it again, and however young.
func TestBlockOfANodeThatIsGoneIsTakenFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, nodes := exhausted(t)
		release(b, nodes[0], "n0-0", "n0-1")
		release(b, nodes[1], "n1-0", "n1-1")
		b.delete(newNode("n1"))
		defer b.start(b.store, ofIPAM()...)()
		assign(b, nodes[2], "n2-0")
		for _, o := range b.list(v3.KindIPAMBlock) {
			if owner := ipam.OwnerOf(o.(*v3.IPAMBlock)); owner == "n1" {
				t.Errorf("%s is still that of n1", o.GetName())
			}
		}
	})
}

// TestYoungBlockIsLeftInPeace: its node may be about to take an address from it.
func TestYoungBlockIsLeftInPeace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, nodes := exhausted(t)
		release(b, nodes[0], "n0-0", "n0-1")
		defer b.start(b.store, ofIPAM()...)()
		b.after(time.Second)
		start := time.Now()
		for {
			_, err := nodes[2].Assign(t.Context(), ipam.Request{Handle: "n2-0", IPv4: true})
			if err == nil {
				break
			}
			if !errors.Is(err, ipam.ErrExhausted) {
				t.Fatal(err)
			}
		}
		if waited := time.Since(start); waited < youngBlock-2*time.Second || waited > youngBlock+time.Second {
			t.Errorf("handed over after %s; want about %s", waited, youngBlock)
		}
	})
}

// TestRequestsThatMakeNoSenseGo: for a pool that is not there or gives none, of a node that is not there, or that has free addresses.
func TestRequestsThatMakeNoSenseGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, nodes := exhausted(t)
		disabled := newPool("disabled", "10.9.0.0/24")
		disabled.Spec.Disabled = true
		b.create(disabled)
		release(b, nodes[0], "n0-0")
		pool := ipam.NewAffinity("n0", prefix("10.0.0.0/30"), ipam.StateWanted)
		for _, o := range []*v3.BlockAffinity{
			pool, ipam.NewAffinity("n2", prefix("10.9.0.0/24"), ipam.StateWanted), ipam.NewAffinity("n2", prefix("10.8.0.0/24"), ipam.StateWanted),
			ipam.NewAffinity("nowhere", prefix("10.0.0.0/30"), ipam.StateWanted),
		} {
			b.create(o)
		}
		defer b.start(b.store, ofIPAM()...)()
		b.after(time.Second)
		for _, o := range b.list(v3.KindBlockAffinity) {
			if a := o.(*v3.BlockAffinity).Spec; a.State == ipam.StateWanted {
				t.Errorf("there is still %+v", a)
			}
		}
	})
}

// TestReservedBlockIsNoHelp: an empty block whose addresses are all reserved is not handed over.
func TestReservedBlockIsNoHelp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, nodes := exhausted(t)
		release(b, nodes[0], "n0-0", "n0-1")
		b.create(named(&v3.IPReservation{Spec: v3.IPReservationSpec{ReservedCIDRs: []string{"10.0.0.0/31", "10.0.0.2/31"}}}, v3.KindIPReservation, "", "all"))
		defer b.start(b.store, ofIPAM()...)()
		b.after(2 * youngBlock)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if got, err := nodes[2].Assign(ctx, ipam.Request{Handle: "n2-0", IPv4: true}); err == nil {
			t.Errorf("got %v", got)
		}
		for _, o := range b.list(v3.KindIPAMBlock) {
			if ipam.OwnerOf(o.(*v3.IPAMBlock)) == "n2" {
				t.Error("a block of reserved addresses was handed over")
			}
		}
	})
}

// TestClaimsThatWereCutShort are put right, and those under way are left alone.
func TestClaimsThatWereCutShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := exhausted(t)
		block := prefix("10.0.0.0/31")
		blockObject := b.list(v3.KindIPAMBlock)[0].(*v3.IPAMBlock)
		owner := ipam.OwnerOf(blockObject)
		other := map[string]string{"n0": "n1", "n1": "n0"}[owner]
		b.delete(ipam.NewAffinity(owner, block, ipam.StateConfirmed))
		pending := ipam.NewAffinity(owner, block, "pending")
		loser, nothing := ipam.NewAffinity(other, block, "pending"), ipam.NewAffinity("n2", prefix("10.7.0.0/31"), ipam.StateConfirmed)
		for _, o := range []*v3.BlockAffinity{pending, loser, nothing} {
			b.create(o)
		}
		defer b.start(b.store, newAffinities(Settings{}))()
		b.after(claimSettles / 2)
		if get(b, pending).Spec.State != "pending" || !b.has(loser) || !b.has(nothing) {
			t.Error("a claim that may be under way was touched")
		}
		b.after(claimSettles)
		if get(b, pending).Spec.State != ipam.StateConfirmed || b.has(loser) || b.has(nothing) {
			t.Errorf("%+v; the other's there: %v, the one without a block: %v", get(b, pending).Spec, b.has(loser), b.has(nothing))
		}
	})
}
