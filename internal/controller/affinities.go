package controller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/ipam"
)

// claimSettles is how long an affinity may differ from its block: a node that claims a block writes one after the other.
const claimSettles = time.Minute

// affinities makes block affinities follow the blocks: one whose block is another node's, or not there, is deleted; that of a block's owner is
// confirmed. What a claim or a handover that was cut short left behind is put right so.
type affinities struct {
	settles    time.Duration
	affinities map[v3.Key]*v3.BlockAffinity
	byBlock    index[v3.Key]        // affinities by the key of their block
	owners     map[v3.Key]string    // of blocks that are there
	odd        map[v3.Key]time.Time // affinities that do not fit, and since when
}

func newAffinities(s Settings) *affinities {
	return &affinities{cmp.Or(s.claimSettles, claimSettles), map[v3.Key]*v3.BlockAffinity{}, index[v3.Key]{}, map[v3.Key]string{}, map[v3.Key]time.Time{}}
}

// Name implements Reconciler.
func (a *affinities) Name() string { return "affinities" }

// Kinds implements Reconciler.
func (a *affinities) Kinds() []v3.Kind { return []v3.Kind{v3.KindIPAMBlock, v3.KindBlockAffinity} }

// Update implements Reconciler.
func (a *affinities) Update(key v3.Key, o v3.Object) []v3.Key {
	if key.Kind == v3.KindIPAMBlock {
		before, was := a.owners[key]
		delete(a.owners, key)
		if b, ok := o.(*v3.IPAMBlock); ok {
			a.owners[key] = ipam.OwnerOf(b)
		}
		if after, is := a.owners[key]; was == is && before == after {
			return nil
		}
		return a.byBlock.of(key)
	}
	if before := a.affinities[key]; before != nil {
		a.byBlock.remove(blockKeyOf(before), key)
		delete(a.affinities, key)
	}
	if o != nil {
		a.affinities[key] = o.(*v3.BlockAffinity)
		a.byBlock.add(blockKeyOf(a.affinities[key]), key)
	}
	return []v3.Key{key}
}

// blockKeyOf is the key of the block that an affinity is for.
func blockKeyOf(o *v3.BlockAffinity) v3.Key {
	return blockKey(o.Spec.CIDR)
}

// Plan implements Reconciler.
func (a *affinities) Plan(item v3.Key, now time.Time) Step {
	o := a.affinities[item]
	if o == nil || o.Spec.Type == "virtual" || o.Spec.State == ipam.StateWanted {
		delete(a.odd, item)
		return Step{}
	}
	owner, there := a.owners[blockKeyOf(o)]
	owns := there && owner == o.Spec.Node
	if owns && o.Spec.State == ipam.StateConfirmed {
		delete(a.odd, item)
		return Step{}
	}
	since, known := a.odd[item]
	if !known {
		since = now
		a.odd[item] = now
	}
	if wait := a.settles - now.Sub(since); wait > 0 {
		return Step{Again: wait}
	}
	if owns {
		changed := o.DeepCopy()
		changed.Spec.State = ipam.StateConfirmed
		return Step{Writes: []Write{{Verb: Update, Object: changed, Note: "confirmed a claim that was cut short"}}}
	}
	return Step{Writes: []Write{{Verb: Delete, Object: o, Verify: proveNotOwned(o), Note: "deleted an affinity without a block"}}}
}

// proveNotOwned reads that a block is not the affinity's node's.
func proveNotOwned(o *v3.BlockAffinity) func(context.Context, Reader) error {
	return func(ctx context.Context, read Reader) error {
		b, err := read.Get(ctx, blockKeyOf(o))
		switch {
		case errors.Is(err, datastore.ErrNotFound):
			return nil
		case err != nil:
			return fmt.Errorf("whose block %s is is unknown: %w", o.Spec.CIDR, err)
		case ipam.OwnerOf(b.(*v3.IPAMBlock)) == o.Spec.Node:
			return fmt.Errorf("block %s is of node %s: %w", o.Spec.CIDR, o.Spec.Node, errNotProven)
		}
		return nil
	}
}
