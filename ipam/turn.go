package ipam

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

// errAgain: the block was changed by somebody else; plan again.
var errAgain = errors.New("block changed meanwhile")

// turn is one attempt at a batch: what each operation does is planned on drafts of blocks, then each draft is committed by one
// compare-and-swap write (or, where nothing changes, by reading it again), and the operations that stand on drafts that failed take
// another turn. Because an assignment is found by its handle, planning again never assigns twice.
type turn struct {
	*Allocator
	settings *settings
	drafts   map[netip.Prefix]*draft
	ops      map[*operation]*planned
	handles  map[string]bool // planned in this turn
}

// draft is a block as it is going to be.
type draft struct {
	base  *block
	spec  v3.IPAMBlockSpec
	dirty bool
	err   error // of the commit
}

// planned is what an operation stands on in this turn.
type planned struct {
	later     bool // another operation on the same handle goes first
	drafts    []*draft
	addresses []netip.Addr
}

// begin makes the turn ready.
func (t *turn) begin(ctx context.Context, todo []*operation) error {
	t.drafts, t.ops, t.handles = map[netip.Prefix]*draft{}, make(map[*operation]*planned, len(todo)), map[string]bool{}
	if !t.cache.valid {
		if err := t.load(ctx); err != nil {
			return err
		}
	}
	if t.settings == nil && slices.ContainsFunc(todo, func(op *operation) bool { return op.do == doAssign }) {
		s, err := t.readSettings(ctx)
		if err != nil {
			return err
		}
		t.settings = s
	}
	return nil
}

// plan decides what an operation does.
func (t *turn) plan(ctx context.Context, op *operation) {
	p := &planned{later: t.handles[op.handle]}
	t.ops[op], t.handles[op.handle] = p, true
	switch {
	case p.later:
	case op.failure != nil:
		t.giveBack(op, p)
	case op.do == doAssign:
		if op.failure = t.planAssign(ctx, op, p); op.failure != nil {
			t.giveBack(op, p)
		}
	default:
		t.planHeld(op, p)
	}
}

// planHeld finds, and frees for a release, all that a handle holds.
func (t *turn) planHeld(op *operation, p *planned) {
	for _, cidr := range t.cache.handles[op.handle] {
		if op.do == doRelease && t.o.Handover && t.cache.blocks[cidr].owner() != t.node {
			continue // may be written by the controller alone, which finds what nobody has
		}
		d := t.draft(cidr)
		held := addressesOf(&d.spec, cidr, op.handle)
		if op.do == doRelease && len(held) > 0 {
			d.change()
			d.spec, _ = release(d.spec, cidr, op.handle, func(netip.Addr) bool { return true })
		}
		p.on(d)
		p.addresses = append(p.addresses, held...)
	}
}

// giveBack frees what a failed operation assigned.
func (t *turn) giveBack(op *operation, p *planned) {
	p.addresses = nil
	mine := func(a netip.Addr) bool { return slices.Contains(op.assigned, a) }
	for _, cidr := range slices.SortedFunc(maps.Keys(t.cache.blocks), comparePrefixes) {
		if !slices.ContainsFunc(op.assigned, cidr.Contains) {
			continue
		}
		d := t.draft(cidr)
		if after, freed := release(d.spec, cidr, op.handle, mine); freed != nil {
			d.change()
			after.SequenceNumber = d.spec.SequenceNumber
			d.spec = after
			p.on(d)
		}
	}
}

// planAssign finds or assigns an address of each family.
func (t *turn) planAssign(ctx context.Context, op *operation, p *planned) error {
	for _, ipv4 := range []bool{true, false} {
		if ipv4 && !op.request.IPv4 || !ipv4 && !op.request.IPv6 || t.planFound(op, p, ipv4) {
			continue
		}
		pools, reasons := t.poolsFor(t.settings, &op.request, ipv4)
		if len(pools) == 0 {
			return fmt.Errorf("%w for %s: %s", ErrNoPool, family(ipv4), cmp.Or(strings.Join(reasons, "; "), "there is none"))
		}
		if err := t.planNew(ctx, op, p, pools); err != nil {
			return err
		}
	}
	return nil
}

func family(ipv4 bool) string {
	if ipv4 {
		return "IPv4"
	}
	return "IPv6"
}

// planFound takes what the handle already has.
func (t *turn) planFound(op *operation, p *planned, ipv4 bool) bool {
	for _, cidr := range t.holders(op.handle) {
		if cidr.Addr().Is4() != ipv4 {
			continue
		}
		d := t.draft(cidr)
		if held := addressesOf(&d.spec, cidr, op.handle); len(held) > 0 {
			p.on(d)
			p.addresses = append(p.addresses, held[0])
			return true
		}
	}
	return false
}

// holders are the blocks that may have something of a handle: as remembered, and as planned in this turn.
func (t *turn) holders(handle string) []netip.Prefix {
	holders := slices.Clone(t.cache.handles[handle])
	for cidr, d := range t.drafts {
		if d.dirty && !slices.Contains(holders, cidr) {
			holders = append(holders, cidr)
		}
	}
	slices.SortFunc(holders, comparePrefixes)
	return holders
}

// planNew assigns from this node's blocks, else from a new one, else from another node's.
func (t *turn) planNew(ctx context.Context, op *operation, p *planned, pools []pool) error {
	if t.take(op, p, pools, func(b *block) bool { return b.owner() == t.node }) {
		return nil
	}
	claimed, err := t.claim(ctx, t.settings, pools)
	for ; err == nil; claimed, err = t.claim(ctx, t.settings, pools) {
		t.cache.set(claimed)
		if t.take(op, p, pools, func(b *block) bool { return b == claimed }) {
			return nil
		}
	}
	if !errors.Is(err, errNoBlock) {
		return err
	}
	if t.o.Handover && !t.settings.noClaims {
		return t.ask(ctx, pools)
	}
	if t.settings.strict || t.o.Handover {
		return fmt.Errorf("%w (%s), and addresses of other nodes' blocks may not be taken (strictAffinity, or the datastore)", ErrExhausted, err)
	}
	borrowed, borrowErr := t.borrow(ctx, pools)
	if borrowErr != nil {
		return borrowErr
	}
	if borrowed != nil && t.take(op, p, pools, func(b *block) bool { return b == borrowed }) {
		return nil
	}
	return fmt.Errorf("%w (%s), and no other node's block has one", ErrExhausted, err)
}

// take assigns from the first remembered block that which accepts, is in one of the pools and has a free address.
func (t *turn) take(op *operation, p *planned, pools []pool, which func(*block) bool) bool {
	for _, cidr := range slices.SortedFunc(maps.Keys(t.cache.blocks), comparePrefixes) {
		b := t.cache.blocks[cidr]
		if !which(b) || !b.usable() || !inPools(pools, cidr) {
			continue
		}
		d := t.draft(cidr)
		if !hasFree(&d.spec, cidr, t.settings.isReserved) {
			continue
		}
		d.change()
		after, address, _ := assign(d.spec, cidr, t.settings.isReserved, t.attribute(op))
		d.spec = after
		p.on(d)
		p.addresses = append(p.addresses, address)
		op.assigned = append(op.assigned, address)
		return true
	}
	return false
}

func inPools(pools []pool, cidr netip.Prefix) bool {
	return slices.ContainsFunc(pools, func(p pool) bool { return p.cidr.Bits() <= cidr.Bits() && p.cidr.Contains(cidr.Addr()) })
}

// attribute is what is stored beside an address.
func (t *turn) attribute(op *operation) v3.AllocationAttribute {
	handle := op.handle
	secondary := maps.Clone(op.request.Attrs)
	if secondary == nil {
		secondary = map[string]string{}
	}
	secondary[AttrNode] = t.node
	secondary[AttrTimestamp] = t.o.Now().UTC().Format(time.RFC3339)
	return v3.AllocationAttribute{HandleID: &handle, Secondary: secondary}
}

// draft is the draft of a remembered block.
func (t *turn) draft(cidr netip.Prefix) *draft {
	d := t.drafts[cidr]
	if d == nil {
		base := t.cache.blocks[cidr]
		d = &draft{base: base, spec: base.object.Spec}
		t.drafts[cidr] = d
	}
	return d
}

// change makes the draft one that is written; the sequence number grows once for each write.
func (d *draft) change() {
	if !d.dirty {
		d.dirty = true
		d.spec.SequenceNumber++
	}
}

func (p *planned) on(d *draft) {
	if !slices.Contains(p.drafts, d) {
		p.drafts = append(p.drafts, d)
	}
}

// commit writes the drafts, answers the operations that are done, and returns the others.
func (t *turn) commit(ctx context.Context, todo []*operation) (again []*operation) {
	for _, cidr := range slices.SortedFunc(maps.Keys(t.drafts), comparePrefixes) {
		d := t.drafts[cidr]
		d.err = t.commitDraft(ctx, d)
	}
	for _, op := range todo {
		if !t.settle(op) {
			again = append(again, op)
		}
	}
	return again
}

// commitDraft writes a block, or sees that it is unchanged. errAgain: it was not, and what is there now has been remembered.
func (t *turn) commitDraft(ctx context.Context, d *draft) error {
	var written v3.Object
	var err error
	if d.dirty {
		object := *d.base.object // a shallow copy: the store copies what it keeps
		object.Spec = d.spec
		written, err = t.store.Update(ctx, &object)
	} else {
		written, err = t.store.Get(ctx, v3.KeyOf(d.base.object))
	}
	switch {
	case errors.Is(err, datastore.ErrConflict):
		return t.reread(ctx, d.base)
	case errors.Is(err, datastore.ErrNotFound):
		t.cache.drop(d.base.cidr)
		return errAgain
	case err != nil:
		t.cache.valid = false // whether it was written is unknown
		return fmt.Errorf("block %s: %w", d.base.cidr, err)
	}
	return t.remember(written, d.dirty || written.GetResourceVersion() == d.base.object.ResourceVersion)
}

// remember takes a block as the datastore has it now; expected is false where that was a surprise.
func (t *turn) remember(o v3.Object, expected bool) error {
	b, err := readBlock(o)
	if err != nil {
		t.cache.valid = false
		return err
	}
	t.cache.set(b)
	if !expected {
		return errAgain
	}
	return nil
}

// reread replaces what is remembered of a block.
func (t *turn) reread(ctx context.Context, b *block) error {
	o, err := t.store.Get(ctx, v3.KeyOf(b.object))
	if errors.Is(err, datastore.ErrNotFound) {
		t.cache.drop(b.cidr)
		return errAgain
	}
	if err != nil {
		t.cache.valid = false
		return fmt.Errorf("block %s: %w", b.cidr, err)
	}
	return t.remember(o, false)
}

// settle answers an operation if it is done.
func (t *turn) settle(op *operation) (done bool) {
	p := t.ops[op]
	again := p.later
	for _, d := range p.drafts {
		switch {
		case errors.Is(d.err, errAgain):
			again = true
		case d.err != nil && len(op.assigned) > 0 && op.failure == nil:
			op.failure = d.err // once more, to give back what may have been written
			again = true
		case d.err != nil:
			op.finish(cmp.Or(op.failure, d.err))
			return true
		case op.do == doRelease:
			op.addresses = append(op.addresses, heldBefore(d, op.handle)...)
		}
	}
	switch {
	case again:
		return false
	case op.failure != nil:
		op.finish(op.failure)
	case op.do != doAssign && len(p.drafts) == 0 && len(op.addresses) == 0 && !op.relisted:
		op.relisted, t.cache.valid = true, false
		return false
	case op.do == doRelease:
		op.finish(nil)
	default:
		op.addresses = p.addresses
		op.finish(nil)
	}
	return true
}

// heldBefore are the addresses that a handle had before a release was committed.
func heldBefore(d *draft, handle string) []netip.Addr {
	return addressesOf(&d.base.object.Spec, d.base.cidr, handle)
}

func comparePrefixes(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}
