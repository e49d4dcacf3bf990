package agent

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/cni/server"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/datastore/dstest"
	"github.com/felid-net/felid/internal/config"
)

// withoutRecord is a pod as Kubernetes tells of it.
func withoutRecord(name, addr string) *v3.WorkloadEndpoint {
	p := pod(name, "", addr, nil)
	p.Spec.InterfaceName = ""
	return p
}

// TestUngated: beside another plugin, pods that came without the gate are policed at the interface that they are taken to have, and counted.
func TestUngated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, kernel := dstest.NewMemory(), &recorder{Fake: dataplane.NewFake(nil)}
		elsewhere := withoutRecord("elsewhere", "10.0.0.9")
		elsewhere.Spec.Node = "n2"
		starting := withoutRecord("starting", "10.0.0.8")
		starting.Spec.IPNetworks = nil
		for _, o := range []v3.Object{withoutRecord("b", "10.0.0.2"), withoutRecord("a", "10.0.0.1"), pod("passed", "c1", "10.0.0.3", nil), elsewhere, starting} {
			if _, err := store.Create(t.Context(), o); err != nil {
				t.Fatal(err)
			}
		}
		a := New(Options{Host: dataplane.Host{Node: "n1", InterfacePrefix: "azv"}, Store: store, Dataplane: kernel,
			Log: slog.New(slog.DiscardHandler), Metrics: NewMetrics(prometheus.NewRegistry()),
			InterfaceTo: func(addrs []netip.Addr) string {
				return map[string]string{"10.0.0.1": "eth0", "10.0.0.2": "azv1234"}[addrs[0].String()]
			}})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- a.Run(ctx) }()
		time.Sleep(time.Second) // of the bubble's clock: a stream of changes is gathered for a while
		if got := a.Ungated(); !slices.Equal(got, []string{"pod/ns/a", "pod/ns/b"}) {
			t.Errorf("ungated: %v", got)
		}
		if ep := kernel.Held().Endpoints[podA]; ep == nil || ep.Interface != server.InterfaceName("azv", "ns", "a", "", "eth0") {
			t.Errorf("endpoint %+v", ep)
		}
		if ep := kernel.Held().Endpoints["pod/ns/b"]; ep == nil || ep.Interface != "azv1234" {
			t.Errorf("the host reaches the pod by an interface of a pod's, but the endpoint is %+v", ep)
		}
		// The same pod is made anew, and comes by the gate.
		if err := a.Add(ctx, pod("a", "c2", "10.0.0.1", nil)); err != nil {
			t.Fatal(err)
		}
		if err := store.Delete(ctx, v3.Key{Kind: v3.KindWorkloadEndpoint, Namespace: "ns", Name: "b"}, ""); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // of the bubble's clock: a stream of changes is gathered for a while
		if got := a.Ungated(); len(got) != 0 {
			t.Errorf("ungated: %v", got)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// TestUngatedByAddress: where the dataplane finds endpoints by their addresses, no interface is made out for pods without the gate, and those on
// record keep theirs.
func TestUngatedByAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, kernel := dstest.NewMemory(), &recorder{Fake: dataplane.NewFake(nil)}
		passed := pod("passed", "c1", "10.0.0.3", nil)
		passed.Spec.InterfaceName = "6B3C1C61-0000-0000-0000-000000000001"
		for _, o := range []v3.Object{withoutRecord("a", "10.0.0.1"), passed} {
			if _, err := store.Create(t.Context(), o); err != nil {
				t.Fatal(err)
			}
		}
		a := New(Options{Host: dataplane.Host{Node: "n1", InterfacePrefix: "fld"}, Store: store, Dataplane: kernel,
			Log: slog.New(slog.DiscardHandler), Metrics: NewMetrics(prometheus.NewRegistry())})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- a.Run(ctx) }()
		time.Sleep(time.Second) // of the bubble's clock
		if got := a.Ungated(); !slices.Equal(got, []string{"pod/ns/a"}) {
			t.Errorf("ungated: %v", got)
		}
		if ep := kernel.Held().Endpoints[podA]; ep == nil || ep.Interface != "" {
			t.Errorf("without the gate: %+v", ep)
		}
		if ep := kernel.Held().Endpoints["pod/ns/passed"]; ep == nil || ep.Interface != passed.Spec.InterfaceName {
			t.Errorf("on record: %+v", ep)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// TestWindowIsMeasured: for a pod without the gate, from when the node hears of it until its policy is in force, once.
func TestWindowIsMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, kernel, registry := dstest.NewMemory(), &recorder{Fake: dataplane.NewFake(nil)}, prometheus.NewRegistry()
		kernel.FailEndpoint("pod/ns/late", errors.New("HNS has no endpoint with its address"))
		a := New(Options{Host: dataplane.Host{Node: "n1", InterfacePrefix: "fld"}, Store: store, Dataplane: kernel,
			Log: slog.New(slog.DiscardHandler), Metrics: NewMetrics(registry)})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- a.Run(ctx) }()
		time.Sleep(time.Second) // of the bubble's clock
		for _, o := range []v3.Object{withoutRecord("late", "10.0.0.1"), withoutRecord("gone", "10.0.0.2"), pod("passed", "c1", "10.0.0.3", nil)} {
			if o.GetName() == "gone" {
				kernel.FailEndpoint("pod/ns/gone", errors.New("HNS has no endpoint with its address"))
			}
			if _, err := store.Create(t.Context(), o); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(10 * time.Second)
		if count, _ := windowOf(t, registry); count != 0 {
			t.Errorf("%d windows are measured, and none has ended", count)
		}
		if err := store.Delete(t.Context(), v3.Key{Kind: v3.KindWorkloadEndpoint, Namespace: "ns", Name: "gone"}, ""); err != nil {
			t.Fatal(err)
		}
		kernel.FailEndpoint("pod/ns/late", nil)
		time.Sleep(time.Minute)
		if count, sum := windowOf(t, registry); count != 1 || sum < 10 || sum > 60 {
			t.Errorf("%d windows of %v s; want one of 10 s and the time until the next try", count, sum)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// windowOf reads the metric: how many, and their sum in seconds.
func windowOf(t *testing.T, registry *prometheus.Registry) (count uint64, sum float64) {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "felid_ungated_seconds" {
			h := f.GetMetric()[0].GetHistogram()
			return h.GetSampleCount(), h.GetSampleSum()
		}
	}
	t.Fatal("there is no felid_ungated_seconds")
	return 0, 0
}

// nodes is an Untainter in memory, which fails at first.
type nodes struct {
	mu     sync.Mutex
	taints []string
	faults int
	tries  int
}

func (n *nodes) Untaint(_ context.Context, node, key string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if node != "n1" {
		return errors.New("that is another node")
	}
	if n.tries++; n.tries <= n.faults {
		return errors.New("the API server is away")
	}
	n.taints = slices.DeleteFunc(n.taints, func(t string) bool { return t == key })
	return nil
}

func (n *nodes) left() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.taints)
}

// TestTaintGoesWhenTheNodeEnforces: not before the first Apply that works, then at last, and no other taint with it.
func TestTaintGoesWhenTheNodeEnforces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kernel := &recorder{Fake: dataplane.NewFake(nil)}
		kernel.FailAll(errors.New("somebody holds the lock"))
		a := New(Options{Host: dataplane.Host{Node: "n1", Owner: true}, Store: dstest.NewMemory(), Dataplane: kernel,
			Log: slog.New(slog.DiscardHandler), Metrics: NewMetrics(prometheus.NewRegistry())})
		n := &nodes{taints: []string{"felid.dev/agent-not-ready", "other"}, faults: 3}
		c := config.Defaults()
		c.Node, c.Socket = "n1", ""
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { _ = a.Run(ctx) })
		all.Go(func() {
			_ = (&announcement{config: c, agent: a, nodes: n, log: slog.New(slog.DiscardHandler)}).run(ctx)
		})
		time.Sleep(time.Minute)
		if got := n.left(); len(got) != 2 || n.tries != 0 {
			t.Errorf("nothing is enforced, and the taints are %v", got)
		}
		kernel.FailAll(nil)
		time.Sleep(2 * time.Minute)
		if got := n.left(); !slices.Equal(got, []string{"other"}) || n.tries != 4 {
			t.Errorf("taints %v after %d tries", got, n.tries)
		}
		cancel()
		all.Wait()
	})
}
