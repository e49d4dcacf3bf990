package ipam

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/felid-net/felid/datastore"
)

// Allocator assigns and releases addresses for one node. Safe for use by several goroutines.
//
// Calls are queued; a goroutine that lives while there are any takes all that have gathered as one batch.
type Allocator struct {
	store datastore.Store
	node  string
	o     Options

	mu      sync.Mutex
	queue   []*operation
	running bool

	requests requests      // with Options.Handover
	patience time.Duration // how long Assign waits for those

	// These belong to the running goroutine.
	cache    cache
	repaired bool // affinities follow the blocks
}

// batchTimeout bounds the work on one batch.
const batchTimeout = 30 * time.Second

// maxTurns bounds how often a batch is tried again because others changed its blocks.
const maxTurns = 100

// New makes the allocator of a node. Nothing is read before the first call.
func New(store datastore.Store, node string, o Options) *Allocator {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Allocator{store: store, node: node, o: o, patience: handoverWait}
}

// Assign returns an address of each family asked for, IPv4 first, stored durably under the handle; all of them or an error, after
// which nothing that this call assigned stays assigned. Where the error is of the context or of the datastore, the outcome may be
// unknown: Release the handle.
func (a *Allocator) Assign(ctx context.Context, r Request) ([]netip.Addr, error) {
	if r.Handle == "" {
		return nil, errors.New("assigning an address: the handle is empty")
	}
	if !r.IPv4 && !r.IPv6 {
		return nil, fmt.Errorf("assigning an address for %s: neither IPv4 nor IPv6 is asked for", r.Handle)
	}
	addresses, err := a.assign(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("assigning an address for %s: %w", r.Handle, err)
	}
	return addresses, nil
}

// assign tries again for a while where the controller has been asked for a block.
func (a *Allocator) assign(ctx context.Context, r Request) ([]netip.Addr, error) {
	waiting, cancel := context.WithTimeout(ctx, a.patience)
	defer cancel()
	for {
		addresses, err := a.submit(ctx, &operation{do: doAssign, handle: r.Handle, request: r})
		if !errors.Is(err, errAsked) || waiting.Err() != nil || a.await(waiting) != nil {
			return addresses, err
		}
	}
}

// Release frees what a handle has and returns it; nothing, without an error, if it has nothing.
func (a *Allocator) Release(ctx context.Context, handle string) ([]netip.Addr, error) {
	addresses, err := a.submit(ctx, &operation{do: doRelease, handle: handle})
	a.requests.tryAgain()
	if err != nil {
		return addresses, fmt.Errorf("releasing the addresses of %s: %w", handle, err)
	}
	return addresses, nil
}

// ByHandle returns the addresses that a handle has, IPv4 first, as they are in the datastore now.
func (a *Allocator) ByHandle(ctx context.Context, handle string) ([]netip.Addr, error) {
	addresses, err := a.submit(ctx, &operation{do: doFind, handle: handle})
	if err != nil {
		return nil, fmt.Errorf("looking up the addresses of %s: %w", handle, err)
	}
	return addresses, nil
}

// what an operation does.
type what int

const (
	doAssign what = iota
	doRelease
	doFind
)

// operation is a call that waits for its turn.
type operation struct {
	do      what
	handle  string
	request Request // of doAssign
	ctx     context.Context
	done    chan struct{}

	// Found or assigned or freed, and committed.
	addresses []netip.Addr
	err       error
	// assigned are those that this call assigned, in whatever turn: to be given back if it fails.
	assigned []netip.Addr
	// failure is why it will fail once what it assigned has been given back.
	failure error
	// relisted: the blocks have been listed because the index did not have the handle.
	relisted bool
}

// submit queues an operation and waits for it.
func (a *Allocator) submit(ctx context.Context, op *operation) ([]netip.Addr, error) {
	op.ctx, op.done = ctx, make(chan struct{})
	a.mu.Lock()
	a.queue = append(a.queue, op)
	if !a.running {
		a.running = true
		go a.work()
	}
	a.mu.Unlock()
	select {
	case <-op.done:
		return op.addresses, op.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// work handles batches until the queue is empty.
func (a *Allocator) work() {
	for {
		a.mu.Lock()
		batch := a.queue
		a.queue = nil
		a.running = len(batch) > 0
		a.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		a.handle(batch)
	}
}

// handle takes turns at a batch until each operation is done.
func (a *Allocator) handle(batch []*operation) {
	ctx, cancel := context.WithTimeout(context.Background(), batchTimeout)
	defer cancel()
	todo := slices.DeleteFunc(batch, func(op *operation) bool { return op.ctx.Err() != nil })
	t := turn{Allocator: a}
	for range maxTurns {
		if len(todo) == 0 {
			return
		}
		if err := t.begin(ctx, todo); err != nil {
			finishAll(todo, err)
			return
		}
		for _, op := range todo {
			t.plan(ctx, op)
		}
		todo = t.commit(ctx, todo)
	}
	finishAll(todo, fmt.Errorf("gave up after %d turns: %w", maxTurns, datastore.ErrConflict))
}

func finishAll(todo []*operation, err error) {
	for _, op := range todo {
		op.finish(err)
	}
}

// finish answers the caller.
func (op *operation) finish(err error) {
	slices.SortStableFunc(op.addresses, func(x, y netip.Addr) int { return x.BitLen() - y.BitLen() })
	op.err = err
	close(op.done)
}
