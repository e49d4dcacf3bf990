package ipam

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

// Where a node may write nothing but its own (Options.Handover), it asks for a block when the pools have none left: it writes a BlockAffinity of its
// own in state "wanted" whose CIDR is the pool's. The controller finds an empty block of another node, makes it this node's, and deletes the
// request; the block is then found like any other of this node.

// The states of a BlockAffinity that others need to know: the node has the block, or asks for one.
const (
	StateConfirmed = stateConfirmed
	StateWanted    = "wanted"
)

// requestSuffix ends the names of requests: no block's name has a dot.
const requestSuffix = "." + StateWanted

// errAsked: the controller has been asked for a block.
var errAsked = errors.New("asked for an empty block of another node")

// How long Assign waits for a block that it has asked for, and how often it looks.
const (
	handoverWait = 10 * time.Second
	handoverLook = 250 * time.Millisecond
)

// NewAffinity is the object by which a node has a block, or asks for one of a pool (StateWanted).
func NewAffinity(node string, cidr netip.Prefix, state string) *v3.BlockAffinity {
	o := &v3.BlockAffinity{Spec: v3.BlockAffinitySpec{State: state, Node: node, Type: "host", CIDR: cidr.String()}}
	o.TypeMeta = metav1.TypeMeta{APIVersion: v3.APIVersion, Kind: string(v3.KindBlockAffinity)}
	o.Name = affinityName(node, cidr)
	if state == StateWanted {
		o.Name += requestSuffix
	}
	return o
}

// ask writes the request for a block of one of the pools.
func (a *Allocator) ask(ctx context.Context, pools []pool) error {
	for _, p := range pools {
		request := NewAffinity(a.node, p.cidr, StateWanted)
		_, err := a.store.Create(ctx, request)
		if err != nil && !errors.Is(err, datastore.ErrExists) {
			return fmt.Errorf("asking for a block of %s: %w", p.cidr, err)
		}
		a.requests.add(v3.KeyOf(request))
	}
	return fmt.Errorf("%w (%w)", ErrExhausted, errAsked)
}

// requests are those under way, and the one goroutine that looks after them while anybody waits.
type requests struct {
	mu   sync.Mutex
	keys map[v3.Key]bool
	// waiting is how many wait for wake, which is closed when it is worth trying again, or when nobody waits any more; nil then.
	waiting int
	wake    chan struct{}
}

func (r *requests) add(key v3.Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.keys == nil {
		r.keys = map[v3.Key]bool{}
	}
	r.keys[key] = true
}

// tryAgain lets those who wait try again: there may be a free address.
func (r *requests) tryAgain() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wake != nil {
		close(r.wake)
		r.wake = nil
	}
}

// await returns when a request may have been met, or with the error of ctx.
func (a *Allocator) await(ctx context.Context) error {
	r := &a.requests
	r.mu.Lock()
	if r.wake == nil {
		r.wake = make(chan struct{})
		go a.look(r.wake)
	}
	woken := r.wake
	r.waiting++
	r.mu.Unlock()
	defer r.leave()
	select {
	case <-woken:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// leave ends a wait.
func (r *requests) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting--; r.waiting == 0 && r.wake != nil {
		close(r.wake)
		r.wake = nil
	}
}

// look waits until one of the requests is there no more, and says so, or until nobody waits.
func (a *Allocator) look(woken <-chan struct{}) {
	ctx, cancel := context.WithTimeout(context.Background(), handoverWait)
	defer cancel()
	defer a.requests.tryAgain()
	tick := time.NewTicker(handoverLook)
	defer tick.Stop()
	for {
		select {
		case <-woken:
			return
		case <-ctx.Done():
			return
		case <-tick.C:
			if a.someMet(ctx) {
				return
			}
		}
	}
}

// someMet says whether one of the requests is there no more, and forgets those.
func (a *Allocator) someMet(ctx context.Context) bool {
	r := &a.requests
	r.mu.Lock()
	keys := slices.Collect(maps.Keys(r.keys))
	r.mu.Unlock()
	met := len(keys) == 0
	for _, key := range keys {
		if _, err := a.store.Get(ctx, key); errors.Is(err, datastore.ErrNotFound) {
			met = true
			r.mu.Lock()
			delete(r.keys, key)
			r.mu.Unlock()
		}
	}
	return met
}
