package controller

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/ipam"
)

// handles deletes IPAMHandles that no block knows. The blocks alone say who has an address, and felid writes no IPAMHandle: what there is of them
// another allocator has left, and it goes with its addresses.
type handles struct {
	setting time.Duration
	handles map[v3.Key]*v3.IPAMHandle
	byBlock index[v3.Key] // handles by the blocks that they name
	blocks  map[v3.Key]*v3.IPAMBlock
	unused  map[v3.Key]time.Time
}

func newHandles(s Settings) *handles {
	return &handles{s.LeakGracePeriod, map[v3.Key]*v3.IPAMHandle{}, index[v3.Key]{}, map[v3.Key]*v3.IPAMBlock{}, map[v3.Key]time.Time{}}
}

// Name implements Reconciler.
func (h *handles) Name() string { return "handles" }

// Kinds implements Reconciler.
func (h *handles) Kinds() []v3.Kind { return []v3.Kind{v3.KindIPAMHandle, v3.KindIPAMBlock} }

// Update implements Reconciler.
func (h *handles) Update(key v3.Key, o v3.Object) []v3.Key {
	if key.Kind == v3.KindIPAMBlock {
		delete(h.blocks, key)
		if b, ok := o.(*v3.IPAMBlock); ok {
			h.blocks[key] = b
		}
		return h.byBlock.of(key)
	}
	if before := h.handles[key]; before != nil {
		for cidr := range before.Spec.Block {
			h.byBlock.remove(blockKey(cidr), key)
		}
		delete(h.handles, key)
	}
	if handle, ok := o.(*v3.IPAMHandle); ok {
		h.handles[key] = handle
		for cidr := range handle.Spec.Block {
			h.byBlock.add(blockKey(cidr), key)
		}
	}
	return []v3.Key{key}
}

func blockKey(cidr string) v3.Key {
	return v3.Key{Kind: v3.KindIPAMBlock, Name: ipam.BlockName(cidr)}
}

// names says whether an attribute of a block names a handle, whether or not the rest of the block makes sense.
func names(b *v3.IPAMBlock, handle string) bool {
	return b != nil && slices.ContainsFunc(b.Spec.Attributes, func(a v3.AllocationAttribute) bool { return a.HandleID != nil && *a.HandleID == handle })
}

// Plan implements Reconciler.
func (h *handles) Plan(item v3.Key, now time.Time) Step {
	handle := h.handles[item]
	if handle == nil || h.setting < 0 || h.used(handle) {
		delete(h.unused, item)
		return Step{}
	}
	since, known := h.unused[item]
	if !known {
		since = now
		h.unused[item] = now
	}
	grace := h.setting
	if grace == 0 {
		grace = defaultGrace
	}
	if wait := grace - now.Sub(since); wait > 0 {
		return Step{Again: wait}
	}
	return Step{Writes: []Write{{Verb: Delete, Object: handle, Verify: proveUnused(handle)}}}
}

// used says whether a block that the handle names has an address of it, or can't be told from one that has.
func (h *handles) used(handle *v3.IPAMHandle) bool {
	for cidr := range handle.Spec.Block {
		if _, err := netip.ParsePrefix(cidr); err != nil || names(h.blocks[blockKey(cidr)], handle.Spec.HandleID) {
			return true
		}
	}
	return false
}

// proveUnused reads the blocks that a handle names.
func proveUnused(handle *v3.IPAMHandle) func(context.Context, Reader) error {
	return func(ctx context.Context, read Reader) error {
		for cidr := range handle.Spec.Block {
			o, err := read.Get(ctx, blockKey(cidr))
			switch {
			case errors.Is(err, datastore.ErrNotFound):
			case err != nil:
				return fmt.Errorf("whether a block has addresses of %s is unknown: %w", handle.Spec.HandleID, err)
			case names(o.(*v3.IPAMBlock), handle.Spec.HandleID):
				return fmt.Errorf("block %s has addresses of %s: %w", cidr, handle.Spec.HandleID, errNotProven)
			}
		}
		return nil
	}
}
