package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/felid-net/felid/api/v1alpha1"
	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/datastore/dstest"
)

// reporting starts the reporter of a node under test.
func reporting(t *testing.T, n *node) (reports *dstest.Reports, stop func()) {
	t.Helper()
	reports = dstest.NewReports()
	n.o.Reports = reports
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Report(ctx) }()
	return reports, func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Report: %v", err)
		}
		n.stop()
	}
}

func versioned(name string, generation int64) *v3.NetworkPolicy {
	p := &v3.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, Generation: generation}}
	p.Spec.Selector = "all()"
	p.Spec.Ingress = []v3.Rule{{Action: v3.Allow, Source: v3.EntityRule{Nets: []string{fmt.Sprintf("10.%d.0.0/16", generation)}}}}
	return p
}

// applied is how far a report says that the node is with NetworkPolicies.
func applied(r *v1alpha1.NodeReport) uint64 {
	for _, a := range r.Status.Applied {
		if a.Kind == string(v3.KindNetworkPolicy) {
			n, _ := strconv.ParseUint(a.Revision, 10, 64)
			return n
		}
	}
	return 0
}

// TestReportIsWrittenWhenItDiffers: a change of a policy is told within seconds, a change of its status or of a count not before something else is,
// and in quiet only the heartbeat comes.
func TestReportIsWrittenWhenItDiffers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := startNode(t, allowAll("kns.ns"), versioned("p", 1), pod("a", "c1", "10.0.0.1", nil))
		reports, stop := reporting(t, n)
		defer stop()
		writes := func(what string, after time.Duration, want int) {
			t.Helper()
			before := reports.Writes()
			time.Sleep(after)
			synctest.Wait()
			if got := reports.Writes() - before; got != want {
				t.Errorf("%s: %d writes within %s, want %d", what, got, after, want)
			}
		}
		writes("start", 10*time.Second, 1)
		first := reports.Node("n1")
		if got := first.Status; got.Endpoints != 1 || applied(first) == 0 || got.Dataplane != "fake" || got.OS == "" ||
			!meta.IsStatusConditionTrue(got.Conditions, v1alpha1.NodeReady) || !meta.IsStatusConditionTrue(got.Conditions, v1alpha1.NodeEnforcing) {
			t.Errorf("%+v", got)
		}
		writes("quiet", 2*time.Minute, 0)

		mustUpdate(t, n.store, versioned("p", 2))
		writes("a new generation", 6*time.Second, 1)
		second := reports.Node("n1")
		if applied(second) <= applied(first) {
			t.Errorf("applied %d, then %d", applied(first), applied(second))
		}

		status := versioned("p", 2)
		status.Status.Conditions = []metav1.Condition{{Type: "Programmed"}}
		mustUpdate(t, n.store, status)
		writes("a status", 2*time.Minute, 0)
		mustCreate(t, n.store, pod("b", "c2", "10.0.0.2", nil))
		writes("a pod, at first", 2*time.Second, 0)
		writes("a pod, then", time.Minute, 1)
		if got := reports.Node("n1"); got.Status.Endpoints != 2 || applied(got) <= applied(second) {
			t.Errorf("%+v", got.Status)
		}
		writes("heartbeat", 6*time.Minute, 1)
	})
}

func mustCreate(t *testing.T, s datastore.Store, o v3.Object) {
	t.Helper()
	if _, err := s.Create(t.Context(), o); err != nil {
		t.Fatal(err)
	}
}

// TestAppliedWaitsForTheKernel: what could not be applied as a whole is not told as applied; a policy or an endpoint that failed is named, with
// the policies that it concerns.
func TestAppliedWaitsForTheKernel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := startNode(t, allowAll("kns.ns"), versioned("p", 1), pod("a", "c1", "10.0.0.1", nil))
		reports, stop := reporting(t, n)
		defer stop()
		time.Sleep(10 * time.Second)
		before := applied(reports.Node("n1"))

		n.kernel.FailAll(errors.New("no iptables"))
		mustUpdate(t, n.store, versioned("p", 2))
		time.Sleep(30 * time.Second)
		r := reports.Node("n1")
		if applied(r) != before || len(r.Status.Failed) != 1 || !r.Status.Failed[0].AllPolicies || meta.IsStatusConditionTrue(r.Status.Conditions, v1alpha1.NodeEnforcing) {
			t.Errorf("%+v", r.Status)
		}

		n.kernel.FailAll(nil)
		n.kernel.FailEndpoint(podA, errors.New("no chain"))
		time.Sleep(2 * time.Minute)
		r = reports.Node("n1")
		want := []v1alpha1.FailedObject{{
			Object: "pod/ns/a", Message: "no chain", Policies: []v1alpha1.PolicyReference{{Kind: "NetworkPolicy", Namespace: "ns", Name: "p"}},
		}}
		if diff := cmp.Diff(want, r.Status.Failed); diff != "" || applied(r) <= before || !slices.Equal(r.Status.Uncovered, []string{"pod/ns/a"}) || r.Status.UncoveredCount != 1 {
			t.Errorf("applied %d, uncovered %v, (-want +got):\n%s", applied(r), r.Status.Uncovered, diff)
		}

		n.kernel.FailEndpoint(podA, nil)
		time.Sleep(2 * time.Minute)
		if r = reports.Node("n1"); r.Status.FailedCount != 0 || !meta.IsStatusConditionTrue(r.Status.Conditions, v1alpha1.NodeEnforcing) {
			t.Errorf("%+v", r.Status)
		}
	})
}

// TestReportsAreNotWaitedFor: while reports can't be written the node enforces, and tells when they can.
func TestReportsAreNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := startNode(t, allowAll("kns.ns"), versioned("p", 1), pod("a", "c1", "10.0.0.1", nil))
		reports, stop := reporting(t, n)
		defer stop()
		reports.SetDown(datastore.ErrUnreachable)
		time.Sleep(time.Minute)
		mustCreate(t, n.store, pod("b", "c2", "10.0.0.2", nil))
		settle()
		if held := n.kernel.Held(); len(held.Endpoints) != 2 {
			t.Errorf("%d endpoints are enforced", len(held.Endpoints))
		}
		reports.SetDown(nil)
		time.Sleep(30 * time.Second)
		if r := reports.Node("n1"); r == nil || r.Status.Endpoints != 2 {
			t.Errorf("%+v", r)
		}
	})
}

// deaf is a store that does not hear of some kinds.
type deaf struct {
	*dstest.Memory
	mu    sync.Mutex
	kinds []datastore.Outage
}

func (d *deaf) Outages() []datastore.Outage {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.kinds
}

// TestAgeOfDataIsTold: kinds that are not heard of are told with the time since when, and taken back.
func TestAgeOfDataIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := startNode(t, allowAll("kns.ns"))
		store := &deaf{Memory: n.store}
		n.o.Store = store
		reports, stop := reporting(t, n)
		defer stop()
		time.Sleep(10 * time.Second)
		if r := reports.Node("n1").Status; r.StaleSince != nil || len(r.Stale) != 0 {
			t.Errorf("%+v", r)
		}
		since := time.Now().UTC().Truncate(time.Second)
		store.mu.Lock()
		store.kinds = []datastore.Outage{{Kind: v3.KindTier, Since: since.Add(time.Second), Reason: "forbidden"}, {Kind: v3.KindNode, Since: since}}
		store.mu.Unlock()
		time.Sleep(10 * time.Second)
		want := []v1alpha1.StaleKind{{Kind: "Node", Since: metav1.NewTime(since)}, {Kind: "Tier", Since: metav1.NewTime(since.Add(time.Second)), Reason: "forbidden"}}
		r := reports.Node("n1").Status
		if diff := cmp.Diff(want, r.Stale); diff != "" || r.StaleSince == nil || !r.StaleSince.Time.Equal(since) {
			t.Errorf("since %v (-want +got):\n%s", r.StaleSince, diff)
		}
		store.mu.Lock()
		store.kinds = nil
		store.mu.Unlock()
		time.Sleep(10 * time.Second)
		if r := reports.Node("n1").Status; r.StaleSince != nil || len(r.Stale) != 0 {
			t.Errorf("%+v", r)
		}
	})
}

// TestManyFailuresAreCounted: more than fit are counted, and then any policy may be among them.
func TestManyFailuresAreCounted(t *testing.T) {
	state := dataplane.NewState()
	r := &dataplane.Result{Endpoints: map[dataplane.EndpointID]error{}, Policies: map[dataplane.PolicyID]error{}, Others: map[string]error{"routes": errors.New("no")}}
	profile := dataplane.PolicyID{Kind: "Profile", Name: "kns.ns"}
	r.Policies[profile] = errors.New("no")
	for i := range 100 {
		id := dataplane.EndpointID(fmt.Sprintf("pod/ns/p%03d", i))
		r.Endpoints[id] = errors.New("no")
		state.Endpoints[id] = &dataplane.Endpoint{ID: id, Tiers: []dataplane.EndpointTier{{Ingress: []dataplane.PolicyID{{Kind: "NetworkPolicy", Name: "p"}}}}}
	}
	s := &Status{Node: "n1", InSync: true, Applies: 1}
	s.setResult(state, r, "")
	got := NewNodeReport(s, nil, time.Now()).Status
	last := got.Failed[len(got.Failed)-1]
	if len(got.Failed) != v1alpha1.MaxNamed || got.FailedCount != 102 || last.Object != "39 more" || !last.AllPolicies {
		t.Errorf("%d named of %d, the last %+v", len(got.Failed), got.FailedCount, last)
	}
	if got.Failed[0].Object != "Profile kns.ns" || got.Failed[0].Policies != nil || len(got.Failed[1].Policies) != 1 || got.Failed[2].Policies != nil {
		t.Errorf("%+v", got.Failed[:3])
	}
	if len(got.Uncovered) != v1alpha1.MaxNamed || got.UncoveredCount != 100 {
		t.Errorf("%d uncovered named, %d counted", len(got.Uncovered), got.UncoveredCount)
	}
}

// TestUnreadableIsNamed: a policy that this node can't read is not in force as it is, whatever the node has applied since; rules that it can't read are
// named too.
func TestUnreadableIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		partly := versioned("partly", 1)
		partly.Spec.Ingress[0].Source.Nets = append(partly.Spec.Ingress[0].Source.Nets, "10.0.0.0/77")
		n := startNode(t, allowAll("kns.ns"), versioned("p", 1), partly, pod("a", "c1", "10.0.0.1", nil))
		reports, stop := reporting(t, n)
		defer stop()
		settle()
		n.store.Break(policyKeyOf("p"), errors.New("no JSON"))
		mustUpdate(t, n.store, partly)
		time.Sleep(10 * time.Second)
		got := reports.Node("n1").Status
		if len(got.Failed) != 1 || got.FailedCount != 1 || got.Failed[0].Object != "NetworkPolicy ns/p" || got.Failed[0].AllPolicies || len(got.Failed[0].Policies) != 1 {
			t.Errorf("failed %+v", got.Failed)
		}
		if len(got.Unsupported) != 1 || got.Unsupported[0].Policy.Name != "partly" || got.Unsupported[0].Direction != "ingress" || got.Unsupported[0].Rule != 0 {
			t.Errorf("unsupported %+v", got.Unsupported)
		}
	})
	if got := unreadableObjects([]datastore.Fault{{Err: errors.New("what is it?")}}); !got[0].AllPolicies {
		t.Errorf("what may be any policy: %+v", got)
	}
}

// TestPaceOfManyNodes: however much changes, all nodes of a cluster together write no more than they may, from the first second on; and nobody waits
// longer than an interval.
func TestPaceOfManyNodes(t *testing.T) {
	for _, nodes := range []int{3, 500, 5000} {
		random := rand.New(rand.NewPCG(1, uint64(nodes)))
		start := time.Unix(1_000_000, 0)
		perSecond, last := map[int]int{}, make([]time.Time, nodes)
		for i := range nodes {
			p := pace{nodes: nodes, random: random.Float64, written: start.Add(-time.Hour)}
			for now := start; now.Before(start.Add(5 * time.Minute)); {
				at := p.plan(now, changed) // there is always something new
				if at.Sub(now) > p.interval() {
					t.Fatalf("%d nodes: waits %s, the interval is %s", nodes, at.Sub(now), p.interval())
				}
				if !last[i].IsZero() && at.Sub(last[i]) < p.interval() {
					t.Fatalf("%d nodes: two writes within %s", nodes, at.Sub(last[i]))
				}
				now, last[i] = at, at
				p.wrote(at)
				perSecond[int(at.Sub(start).Seconds())]++
			}
		}
		most := slices.Max(slices.Collect(maps.Values(perSecond)))
		if nodes > 100 && most > 2*writesPerSecond { // by chance some more than the mean
			t.Errorf("%d nodes: %d writes in one second", nodes, most)
		}
	}
}

// TestHurryBringsForward: what somebody waits for does not wait behind a count or a heartbeat, and a failed write is tried again later.
func TestHurryBringsForward(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	p := pace{nodes: 100, random: func() float64 { return 0.5 }}
	if got := p.plan(now, unchanged).Sub(now); got < 4*time.Minute || got > 5*time.Minute {
		t.Errorf("heartbeat after %s", got)
	}
	if got := p.plan(now, counted).Sub(now); got != 22500*time.Millisecond {
		t.Errorf("a count after %s", got)
	}
	if got := p.plan(now, changed).Sub(now); got != time.Second {
		t.Errorf("a change after %s", got)
	}
	if got := p.plan(now.Add(10*time.Second), changed).Sub(now); got != time.Second {
		t.Errorf("what was planned moved to %s", got)
	}
	p.failed(now)
	if got := p.plan(now, changed).Sub(now); got < 5*time.Second || got > 10*time.Second {
		t.Errorf("tried again after %s", got)
	}
}
