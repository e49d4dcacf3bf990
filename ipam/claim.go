package ipam

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

// The states of a BlockAffinity.
const (
	statePending   = "pending"
	stateConfirmed = "confirmed"
)

// errNoBlock: this node can't have one more block; other nodes' may still have addresses to lend.
var errNoBlock = errors.New("no free block in the pools")

// claim gets this node one more block, or says why it can't have one (errNoBlock, ErrExhausted): affinity pending, block, affinity
// confirmed. The block decides: where another node was faster, the affinity is taken back and the next block is tried.
func (a *Allocator) claim(ctx context.Context, s *settings, pools []pool) (*block, error) {
	if s.noClaims {
		return nil, fmt.Errorf("%w: autoAllocateBlocks is off", errNoBlock)
	}
	blocks, err := a.listBlocks(ctx)
	if err != nil {
		return nil, err
	}
	if b := a.unknownOwn(blocks, pools); b != nil {
		return b, nil
	}
	ipv4 := pools[0].cidr.Addr().Is4()
	own := 0
	for _, b := range blocks {
		if b.owner() == a.node && b.cidr.Addr().Is4() == ipv4 {
			own++
		}
	}
	if own >= s.maxBlocks {
		return nil, fmt.Errorf("%w: this node has %d blocks, the limit (maxBlocksPerHost)", ErrExhausted, own)
	}
	for _, p := range pools {
		b, err := a.claimIn(ctx, s, p, blocks)
		if b != nil || err != nil {
			return b, err
		}
	}
	return nil, errNoBlock
}

// unknownOwn is a block of this node in one of the pools that the cache does not have as such: a claim of which the answer was lost, or a
// block that was handed over.
func (a *Allocator) unknownOwn(blocks []*block, pools []pool) *block {
	for _, b := range blocks {
		known := a.cache.blocks[b.cidr]
		if b.owner() == a.node && (known == nil || known.owner() != a.node) && inPools(pools, b.cidr) && b.usable() {
			return b
		}
	}
	return nil
}

// claimIn tries the free blocks of one pool.
func (a *Allocator) claimIn(ctx context.Context, s *settings, p pool, blocks []*block) (*block, error) {
	taken := make(map[netip.Prefix]bool, len(blocks))
	var odd []netip.Prefix // of another size: blocks of a pool that was made anew
	full := 0
	for _, b := range blocks {
		switch {
		case !p.cidr.Overlaps(b.cidr):
		case b.cidr.Bits() == p.blockBits:
			taken[b.cidr] = true
			full++
		default:
			odd = append(odd, b.cidr)
		}
	}
	if width := p.blockBits - p.cidr.Bits(); width < 62 && full >= 1<<width {
		return nil, nil
	}
	for cidr := range p.candidates(a.node) {
		if taken[cidr] || slices.ContainsFunc(odd, cidr.Overlaps) || s.reservesAll(cidr) {
			continue
		}
		b, err := a.claimBlock(ctx, cidr)
		if b != nil || err != nil {
			return b, err
		}
	}
	return nil, nil
}

// claimBlock claims one block; nil without an error: another node has it.
func (a *Allocator) claimBlock(ctx context.Context, cidr netip.Prefix) (*block, error) {
	affinity, err := a.putAffinity(ctx, cidr, statePending)
	if err != nil {
		return nil, err
	}
	object := &v3.IPAMBlock{Spec: newBlock(cidr, a.node, a.o.Now())}
	object.TypeMeta = metav1.TypeMeta{APIVersion: v3.APIVersion, Kind: string(v3.KindIPAMBlock)}
	object.Name = blockName(cidr)
	created, err := a.store.Create(ctx, object)
	if errors.Is(err, datastore.ErrExists) {
		created, err = a.store.Get(ctx, v3.KeyOf(object))
	}
	if errors.Is(err, datastore.ErrInvalid) {
		a.o.Log.Error("block is not used", "block", cidr, "error", err)
		return nil, a.removeAffinity(ctx, affinity)
	}
	if err != nil {
		return nil, fmt.Errorf("claiming block %s: %w", cidr, err)
	}
	b, err := readBlock(created)
	if err != nil || b.owner() != a.node {
		a.o.Log.Debug("the block is not for this node", "block", cidr, "error", err)
		return nil, a.removeAffinity(ctx, affinity)
	}
	if _, err := a.putAffinity(ctx, cidr, stateConfirmed); err != nil {
		return nil, err
	}
	return b, nil
}

// removeAffinity takes a claim back.
func (a *Allocator) removeAffinity(ctx context.Context, affinity *v3.BlockAffinity) error {
	err := a.store.Delete(ctx, v3.KeyOf(affinity), affinity.ResourceVersion)
	if err != nil && !errors.Is(err, datastore.ErrNotFound) && !errors.Is(err, datastore.ErrConflict) {
		return fmt.Errorf("taking back the claim to block %s: %w", affinity.Spec.CIDR, err)
	}
	return nil
}

// putAffinity makes this node's affinity to a block be in a state, and returns it. One that is confirmed does not go back to pending.
func (a *Allocator) putAffinity(ctx context.Context, cidr netip.Prefix, state string) (*v3.BlockAffinity, error) {
	object := NewAffinity(a.node, cidr, state)
	for range maxTurns {
		there, err := a.store.Get(ctx, v3.KeyOf(object))
		var stored v3.Object
		switch {
		case errors.Is(err, datastore.ErrNotFound):
			stored, err = a.store.Create(ctx, object)
		case err == nil:
			current := there.(*v3.BlockAffinity)
			if current.Spec.State == state || state == statePending && current.Spec.State == stateConfirmed {
				return current, nil
			}
			changed := current.DeepCopy()
			changed.Spec = object.Spec
			stored, err = a.store.Update(ctx, changed)
		}
		switch {
		case err == nil:
			return stored.(*v3.BlockAffinity), nil
		case errors.Is(err, datastore.ErrExists), errors.Is(err, datastore.ErrConflict), errors.Is(err, datastore.ErrNotFound):
			continue
		default:
			return nil, fmt.Errorf("claiming block %s: %w", cidr, err)
		}
	}
	return nil, fmt.Errorf("claiming block %s: %w", cidr, datastore.ErrConflict)
}

// affinityName is the name of the object; where that would be too long for a name, the end is a hash.
func affinityName(node string, cidr netip.Prefix) string {
	name := node + "-" + blockName(cidr)
	if len(name) > 253 {
		hash := fnv.New64a()
		hash.Write([]byte(name))
		name = fmt.Sprintf("%s-%016x", name[:236], hash.Sum64())
	}
	return name
}

// repairAffinities makes this node's affinities follow the blocks, after a crash between the writes of a claim.
func (a *Allocator) repairAffinities(ctx context.Context, blocks []*block) error {
	list, err := a.store.List(ctx, v3.KindBlockAffinity, "")
	if err != nil {
		return fmt.Errorf("listing affinities: %w", err)
	}
	confirmed := map[string]bool{}
	for _, o := range list.Objects {
		affinity, ok := o.(*v3.BlockAffinity)
		if !ok || affinity.Spec.Node != a.node || affinity.Spec.Type == "virtual" || affinity.Spec.State == StateWanted {
			continue
		}
		i := slices.IndexFunc(blocks, func(b *block) bool { return b.cidr.String() == affinity.Spec.CIDR })
		if i >= 0 && blocks[i].owner() == a.node {
			confirmed[affinity.Spec.CIDR] = affinity.Spec.State == stateConfirmed
			continue
		}
		if affinity.Spec.State == statePending {
			a.o.Log.Info("removing a claim without a block", "block", affinity.Spec.CIDR)
			if err := a.removeAffinity(ctx, affinity); err != nil {
				return err
			}
		}
	}
	for _, b := range blocks {
		if b.owner() == a.node && b.usable() && !confirmed[b.cidr.String()] {
			a.o.Log.Info("confirming a claim that was cut short", "block", b.cidr)
			if _, err := a.putAffinity(ctx, b.cidr, stateConfirmed); err != nil {
				return err
			}
		}
	}
	return nil
}

// borrow finds another node's block with a free address and remembers it.
func (t *turn) borrow(ctx context.Context, pools []pool) (*block, error) {
	blocks, err := t.listBlocks(ctx)
	if err != nil {
		return nil, err
	}
	hash := fnv.New32a()
	hash.Write([]byte(t.node))
	for i := range blocks {
		b := blocks[(i+int(hash.Sum32()%uint32(len(blocks))))%len(blocks)]
		if b.owner() == t.node || !b.usable() || !inPools(pools, b.cidr) || b.virtual() {
			continue
		}
		spec := b.object.Spec
		if d := t.drafts[b.cidr]; d != nil {
			b, spec = d.base, d.spec
		}
		if !hasFree(&spec, b.cidr, t.settings.isReserved) {
			continue
		}
		if t.drafts[b.cidr] == nil {
			t.cache.set(b)
		}
		return b, nil
	}
	return nil, nil
}

// virtual says whether a block belongs to something that is no node, such as load balancers.
func (b *block) virtual() bool { return b.object.Spec.Affinity != nil && b.owner() == "" }
