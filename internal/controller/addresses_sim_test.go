package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/datastore/dstest"
	"github.com/felid-net/felid/ipam"
)

// lagging is a store whose watches can be held up, kind by kind.
type lagging struct {
	dstest.Cluster
	mu   sync.Mutex
	held map[v3.Kind]chan struct{}
}

func (l *lagging) Watch(ctx context.Context, kind v3.Kind, revision string) (<-chan datastore.Event, error) {
	in, err := l.Cluster.Watch(ctx, kind, revision)
	if err != nil {
		return nil, err
	}
	out := make(chan datastore.Event)
	go func() {
		defer close(out)
		for e := range in {
			l.mu.Lock()
			wait := l.held[kind]
			l.mu.Unlock()
			if wait != nil {
				select {
				case <-wait:
				case <-ctx.Done():
					return
				}
			}
			select {
			case out <- e:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}

// toggle holds the watches of a kind up, or lets them go.
func (l *lagging) toggle(kind v3.Kind, hold bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if wait := l.held[kind]; wait != nil {
		close(wait)
		delete(l.held, kind)
	}
	if hold {
		l.held[kind] = make(chan struct{})
	}
}

var laggingKinds = []v3.Kind{v3.KindIPAMBlock, v3.KindWorkloadEndpoint, v3.KindNode, v3.KindIPPool, v3.KindBlockAffinity}

// addressSim is nodes that start and lose pods and go and come, with controllers beside them.
type addressSim struct {
	t     *rapid.T
	store *lagging
	nodes map[string]*simNode
	pods  map[string]*simPod
	// lost are the handles of sandboxes that a pod that still runs has lost on its node: in another block, they are the node's to find.
	lost   map[string]bool
	stops  []func()
	serial int
}

type simNode struct {
	alloc *ipam.Allocator
	skew  time.Duration
}

// simPod is a pod that runs: its address is in use.
type simPod struct {
	node, uid, handle string
	address           netip.Addr
}

func (s *addressSim) next(prefix string) string {
	s.serial++
	return fmt.Sprintf("%s-%04d", prefix, s.serial)
}

func (s *addressSim) start() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	settings := Settings{Status: true, Owner: true}
	reconcilers := []Reconciler{newPools(settings), newAddresses(settings), newAffinities(Settings{}), newRequests(settings)}
	go func() {
		ended <- Run(ctx, Options{Store: s.store, Reconcilers: reconcilers, Log: slog.New(slog.DiscardHandler), Metrics: NewMetrics(prometheus.NewRegistry())})
	}()
	s.stops = append(s.stops, func() {
		cancel()
		if err := <-ended; err != nil {
			panic(err)
		}
	})
}

// stop ends the oldest controller.
func (s *addressSim) stop() {
	s.stops[0]()
	s.stops = s.stops[1:]
}

func (s *addressSim) node() (string, *simNode) {
	name := fmt.Sprint("n", rapid.IntRange(0, 2).Draw(s.t, "node"))
	if s.nodes[name] == nil {
		n := &simNode{}
		n.alloc = ipam.New(s.store.Cluster, name, ipam.Options{Handover: true, Now: func() time.Time { return time.Now().Add(n.skew) }})
		s.nodes[name] = n
	}
	return name, s.nodes[name]
}

func (s *addressSim) pod() string {
	return fmt.Sprint("p", rapid.IntRange(0, 5).Draw(s.t, "pod"))
}

// sandbox gives a pod a new sandbox on its node; the one before is released or lost.
func (s *addressSim) sandbox(name string, p *simPod) {
	before, n := *p, s.nodes[p.node]
	if before.handle != "" {
		if rapid.Bool().Draw(s.t, "lost") {
			s.lost[before.handle] = true
		} else if _, err := n.alloc.Release(context.Background(), before.handle); err != nil {
			s.t.Fatal(err)
		}
	}
	handle := s.next("h")
	attrs := map[string]string{ipam.AttrPod: name, ipam.AttrNamespace: "ns", ipam.AttrInterface: "eth0", v3.AttributePodUID: p.uid}
	got, err := n.alloc.Assign(context.Background(), ipam.Request{Handle: handle, IPv4: true, Attrs: attrs})
	switch {
	case errors.Is(err, ipam.ErrExhausted):
		s.end(name)
		return
	case err != nil:
		s.t.Fatal(err)
	}
	p.handle, p.address = handle, got[0]
	s.pods[name] = p
	if rapid.Bool().Draw(s.t, "told at once") {
		s.tell(name)
	}
}

// tell has the API server learn a pod's address.
func (s *addressSim) tell(name string) {
	p := s.pods[name]
	s.store.Put(s.endpoint(name, p.node, p.uid, p.address.String()))
}

func (s *addressSim) endpoint(name, node, uid string, addresses ...string) *v3.WorkloadEndpoint {
	o := endpointOn(name, node, addresses...)
	o.UID = types.UID(uid)
	return o
}

// end has a pod's object go.
func (s *addressSim) end(name string) {
	delete(s.pods, name)
	err := s.store.Cluster.Delete(context.Background(), v3.Key{Kind: v3.KindWorkloadEndpoint, Namespace: "ns", Name: name}, "")
	if err != nil && !errors.Is(err, datastore.ErrNotFound) {
		s.t.Fatal(err)
	}
}

// step does one thing at random.
func (s *addressSim) step() {
	switch what := rapid.IntRange(0, 13).Draw(s.t, "what"); {
	case what < 4:
		s.podStep()
	case what == 4:
		if name, _ := s.node(); s.hasNode(name) {
			_ = s.store.Cluster.Delete(context.Background(), nodeKey(name), "")
		} else {
			s.store.Put(newNode(name))
		}
	case what == 5:
		_, n := s.node()
		n.skew = time.Duration(rapid.IntRange(-3600, 3600).Draw(s.t, "skew")) * time.Second
	case what == 6:
		s.store.toggle(rapid.SampledFrom(laggingKinds).Draw(s.t, "kind"), rapid.Bool().Draw(s.t, "hold"))
	case what == 7 && len(s.stops) < 3:
		s.start()
	case what == 8 && len(s.stops) > 1:
		s.stop()
	case what == 9:
		if name := s.pod(); s.pods[name] != nil {
			s.tell(name)
		}
	default:
		time.Sleep(time.Duration(rapid.IntRange(0, 3000).Draw(s.t, "seconds")) * time.Second)
	}
	synctest.Wait()
}

func (s *addressSim) hasNode(name string) bool {
	_, err := s.store.Get(context.Background(), nodeKey(name))
	return err == nil
}

// podStep starts a pod, gives it a new sandbox, or ends it.
func (s *addressSim) podStep() {
	name := s.pod()
	p := s.pods[name]
	switch {
	case p == nil:
		node, _ := s.node()
		p = &simPod{node: node, uid: s.next("uid")}
		s.store.Put(s.endpoint(name, node, p.uid))
		s.sandbox(name, p)
	case rapid.IntRange(0, 3).Draw(s.t, "sandbox?") == 0:
		s.sandbox(name, p)
	default:
		s.end(name)
		if rapid.Bool().Draw(s.t, "released") {
			if _, err := s.nodes[p.node].alloc.Release(context.Background(), p.handle); err != nil {
				s.t.Fatal(err)
			}
		}
	}
}

// blocks are those in the store.
func (s *addressSim) blocks() (out []ipam.Block) {
	list, err := s.store.List(context.Background(), v3.KindIPAMBlock, "")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, o := range list.Objects {
		b, err := ipam.ReadBlock(o.(*v3.IPAMBlock))
		if err != nil {
			s.t.Fatal(err)
		}
		out = append(out, b)
	}
	return out
}

// check proves that each pod that runs has its address, and nobody else.
func (s *addressSim) check() {
	holder := map[netip.Addr]string{}
	for _, b := range s.blocks() {
		for _, a := range b.Allocations() {
			holder[a.Address] = a.Handle
		}
	}
	for name, p := range s.pods {
		if holder[p.address] != p.handle {
			s.t.Fatalf("pod %s on %s has %s by %s, which the blocks give to %q", name, p.node, p.address, p.handle, holder[p.address])
		}
	}
}

// settle lets everything be known and time pass, and proves that nothing is left that nobody has.
func (s *addressSim) settle() {
	for _, kind := range laggingKinds {
		s.store.toggle(kind, false)
	}
	for name := range s.pods {
		s.tell(name)
	}
	s.store.Put(newNode("always"))
	time.Sleep(3 * time.Hour)
	synctest.Wait()
	s.check()
	runs := map[string]bool{}
	for _, p := range s.pods {
		runs[p.handle] = true
	}
	for _, b := range s.blocks() {
		for _, a := range b.Allocations() {
			if uid := a.Attrs[v3.AttributePodUID]; !runs[a.Handle] && !(s.lost[a.Handle] && s.runsUID(uid)) {
				s.t.Fatalf("%s of %s (%v) is nobody's, and still taken", a.Address, a.Handle, a.Attrs)
			}
		}
		if b.Taken() == 0 && !s.hasNode(b.Owner()) {
			s.t.Fatalf("block %s of node %s, which does not exist, is still there", b.CIDR(), b.Owner())
		}
	}
	s.checkAffinities()
}

func (s *addressSim) runsUID(uid string) bool {
	for _, p := range s.pods {
		if p.uid == uid {
			return true
		}
	}
	return false
}

// checkAffinities proves that each affinity is that of its block's owner.
func (s *addressSim) checkAffinities() {
	owners := map[string]string{}
	for _, b := range s.blocks() {
		owners[b.CIDR().String()] = b.Owner()
	}
	list, err := s.store.List(context.Background(), v3.KindBlockAffinity, "")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, o := range list.Objects {
		a := o.(*v3.BlockAffinity).Spec
		if a.State != ipam.StateWanted && (owners[a.CIDR] != a.Node || a.State != ipam.StateConfirmed) {
			s.t.Fatalf("affinity %+v, and the block is of %q", a, owners[a.CIDR])
		}
	}
}

// checkInBubbles is rapid.Check with a bubble for each try: rapid itself counts real time.
func checkInBubbles(t *testing.T, property func(*rapid.T)) {
	rapid.Check(t, func(rt *rapid.T) {
		var failure any
		synctest.Test(t, func(*testing.T) {
			defer func() { failure = recover() }()
			property(rt)
		})
		// rapid tells failures by where they come from.
		switch {
		case failure == nil:
		case strings.Contains(fmt.Sprintf("%T", failure), "invalid"):
			panic(failure)
		default:
			panic(failure)
		}
	})
}

// TestNoAddressOfALivePodIsFreed simulates pods that come, go, lose sandboxes and change nodes, nodes that go and come back, clocks that are wrong and
// jump, watches that are hours behind, and several controllers at once, which come and go.
func TestNoAddressOfALivePodIsFreed(t *testing.T) {
	checkInBubbles(t, func(rt *rapid.T) {
		s := &addressSim{
			t: rt, store: &lagging{Cluster: dstest.NewCluster(), held: map[v3.Kind]chan struct{}{}}, nodes: map[string]*simNode{}, pods: map[string]*simPod{},
			lost: map[string]bool{},
		}
		defer func() {
			for len(s.stops) > 0 {
				s.stop()
			}
		}()
		pool := newPool("p", "10.0.0.0/29")
		pool.Spec.BlockSize = 31
		s.store.Put(pool)
		for i := range 3 {
			s.store.Put(newNode(fmt.Sprint("n", i)))
		}
		s.start()
		for range rapid.IntRange(5, 60).Draw(rt, "steps") {
			s.step()
			s.check()
		}
		s.settle()
	})
}
