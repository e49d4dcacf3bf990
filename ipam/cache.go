package ipam

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	v3 "github.com/felid-net/felid/api/v3"
)

// cache is what the allocator remembers of the datastore: the blocks of its node, those of others that hold an address of its node,
// and which blocks a handle is in. What it says is a guess, proven by the compare-and-swap write or by reading again.
type cache struct {
	valid   bool
	blocks  map[netip.Prefix]*block
	handles map[string][]netip.Prefix
}

// block is a block as it was last read or written. It is never changed.
type block struct {
	object *v3.IPAMBlock
	cidr   netip.Prefix
}

func readBlock(o v3.Object) (*block, error) {
	object, ok := o.(*v3.IPAMBlock)
	if !ok {
		return nil, fmt.Errorf("%s is not an IPAMBlock", v3.KeyOf(o))
	}
	cidr, err := blockCIDR(&object.Spec)
	if err != nil {
		return nil, fmt.Errorf("IPAMBlock %s: %w", object.Name, err)
	}
	return &block{object, cidr}, nil
}

func (b *block) owner() string { return owner(&b.object.Spec) }

// usable is false for a block that is on its way out.
func (b *block) usable() bool { return !b.object.Spec.Deleted && b.object.DeletionTimestamp == nil }

// set remembers a block, in place of what was known of it.
func (c *cache) set(b *block) {
	c.drop(b.cidr)
	c.blocks[b.cidr] = b
	for i := range b.object.Spec.Attributes {
		if handle := b.object.Spec.Attributes[i].HandleID; handle != nil && !slices.Contains(c.handles[*handle], b.cidr) {
			c.handles[*handle] = append(c.handles[*handle], b.cidr)
		}
	}
}

// drop forgets a block.
func (c *cache) drop(cidr netip.Prefix) {
	before := c.blocks[cidr]
	if before == nil {
		return
	}
	delete(c.blocks, cidr)
	for i := range before.object.Spec.Attributes {
		handle := before.object.Spec.Attributes[i].HandleID
		if handle == nil {
			continue
		}
		left := slices.DeleteFunc(slices.Clone(c.handles[*handle]), func(p netip.Prefix) bool { return p == cidr })
		if len(left) == 0 {
			delete(c.handles, *handle)
		} else {
			c.handles[*handle] = left
		}
	}
}

// concerns says whether a block is to be remembered on a node.
func (b *block) concerns(node string) bool {
	return b.owner() == node || slices.ContainsFunc(b.object.Spec.Attributes, func(attribute v3.AllocationAttribute) bool {
		return attribute.Secondary[AttrNode] == node
	})
}

// load fills the cache from the datastore, and puts right what a crash left behind.
func (a *Allocator) load(ctx context.Context) error {
	blocks, err := a.listBlocks(ctx)
	if err != nil {
		return err
	}
	a.cache = cache{blocks: map[netip.Prefix]*block{}, handles: map[string][]netip.Prefix{}}
	for _, b := range blocks {
		if b.concerns(a.node) {
			a.cache.set(b)
		}
	}
	if !a.repaired {
		if err := a.repairAffinities(ctx, blocks); err != nil {
			return err
		}
		a.repaired = true
	}
	a.cache.valid = true
	return nil
}

// listBlocks reads all blocks, in order. One that makes no sense is logged and left out: its addresses are not given out, as nothing
// else may be created in its place.
func (a *Allocator) listBlocks(ctx context.Context) ([]*block, error) {
	list, err := a.store.List(ctx, v3.KindIPAMBlock, "")
	if err != nil {
		return nil, fmt.Errorf("listing blocks: %w", err)
	}
	blocks := make([]*block, 0, len(list.Objects))
	for _, o := range list.Objects {
		b, err := readBlock(o)
		if err != nil {
			a.o.Log.Error("block is not used", "error", err)
			continue
		}
		blocks = append(blocks, b)
	}
	for i := range list.Faults {
		a.o.Log.Error("block is not used", "error", list.Faults[i].String())
	}
	return blocks, nil
}

// readSettings reads pools, reservations and the configuration.
func (a *Allocator) readSettings(ctx context.Context) (*settings, error) {
	s := &settings{maxBlocks: defaultMaxBlocks}
	for _, kind := range []v3.Kind{v3.KindIPPool, v3.KindIPReservation, v3.KindIPAMConfiguration} {
		list, err := a.store.List(ctx, kind, "")
		if err != nil {
			return nil, fmt.Errorf("listing %s: %w", kind, err)
		}
		if len(list.Faults) > 0 && kind != v3.KindIPPool {
			return nil, fmt.Errorf("%s: %w", kind, list.Faults[0].Err) // an unreadable reservation reserves something
		}
		for _, o := range list.Objects {
			switch o := o.(type) {
			case *v3.IPPool:
				s.pools = append(s.pools, o)
			case *v3.IPReservation:
				if err := s.reserve(o); err != nil {
					return nil, err
				}
			case *v3.IPAMConfiguration:
				if o.Name == "default" {
					s.configure(&o.Spec)
				}
			}
		}
	}
	return s, nil
}

// reserve takes an IPReservation; one that can't be read fails the request rather than give a reserved address out.
func (s *settings) reserve(r *v3.IPReservation) error {
	for i, text := range r.Spec.ReservedCIDRs {
		cidr, err := netip.ParsePrefix(text)
		if err != nil {
			address, addrErr := netip.ParseAddr(text)
			if addrErr != nil {
				return fmt.Errorf("IPReservation %s: spec.reservedCIDRs[%d]: %w", r.Name, i, err)
			}
			cidr = netip.PrefixFrom(address, address.BitLen())
		}
		s.reserved = append(s.reserved, cidr.Masked())
	}
	return nil
}
