package ipam

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/datastore/dstest"
)

// errCrashed is what the calls of a host say after its crash.
var errCrashed = fmt.Errorf("crashed: %w", datastore.ErrUnreachable)

// outcome of one call of the store.
type outcome int

const (
	succeed      outcome = iota
	refuse               // a conflict that was none: nothing is written
	loseAnswer           // done, but the caller is told that the store can't be reached
	crashBefore          // the host is gone, the call was not made
	crashAfter           // the host is gone, the call was made
	outcomeCount         // not one
)

// gate holds up each call of a host's store until the simulation lets it go.
type gate struct {
	datastore.Store
	host    *host
	crashed bool // under sim.mu
}

// waiting is a call held up.
type waiting struct {
	gate  *gate
	write bool
	go_   chan outcome
}

// sim is many hosts over one store, and what their callers were told.
type sim struct {
	t     *rapid.T
	store *dstest.Memory
	hosts []*host
	ctx   context.Context

	strict, handover bool

	mu    sync.Mutex
	calls []*waiting
}

// host is one node: its allocator, and the handles that its callers hold.
type host struct {
	sim   *sim
	name  string
	alloc *Allocator
	gate  *gate
	// held are the addresses that callers were told of and have not begun to release.
	held map[string][]netip.Addr
	// unsure are handles whose Assign or Release failed.
	unsure map[string]bool
	// busy are handles with calls under way.
	busy   map[string]int
	serial int
}

func (h *host) start() {
	h.gate = &gate{Store: h.sim.store, host: h}
	h.alloc = New(h.gate, h.name, Options{Handover: h.sim.handover})
	h.alloc.patience = 0
}

// pass holds a call up, and makes it as the simulation decides.
func (g *gate) pass(write bool, call func() error) error {
	s := g.host.sim
	w := &waiting{g, write, make(chan outcome)}
	s.mu.Lock()
	if g.crashed {
		s.mu.Unlock()
		return errCrashed
	}
	s.calls = append(s.calls, w)
	s.mu.Unlock()
	switch <-w.go_ {
	case refuse:
		if write {
			return datastore.ErrConflict
		}
		return call()
	case loseAnswer:
		if err := call(); err != nil {
			return err
		}
		return datastore.ErrUnreachable
	case crashBefore:
		return errCrashed
	case crashAfter:
		_ = call() // nobody learns how it went
		return errCrashed
	default:
		return call()
	}
}

func (g *gate) Get(ctx context.Context, key v3.Key) (o v3.Object, err error) {
	err = g.pass(false, func() error { o, err = g.Store.Get(ctx, key); return err })
	return o, err
}

func (g *gate) List(ctx context.Context, kind v3.Kind, namespace string) (l datastore.List, err error) {
	err = g.pass(false, func() error { l, err = g.Store.List(ctx, kind, namespace); return err })
	return l, err
}

func (g *gate) Create(ctx context.Context, o v3.Object) (out v3.Object, err error) {
	err = g.pass(false, func() error { out, err = g.Store.Create(ctx, o); return err })
	return out, err
}

func (g *gate) Update(ctx context.Context, o v3.Object) (out v3.Object, err error) {
	err = g.pass(true, func() error { out, err = g.Store.Update(ctx, o); return err })
	return out, err
}

func (g *gate) Delete(ctx context.Context, key v3.Key, revision string) error {
	return g.pass(true, func() error { return g.Store.Delete(ctx, key, revision) })
}

// step lets one of the calls held up go.
func (s *sim) step() {
	i := rapid.IntRange(0, len(s.calls)-1).Draw(s.t, "call") // nobody else is at work, and a draw may panic
	s.mu.Lock()
	w := s.calls[i]
	s.calls = append(s.calls[:i], s.calls[i+1:]...)
	s.mu.Unlock()
	what := succeed
	if rapid.IntRange(0, 9).Draw(s.t, "fault?") == 0 {
		what = outcome(rapid.IntRange(0, int(outcomeCount)-1).Draw(s.t, "fault"))
	}
	w.go_ <- what
	if what == crashBefore || what == crashAfter {
		synctest.Wait()
		s.crash(w.gate)
	}
	synctest.Wait()
	s.check()
}

// crash ends all calls of a gate, and starts the host anew.
func (s *sim) crash(g *gate) {
	s.mu.Lock()
	g.crashed = true
	var rest, dead []*waiting
	for _, w := range s.calls {
		if w.gate == g {
			dead = append(dead, w)
		} else {
			rest = append(rest, w)
		}
	}
	s.calls = rest
	s.mu.Unlock()
	for _, w := range dead {
		w.go_ <- crashBefore
	}
	synctest.Wait()
	g.host.start()
}

// call starts one random call of a random host; its callers answer into held and unsure.
func (s *sim) call() {
	h := s.hosts[rapid.IntRange(0, len(s.hosts)-1).Draw(s.t, "host")]
	switch what := rapid.IntRange(0, 9).Draw(s.t, "what"); {
	case what < 5:
		h.serial++
		handle := fmt.Sprintf("%s-%d", h.name, h.serial)
		h.assign(handle, rapid.Bool().Draw(s.t, "two families"))
		if rapid.IntRange(0, 3).Draw(s.t, "at once again?") == 0 {
			h.assign(handle, rapid.Bool().Draw(s.t, "two families"))
		}
	case what < 6:
		if handle, ok := h.any(h.unsure); ok {
			s.collect(handle)
		}
	case what < 7:
		if handle, ok := h.any(h.unsure); ok {
			h.assign(handle, true)
		}
		s.handOver()
	default:
		if handle, ok := h.any(h.held); ok {
			h.release(handle)
		} else if handle, ok := h.any(h.unsure); ok {
			h.release(handle)
		}
	}
}

// any is a handle of a set, drawn.
func (h *host) any(set any) (string, bool) {
	var handles []string
	for i := 1; i <= h.serial; i++ {
		handle := fmt.Sprintf("%s-%d", h.name, i)
		if h.busy[handle] > 0 {
			continue
		}
		switch set := set.(type) {
		case map[string]bool:
			if set[handle] {
				handles = append(handles, handle)
			}
		case map[string][]netip.Addr:
			if set[handle] != nil {
				handles = append(handles, handle)
			}
		}
	}
	if len(handles) == 0 {
		return "", false
	}
	return rapid.SampledFrom(handles).Draw(h.sim.t, "handle"), true
}

func (h *host) assign(handle string, two bool) {
	delete(h.unsure, handle)
	h.busy[handle]++
	gate := h.gate
	go func() {
		got, err := h.alloc.Assign(h.sim.ctx, Request{Handle: handle, IPv4: true, IPv6: two})
		h.sim.mu.Lock()
		defer h.sim.mu.Unlock()
		h.busy[handle]--
		if err != nil || gate.crashed {
			h.unsure[handle] = h.held[handle] == nil
			return
		}
		delete(h.unsure, handle)
		if len(got) > len(h.held[handle]) {
			h.held[handle] = got
		}
	}()
}

// collect releases a handle that nobody holds, as garbage collection on another machine does.
func (s *sim) collect(handle string) {
	list, err := s.store.List(context.Background(), v3.KindIPAMBlock, "")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, o := range list.Objects {
		changed := o.Copy().(*v3.IPAMBlock)
		cidr := netip.MustParsePrefix(changed.Spec.CIDR)
		after, freed := release(changed.Spec, cidr, handle, func(netip.Addr) bool { return true })
		if freed == nil {
			continue
		}
		changed.Spec = after
		changed.Spec.SequenceNumber++
		if _, err := s.store.Update(context.Background(), changed); err != nil {
			s.t.Fatal(err)
		}
	}
}

// handOver meets a request for a block as the controller does, if one is there and a block is empty; the rest of what the controller writes is cut off
// at times.
func (s *sim) handOver() {
	requests, blocks := s.list(v3.KindBlockAffinity), s.list(v3.KindIPAMBlock)
	for _, o := range requests {
		request := o.(*v3.BlockAffinity)
		if request.Spec.State != StateWanted {
			continue
		}
		for _, o := range blocks {
			b, err := ReadBlock(o.(*v3.IPAMBlock))
			if err != nil {
				s.t.Fatal(err)
			}
			if b.Taken() > 0 || b.Owner() == request.Spec.Node || !netip.MustParsePrefix(request.Spec.CIDR).Contains(b.CIDR().Addr()) {
				continue
			}
			if _, err := s.store.Update(context.Background(), b.HandedTo(request.Spec.Node, time.Now())); err != nil {
				s.t.Fatal(err)
			}
			if rapid.Bool().Draw(s.t, "whole") {
				_ = s.store.Delete(context.Background(), v3.KeyOf(NewAffinity(b.Owner(), b.CIDR(), StateConfirmed)), "")
			}
			if err := s.store.Delete(context.Background(), v3.KeyOf(request), ""); err != nil {
				s.t.Fatal(err)
			}
			return
		}
	}
}

func (s *sim) list(kind v3.Kind) []v3.Object {
	list, err := s.store.List(context.Background(), kind, "")
	if err != nil {
		s.t.Fatal(err)
	}
	return list.Objects
}

func (h *host) release(handle string) {
	delete(h.unsure, handle)
	delete(h.held, handle) // the interface is gone: from here on the address may be given to others
	h.busy[handle]++
	go func() {
		_, err := h.alloc.Release(h.sim.ctx, handle)
		h.sim.mu.Lock()
		defer h.sim.mu.Unlock()
		h.busy[handle]--
		if err != nil {
			h.unsure[handle] = true
		}
	}()
}

// check proves after each step: blocks are sound and do not overlap, no address is held twice, and what a caller was told is in the store.
func (s *sim) check() {
	list, err := s.store.List(context.Background(), v3.KindIPAMBlock, "")
	if err != nil {
		s.t.Fatal(err)
	}
	holder := map[netip.Addr]string{}
	var cidrs []netip.Prefix
	perFamily := map[string]int{}
	for _, o := range list.Objects {
		spec := &o.(*v3.IPAMBlock).Spec
		for i := range spec.Attributes {
			if node := spec.Attributes[i].Secondary[AttrNode]; (s.strict || s.handover) && node != owner(spec) {
				s.t.Fatalf("block %s of %s holds an address of %s in spite of strictAffinity or of handing blocks over", spec.CIDR, owner(spec), node)
			}
		}
		cidr, err := blockCIDR(spec)
		if err != nil {
			s.t.Fatalf("%s: %v", v3.KeyOf(o), err)
		}
		for _, other := range cidrs {
			if other.Overlaps(cidr) {
				s.t.Fatalf("blocks %s and %s overlap", other, cidr)
			}
		}
		cidrs = append(cidrs, cidr)
		checkBlock(s.t, spec, cidr, holder)
	}
	for a, handle := range holder {
		family := fmt.Sprint(handle, " ", a.BitLen())
		if perFamily[family]++; perFamily[family] > 1 {
			s.t.Fatalf("%s holds two addresses of a family, one of them %s", handle, a)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	told := map[netip.Addr]string{}
	for _, h := range s.hosts {
		for handle, addresses := range h.held {
			for _, a := range addresses {
				if holder[a] != handle {
					s.t.Fatalf("%s was told %s, which the store gives to %q", handle, a, holder[a])
				}
				if told[a] != "" {
					s.t.Fatalf("%s was given to %s and to %s", a, told[a], handle)
				}
				told[a] = handle
			}
		}
	}
}

// checkBlock proves that a block adds up, and notes who holds its addresses.
func checkBlock(t interface{ Fatalf(string, ...any) }, s *v3.IPAMBlockSpec, cidr netip.Prefix, holder map[netip.Addr]string) {
	free := map[int]bool{}
	for _, ordinal := range s.Unallocated {
		if free[ordinal] || s.Allocations[ordinal] != nil {
			t.Fatalf("block %s: ordinal %d is free twice, or taken too", cidr, ordinal)
		}
		free[ordinal] = true
	}
	used := map[int]bool{}
	for ordinal, index := range s.Allocations {
		if index == nil {
			if !free[ordinal] {
				t.Fatalf("block %s: ordinal %d is neither free nor taken", cidr, ordinal)
			}
			continue
		}
		used[*index] = true
		if s.SequenceNumberForAllocation[fmt.Sprint(ordinal)] == 0 || s.SequenceNumberForAllocation[fmt.Sprint(ordinal)] > s.SequenceNumber {
			t.Fatalf("block %s: ordinal %d has no sequence number, or one that has not been yet", cidr, ordinal)
		}
		holder[addressAt(cidr, ordinal)] = *s.Attributes[*index].HandleID
	}
	if len(used) != len(s.Attributes) {
		t.Fatalf("block %s: %d attributes, %d in use", cidr, len(s.Attributes), len(used))
	}
}

// settle lets all calls go without faults, releases every handle, and proves that nothing has leaked.
func (s *sim) settle() {
	drain := func() {
		synctest.Wait()
		for {
			s.mu.Lock()
			if len(s.calls) == 0 {
				s.mu.Unlock()
				return
			}
			w := s.calls[0]
			s.calls = s.calls[1:]
			s.mu.Unlock()
			w.go_ <- succeed
			synctest.Wait()
			s.check()
		}
	}
	drain()
	for _, h := range s.hosts {
		for i := 1; i <= h.serial; i++ {
			h.release(fmt.Sprintf("%s-%d", h.name, i))
		}
	}
	drain()
	list, err := s.store.List(context.Background(), v3.KindIPAMBlock, "")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, o := range list.Objects {
		if spec := &o.(*v3.IPAMBlock).Spec; len(spec.Attributes) > 0 {
			s.t.Fatalf("block %s: %d addresses have leaked", spec.CIDR, len(spec.Attributes))
		}
	}
	for _, h := range s.hosts {
		if len(h.unsure) > 0 {
			s.t.Fatalf("releases failed without faults: %v", h.unsure)
		}
	}
}

// inBubble hides the test's deadline, which may not be asked for inside a bubble.
type inBubble struct{ testing.TB }

// TestNoAddressTwice simulates hosts that share small pools, with their calls of the store in any order, refused, unanswered, and cut off
// by crashes between any two of them.
func TestNoAddressTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(inBubble{t}, func(rt *rapid.T) {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			s := &sim{t: rt, store: dstest.NewMemory(), ctx: ctx}
			s.strict, s.handover = rapid.Bool().Draw(rt, "strict"), rapid.Bool().Draw(rt, "handover")
			s.configure()
			for i := range rapid.IntRange(1, 4).Draw(rt, "hosts") {
				h := &host{sim: s, name: fmt.Sprintf("node-%d", i), held: map[string][]netip.Addr{}, unsure: map[string]bool{}, busy: map[string]int{}}
				h.start()
				s.hosts = append(s.hosts, h)
			}
			for range rapid.IntRange(10, 120).Draw(rt, "steps") {
				s.mu.Lock()
				idle := len(s.calls) == 0
				s.mu.Unlock()
				if idle || rapid.IntRange(0, 3).Draw(rt, "new call?") == 0 {
					s.call()
					synctest.Wait()
					continue
				}
				s.step()
			}
			s.settle()
		})
	})
}

// configure makes pools of a few small blocks, some of it reserved.
func (s *sim) configure() {
	put := func(o v3.Object) {
		if _, err := s.store.Create(context.Background(), o); err != nil {
			s.t.Fatal(err)
		}
	}
	four, six := &v3.IPPool{}, &v3.IPPool{}
	four.Name, four.Spec = "four", v3.IPPoolSpec{CIDR: "10.0.0.0/27", BlockSize: 29}
	six.Name, six.Spec = "six", v3.IPPoolSpec{CIDR: "fd00::/123", BlockSize: 126}
	put(four)
	put(six)
	reserved := &v3.IPReservation{Spec: v3.IPReservationSpec{ReservedCIDRs: []string{"10.0.0.8/30", "fd00::5"}}}
	reserved.Name = "r"
	put(reserved)
	config := &v3.IPAMConfiguration{Spec: v3.IPAMConfigurationSpec{StrictAffinity: s.strict, MaxBlocksPerHost: 2}}
	config.Name = "default"
	put(config)
}

// TestErrorsAreTold proves that running out is told apart from other errors.
func TestErrorsAreTold(t *testing.T) {
	ctx := context.Background()
	store := dstest.NewMemory()
	a := New(store, "node-1", Options{})
	_, err := a.Assign(ctx, Request{Handle: "h", IPv4: true})
	if !errors.Is(err, ErrNoPool) {
		t.Errorf("without a pool: %v", err)
	}
	newPool(t, store, "p", "10.0.0.0/30", func(s *v3.IPPoolSpec) { s.BlockSize = 30 })
	for i := range 4 {
		if _, err := a.Assign(ctx, Request{Handle: fmt.Sprint(i), IPv4: true}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err = a.Assign(ctx, Request{Handle: "h", IPv4: true}); !errors.Is(err, ErrExhausted) {
		t.Errorf("with a full pool: %v", err)
	}
	if _, err = a.Assign(ctx, Request{Handle: "h", IPv4: true, Pools: []string{"q"}}); !errors.Is(err, ErrNoPool) {
		t.Errorf("with a pool that does not exist: %v", err)
	}
}
