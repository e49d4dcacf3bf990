package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/datastore/dstest"
)

// recorder is a Fake that counts Applies and can be told that the host has drifted.
type recorder struct {
	*dataplane.Fake
	mu      sync.Mutex
	applies int
	whole   int // those with nil changes
	drifted bool
	// unsupported is what it says that it can't express.
	unsupported []dataplane.Unsupported
}

func (r *recorder) Apply(ctx context.Context, s *dataplane.State, c *dataplane.Changes) (dataplane.Result, error) {
	r.mu.Lock()
	r.applies++
	if c == nil {
		r.whole++
	}
	r.mu.Unlock()
	result, err := r.Fake.Apply(ctx, s, c)
	result.Unsupported = r.unsupported
	return result, err
}

func (r *recorder) CheckDrift(context.Context) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	drifted := r.drifted
	r.drifted = false
	return drifted, nil
}

func (r *recorder) Drift() <-chan struct{} { return nil }

func (r *recorder) Backend() (name, reason string) { return "fake", "a test" }

func (r *recorder) counts() (applies, whole int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.applies, r.whole
}

// node is an agent under test.
type node struct {
	*Agent
	store  *dstest.Memory
	kernel *recorder
	stop   func()
}

func startNode(t *testing.T, objects ...v3.Object) *node {
	t.Helper()
	store, kernel := dstest.NewMemory(), &recorder{Fake: dataplane.NewFake(nil)}
	for _, o := range objects {
		if _, err := store.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	return startOn(t, store, kernel)
}

func startOn(t *testing.T, store *dstest.Memory, kernel *recorder) *node {
	t.Helper()
	a := New(Options{
		Host: dataplane.Host{Node: "n1", Owner: true, IPv6: true}, Store: store, Dataplane: kernel,
		Log: slog.New(slog.DiscardHandler), Metrics: NewMetrics(prometheus.NewRegistry()), DriftInterval: 5 * time.Second,
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	return &node{a, store, kernel, func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	}}
}

func pod(name, container, addr string, labels map[string]string) *v3.WorkloadEndpoint {
	return &v3.WorkloadEndpoint{
		TypeMeta:   metav1.TypeMeta{APIVersion: v3.APIVersion, Kind: string(v3.KindWorkloadEndpoint)},
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, Labels: labels},
		Spec: v3.WorkloadEndpointSpec{
			Orchestrator: "k8s", Node: "n1", Pod: name, Endpoint: "eth0", ContainerID: container,
			IPNetworks: []string{addr + "/32"}, InterfaceName: "fld" + name, Profiles: []string{"kns.ns"},
		},
	}
}

func allowAll(name string) *v3.Profile {
	p := &v3.Profile{ObjectMeta: metav1.ObjectMeta{Name: name}}
	p.Spec.Ingress = []v3.Rule{{Action: v3.Allow}}
	p.Spec.Egress = []v3.Rule{{Action: v3.Allow}}
	return p
}

const podA = dataplane.EndpointID("pod/ns/a")

func TestNothingIsAppliedBeforeInSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, kernel := dstest.NewMemory(), &recorder{Fake: dataplane.NewFake(nil)}
		store.SetDown(datastore.ErrUnreachable)
		n := startOn(t, store, kernel)
		time.Sleep(time.Minute)
		if applies, _ := kernel.counts(); applies != 0 {
			t.Errorf("%d applies while the datastore was away", applies)
		}
		if err := n.Add(t.Context(), pod("a", "c1", "10.0.0.1", nil)); err == nil {
			t.Error("an endpoint was taken before the node was in sync")
		}
		store.SetDown(nil)
		time.Sleep(time.Minute)
		if err := n.Ready(); err != nil {
			t.Errorf("not ready after the datastore came back: %v", err)
		}
		n.stop()
	})
}

func TestAddReturnsOncePolicyIsInForce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := startNode(t, allowAll("kns.ns"))
		settle()
		n.kernel.FailEndpoint(podA, errors.New("no such device"))
		done := make(chan error, 1)
		go func() { done <- n.Add(t.Context(), pod("a", "c1", "10.0.0.1", nil)) }()
		time.Sleep(10 * time.Second)
		select {
		case err := <-done:
			t.Fatalf("returned %v though the endpoint was not in force", err)
		default:
		}
		n.kernel.FailEndpoint(podA, nil)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if n.kernel.Held().Endpoints[podA] == nil {
			t.Error("the kernel does not have the endpoint")
		}
		n.stop()
	})
}

func TestAddSaysWhatHeldItUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := startNode(t, allowAll("kns.ns"))
		settle()
		n.kernel.FailEndpoint(podA, errors.New("no such device"))
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		err := n.Add(ctx, pod("a", "c1", "10.0.0.1", nil))
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no such device") {
			t.Errorf("got %v", err)
		}
		if err := n.status.Load().Enforcing(); err == nil || !strings.Contains(err.Error(), "pod/ns/a") {
			t.Errorf("readiness does not name the endpoint: %v", err)
		}
		n.stop()
	})
}

func TestDirectEndpointOutlivesAnOlderWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := startNode(t, allowAll("kns.ns"), pod("a", "old", "10.0.0.9", nil))
		settle()
		if err := n.Add(t.Context(), pod("a", "new", "10.0.0.1", nil)); err != nil {
			t.Fatal(err)
		}
		wantAddress := func(when, want string) {
			t.Helper()
			settle()
			if e := n.kernel.Held().Endpoints[podA]; e == nil || e.Addresses[0].String() != want {
				t.Errorf("%s: got %v, want %s", when, e, want)
			}
		}
		wantAddress("given", "10.0.0.1")
		mustUpdate(t, n.store, pod("a", "old", "10.0.0.8", nil))
		wantAddress("an event of the old sandbox", "10.0.0.1")
		mustUpdate(t, n.store, pod("a", "new", "10.0.0.1", map[string]string{"x": "y"}))
		wantAddress("the watch has caught up", "10.0.0.1")
		mustUpdate(t, n.store, pod("a", "newer", "10.0.0.7", nil))
		wantAddress("the watch is what counts again", "10.0.0.7")
		n.stop()
	})
}

func TestRemovedEndpointStaysAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := pod("a", "c1", "10.0.0.1", nil)
		n := startNode(t, allowAll("kns.ns"), a)
		settle()
		if err := n.Remove(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		gone := func(when string) {
			t.Helper()
			settle()
			if n.kernel.Held().Endpoints[podA] != nil {
				t.Errorf("%s: the endpoint is back", when)
			}
		}
		gone("removed")
		mustUpdate(t, n.store, pod("a", "c1", "10.0.0.1", map[string]string{"late": "event"}))
		gone("a late event of the same sandbox")
		if err := n.store.Delete(t.Context(), v3.KeyOf(a), ""); err != nil {
			t.Fatal(err)
		}
		gone("the record went")
		if _, err := n.store.Create(t.Context(), pod("a", "c2", "10.0.0.2", nil)); err != nil {
			t.Fatal(err)
		}
		settle()
		if n.kernel.Held().Endpoints[podA] == nil {
			t.Error("a new sandbox does not count")
		}
		n.stop()
	})
}

func TestRemoveOfAnOlderSandboxDoesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := startNode(t, allowAll("kns.ns"))
		settle()
		if err := n.Add(t.Context(), pod("a", "new", "10.0.0.1", nil)); err != nil {
			t.Fatal(err)
		}
		if err := n.Remove(t.Context(), pod("a", "old", "10.0.0.9", nil)); err != nil {
			t.Fatal(err)
		}
		settle()
		if n.kernel.Held().Endpoints[podA] == nil {
			t.Error("the endpoint of the new sandbox went")
		}
		n.stop()
	})
}

func TestFailedApplyIsRetriedWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := startNode(t, allowAll("kns.ns"))
		settle()
		n.kernel.FailAll(errors.New("no iptables"))
		if _, err := n.store.Create(t.Context(), pod("a", "c1", "10.0.0.1", nil)); err != nil {
			t.Fatal(err)
		}
		settle()
		before, _ := n.kernel.counts()
		time.Sleep(5 * time.Minute)
		after, whole := n.kernel.counts()
		if tries := after - before; tries < 5 || tries > 30 || whole != tries {
			t.Errorf("%d tries in five minutes, %d of them comparing everything", tries, whole)
		}
		n.kernel.FailAll(nil)
		time.Sleep(time.Minute)
		if n.kernel.Held().Endpoints[podA] == nil {
			t.Error("not in force after the kernel recovered")
		}
		if err := n.status.Load().Enforcing(); err != nil {
			t.Error(err)
		}
		n.stop()
	})
}

func TestDriftLeadsToAnApply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := startNode(t, allowAll("kns.ns"))
		settle()
		before, _ := n.kernel.counts()
		n.kernel.mu.Lock()
		n.kernel.drifted = true
		n.kernel.mu.Unlock()
		time.Sleep(time.Minute)
		if after, _ := n.kernel.counts(); after != before+1 {
			t.Errorf("%d applies after one drift, want 1", after-before)
		}
		n.stop()
	})
}

func TestIdleAppliesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := startNode(t, allowAll("kns.ns"))
		settle()
		before, _ := n.kernel.counts()
		remote := pod("far", "c9", "10.0.9.9", nil)
		remote.Spec.Node = "n2"
		if _, err := n.store.Create(t.Context(), remote); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		if after, _ := n.kernel.counts(); after != before {
			t.Errorf("%d applies for what does not concern this node", after-before)
		}
		n.stop()
	})
}

func mustUpdate(t *testing.T, s datastore.Store, o v3.Object) {
	t.Helper()
	if _, err := s.Update(t.Context(), o); err != nil {
		t.Fatal(err)
	}
}

func TestUnreadableObjectIsSaidAndNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := startNode(t, allowAll("kns.ns"), pod("a", "c1", "10.0.0.1", nil))
		settle()
		if err := n.status.Load().Enforcing(); err != nil {
			t.Fatal(err)
		}
		n.store.Break(v3.Key{Kind: v3.KindProfile, Name: "kns.ns"}, errors.New("half-written"))
		time.Sleep(time.Minute)
		if err := n.status.Load().Enforcing(); err == nil || !strings.Contains(err.Error(), "half-written") {
			t.Errorf("readiness does not name the fault: %v", err)
		}
		if n.kernel.Held().Policies[dataplane.PolicyID{Kind: "Profile", Name: "kns.ns"}] == nil {
			t.Error("what was known of the object is gone")
		}
		n.stop()
	})
}

func TestPolicyThatCountsAsAbsentIsSaidThoughNothingIsApplied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := startNode(t, allowAll("kns.ns"), pod("a", "c1", "10.0.0.1", nil))
		settle()
		before, _ := n.kernel.counts()
		p := &v3.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "broken"}}
		p.Spec.Selector = "app = 'a'"
		if _, err := n.store.Create(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		settle()
		if err := n.status.Load().Enforcing(); err == nil || !strings.Contains(err.Error(), "NetworkPolicy ns/broken") {
			t.Errorf("readiness does not name the policy: %v", err)
		}
		absent := make(chan prometheus.Metric, 10)
		n.o.Metrics.absent.Collect(absent)
		if len(absent) != 1 {
			t.Errorf("%d absent objects in the metrics, want 1", len(absent))
		}
		if after, _ := n.kernel.counts(); after != before {
			t.Errorf("%d applies for it", after-before)
		}
		if err := n.store.Delete(t.Context(), v3.KeyOf(p), ""); err != nil {
			t.Fatal(err)
		}
		settle()
		if err := n.status.Load().Enforcing(); err != nil {
			t.Errorf("after it went: %v", err)
		}
		n.stop()
	})
}

// settle lets everything happen that is not meant to take longer than a moment.
func settle() {
	synctest.Wait()
	time.Sleep(2 * streamGap)
	synctest.Wait()
}

func TestStreamSharesFlushes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := startNode(t, allowAll("kns.ns"), pod("a", "c1", "10.0.0.1", nil))
		settle()
		before, _ := n.kernel.counts()
		start := time.Now()
		update := func(i int) {
			if _, err := n.store.Update(t.Context(), pod("a", "c1", fmt.Sprintf("10.0.1.%d", i), nil)); err != nil {
				t.Fatal(err)
			}
		}
		update(200)
		synctest.Wait()
		if after, _ := n.kernel.counts(); after != before+1 || time.Since(start) > 0 {
			t.Errorf("%d applies for an update that came alone, after %s; want one at once", after-before, time.Since(start))
		}
		for i := range 100 {
			update(i)
			time.Sleep(time.Millisecond)
		}
		settle()
		after, _ := n.kernel.counts()
		if applies := after - before; applies < 10 || applies > 30 {
			t.Errorf("%d applies for 100 updates in 100 ms, want one each %s", applies, flushAfter)
		}
		if got := n.kernel.Held().Endpoints[podA].Addresses; len(got) != 1 || got[0].String() != "10.0.1.99" {
			t.Errorf("%s is in force, want the last address", got)
		}
		n.stop()
	})
}

// TestNobodyWaitsForAStream: who waits for an endpoint of theirs waits no longer because others change all the time.
func TestNobodyWaitsForAStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := startNode(t, allowAll("kns.ns"), pod("a", "c1", "10.0.0.1", nil))
		settle()
		for i := range 2 { // the second is of a stream
			if _, err := n.store.Update(t.Context(), pod("a", "c1", fmt.Sprintf("10.0.1.%d", i), nil)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		start := time.Now()
		if err := n.Add(t.Context(), pod("b", "c2", "10.0.0.2", nil)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > streamWait+streamQuiet {
			t.Errorf("Add took %s, want at most %s", took, streamWait+streamQuiet)
		}
		n.stop()
	})
}
