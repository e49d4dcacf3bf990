package controller

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/felid-net/felid/api/v1alpha1"
	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore/dstest"
)

// counting counts the writes of statuses.
type counting struct {
	dstest.Cluster
	mu     sync.Mutex
	writes map[v3.Key]int
}

func (s *counting) UpdateStatus(ctx context.Context, o v3.Object) (v3.Object, error) {
	s.mu.Lock()
	s.writes[v3.KeyOf(o)]++
	s.mu.Unlock()
	return s.Cluster.UpdateStatus(ctx, o)
}

func (s *counting) total() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, w := range s.writes {
		n += w
	}
	return n
}

// world is a controller that says what becomes of policies.
type world struct {
	t       *testing.T
	store   *counting
	reports *dstest.Reports
	stop    func()
}

func newWorld(t *testing.T, nodes int) *world {
	w := &world{t: t, store: &counting{Cluster: dstest.NewCluster(), writes: map[v3.Key]int{}}, reports: dstest.NewReports()}
	for i := range nodes {
		n := &v3.Node{ObjectMeta: metav1.ObjectMeta{Name: nodeName(i)}}
		n.Kind = string(v3.KindNode)
		w.create(n)
	}
	w.start()
	return w
}

func nodeName(i int) string { return fmt.Sprintf("n%d", i) }

// start begins a new term of leadership.
func (w *world) start() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- Run(ctx, Options{
			Store: w.store, Reconcilers: []Reconciler{newPolicyStatuses(w.reports)}, Log: slog.New(slog.DiscardHandler), Metrics: NewMetrics(prometheus.NewRegistry()),
		})
	}()
	w.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Error(err)
		}
	}
}

func (w *world) create(o v3.Object) v3.Object {
	w.t.Helper()
	stored, err := w.store.Create(w.t.Context(), o)
	if err != nil {
		w.t.Fatal(err)
	}
	return stored
}

// edit changes a policy, as its owner does: the generation grows.
func (w *world) edit(key v3.Key) v3.Object {
	w.t.Helper()
	old, err := w.store.Get(w.t.Context(), key)
	if err != nil {
		w.t.Fatal(err)
	}
	o := old.Copy().(*v3.NetworkPolicy)
	o.Spec.Order = new(float64(o.Generation))
	stored, err := w.store.Update(w.t.Context(), o)
	if err != nil {
		w.t.Fatal(err)
	}
	return stored
}

// nodesApply has nodes tell that they have applied everything up to now.
func (w *world) nodesApply(from, to int, failed ...string) {
	w.t.Helper()
	list, err := w.store.List(w.t.Context(), v3.KindNetworkPolicy, "")
	if err != nil {
		w.t.Fatal(err)
	}
	var now uint64
	if _, err := fmt.Sscan(list.Revision, &now); err != nil {
		w.t.Fatal(err)
	}
	for i := from; i < to; i++ {
		r := report(nodeName(i), now, failed...)
		r.Status.Applied = append(r.Status.Applied, v1alpha1.AppliedRevision{Kind: "KubernetesNetworkPolicy", Revision: list.Revision})
		if err := w.reports.PutNodeReport(w.t.Context(), r); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) conditions(key v3.Key) []metav1.Condition {
	w.t.Helper()
	o, err := w.store.Get(w.t.Context(), key)
	if err != nil {
		w.t.Fatal(err)
	}
	return o.(*v3.NetworkPolicy).Status.Conditions
}

// expect waits, and compares a condition.
func (w *world) expect(key v3.Key, after time.Duration, kind string, status metav1.ConditionStatus, reason, message string) {
	w.t.Helper()
	time.Sleep(after)
	synctest.Wait()
	w.compare(w.conditions(key), kind, status, reason, message)
}

func (w *world) compare(conditions []metav1.Condition, kind string, status metav1.ConditionStatus, reason, message string) {
	w.t.Helper()
	c := meta.FindStatusCondition(conditions, kind)
	if c == nil {
		w.t.Errorf("no condition %s, want %s %q", kind, reason, message)
		return
	}
	if c.Status != status || c.Reason != reason || !strings.HasPrefix(c.Message, message) {
		w.t.Errorf("%s=%s %s %q, want %s %s %q", kind, c.Status, c.Reason, c.Message, status, reason, message)
	}
}

func newPolicy(name string) *v3.NetworkPolicy {
	p := &v3.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, Generation: 1, UID: "uid"}}
	p.Spec.Selector = "all()"
	p.Spec.Ingress = []v3.Rule{{Action: v3.Allow}}
	return p
}

// TestProgrammedFollowsNodes: from the change of a policy until all nodes have it, through a failure on one, and a new change; one write where all
// nodes are quick.
func TestProgrammedFollowsNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3)
		defer func() { w.stop() }()
		key := v3.KeyOf(w.create(newPolicy("p")))
		w.nodesApply(0, 3)
		w.expect(key, 3*time.Second, "Programmed", metav1.ConditionTrue, "Programmed", "Programmed on 3 of 3 nodes")
		w.expect(key, 0, "Accepted", metav1.ConditionTrue, "Accepted", "")
		if got := w.store.total(); got != 1 {
			t.Errorf("%d writes, want 1", got)
		}

		w.edit(key)
		w.nodesApply(0, 1)
		w.expect(key, 10*time.Second, "Programmed", metav1.ConditionFalse, "Pending", "Programmed on 1 of 3 nodes; waiting for n1, n2")
		w.nodesApply(1, 2)
		w.nodesApply(2, 3, "p")
		w.expect(key, 10*time.Second, "Programmed", metav1.ConditionFalse, "Failed", "Programmed on 2 of 3 nodes; failed on n2: pod/ns/x: no")
		if c := meta.FindStatusCondition(w.conditions(key), "Programmed"); c.ObservedGeneration != 2 {
			t.Errorf("observed generation %d", c.ObservedGeneration)
		}
		w.nodesApply(2, 3)
		w.expect(key, 10*time.Second, "Programmed", metav1.ConditionTrue, "Programmed", "Programmed on 3 of 3 nodes")

		// What was programmed is left alone by a new node and a new controller, and brought back by a failure.
		before := w.store.total()
		n := &v3.Node{ObjectMeta: metav1.ObjectMeta{Name: nodeName(3)}}
		w.create(n)
		w.stop()
		w.start()
		time.Sleep(time.Minute)
		w.nodesApply(3, 4)
		time.Sleep(time.Minute)
		if got := w.store.total() - before; got != 0 {
			t.Errorf("%d writes for a node and a controller that came", got)
		}
		w.nodesApply(3, 4, "p")
		w.expect(key, 10*time.Second, "Programmed", metav1.ConditionFalse, "Failed", "Programmed on 3 of 4 nodes; failed on n3")
	})
}

// TestNodeWithoutAgentIsNamed: there is no other sign that nobody enforces there.
func TestNodeWithoutAgentIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2)
		defer w.stop()
		key := v3.KeyOf(w.create(newPolicy("p")))
		w.nodesApply(0, 1)
		w.expect(key, 10*time.Second, "Programmed", metav1.ConditionFalse, "Pending", "Programmed on 1 of 2 nodes; waiting for n1")
		if err := w.store.Delete(t.Context(), v3.Key{Kind: v3.KindNode, Name: "n1"}, ""); err != nil {
			t.Fatal(err)
		}
		w.expect(key, 10*time.Second, "Programmed", metav1.ConditionTrue, "Programmed", "Programmed on 1 of 1 nodes")
	})
}

// TestAcceptedSaysWhatIsNotAsWritten, on reading, by the tier, and by a dataplane.
func TestAcceptedSaysWhatIsNotAsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer w.stop()
		absent, partly, tierless, plain := newPolicy("absent"), newPolicy("partly"), newPolicy("tierless"), newPolicy("plain")
		absent.Spec.Selector = "what = ever"
		partly.Spec.Ingress[0].Source.Nets = []string{"10.0.0.0/8", "10.0.0.0/77"}
		tierless.Spec.Tier = "application"
		for _, p := range []*v3.NetworkPolicy{absent, partly, tierless, plain} {
			w.create(p)
		}
		w.nodesApply(0, 1)
		w.expect(policyKey("absent"), 10*time.Second, "Accepted", metav1.ConditionFalse, "Invalid", "spec.selector: ")
		w.expect(policyKey("absent"), 0, "Programmed", metav1.ConditionFalse, "Invalid", "Programmed on no node")
		w.expect(policyKey("partly"), 0, "Accepted", metav1.ConditionFalse, "PartiallyInvalid", "spec.ingress[0].source.nets[1]: ")
		w.expect(policyKey("partly"), 0, "Programmed", metav1.ConditionTrue, "Programmed", "")
		w.expect(policyKey("tierless"), 0, "Accepted", metav1.ConditionFalse, "TierMissing", "spec.tier: there is no Tier application")
		w.expect(policyKey("plain"), 0, "Accepted", metav1.ConditionTrue, "Accepted", "")

		said := meta.FindStatusCondition(w.conditions(policyKey("partly")), "Accepted").Message
		same := report("n0", 1000) // the node says the same of it
		same.Status.Unsupported = []v1alpha1.UnsupportedRule{{
			Policy: v1alpha1.PolicyReference{Kind: "NetworkPolicy", Namespace: "ns", Name: "partly"}, Direction: "ingress", Rule: 0,
			Reason: strings.TrimPrefix(said, "spec.ingress[0].source.nets[1]: "),
		}}
		if err := w.reports.PutNodeReport(t.Context(), same); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if got := meta.FindStatusCondition(w.conditions(policyKey("partly")), "Accepted").Message; got != said {
			t.Errorf("%q became %q", said, got)
		}

		w.create(&v3.Tier{ObjectMeta: metav1.ObjectMeta{Name: "application"}})
		w.expect(policyKey("tierless"), 10*time.Second, "Accepted", metav1.ConditionTrue, "Accepted", "")

		r := report("n0", 1000)
		r.Status.Dataplane = "hns"
		r.Status.Unsupported = []v1alpha1.UnsupportedRule{{
			Policy: v1alpha1.PolicyReference{Kind: "NetworkPolicy", Namespace: "ns", Name: "plain"}, Direction: "ingress", Rule: 0, Reason: "left out",
		}}
		if err := w.reports.PutNodeReport(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		w.expect(policyKey("plain"), 10*time.Second, "Accepted", metav1.ConditionFalse, "Unsupported", "spec.ingress[0]: on hns: left out")
	})
}

// TestKubernetesPoliciesHaveReports: which are written as rarely as a status, belong to the policy, and go with it, though nobody was there to see.
func TestKubernetesPoliciesHaveReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2)
		defer func() { w.stop() }()
		view := newPolicy("p")
		view.Kind = string(v3.KindKubernetesNetworkPolicy)
		key := v3.KeyOf(view)
		w.store.Put(view)
		w.nodesApply(0, 2)
		time.Sleep(10 * time.Second)
		get := func() *v1alpha1.PolicyReport {
			t.Helper()
			all, err := w.reports.PolicyReports(t.Context(), "ns")
			if err != nil || len(all) > 1 {
				t.Fatalf("%d reports, %v", len(all), err)
			}
			if len(all) == 0 {
				return nil
			}
			return all[0]
		}
		r := get()
		if r == nil || r.Name != "networkpolicy.p" || r.Policy.Kind != "KubernetesNetworkPolicy" || len(r.OwnerReferences) != 1 || r.OwnerReferences[0].UID != "uid" || r.Tier != "default" {
			t.Fatalf("%+v", r)
		}
		w.compare(r.Status.Conditions, "Programmed", metav1.ConditionTrue, "Programmed", "Programmed on 2 of 2 nodes")
		before := w.reports.Writes()
		w.stop()
		w.start()
		time.Sleep(time.Minute)
		if got := w.reports.Writes() - before; got != 0 {
			t.Errorf("%d writes by a new controller", got)
		}
		w.stop()
		if err := w.store.Delete(t.Context(), key, ""); err != nil {
			t.Fatal(err)
		}
		w.start()
		time.Sleep(10 * time.Second)
		if r := get(); r != nil {
			t.Errorf("%+v is left", r)
		}
	})
}

// TestWorkIsInProportion: with many nodes and policies, one change is planned and written a few times, however many nodes tell of it; and of many changes
// at once the statuses are written no faster than they may.
func TestWorkIsInProportion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const nodes, policies = 300, 400
		w := newWorld(t, nodes)
		defer w.stop()
		for i := range policies {
			w.create(newPolicy(fmt.Sprintf("p%03d", i)))
		}
		w.nodesApply(0, nodes)
		time.Sleep(5 * time.Minute)
		if got := w.store.total(); got != policies {
			t.Errorf("%d writes for %d policies", got, policies)
		}
		before := w.store.total()
		key := policyKey("p007")
		w.edit(key)
		for i := range nodes { // over a minute, one by one
			w.nodesApply(i, i+1)
			time.Sleep(200 * time.Millisecond)
		}
		w.expect(key, 10*time.Second, "Programmed", metav1.ConditionTrue, "Programmed", "Programmed on 300 of 300 nodes")
		if got := w.store.total() - before; got > 15 {
			t.Errorf("%d writes for one change", got)
		}
		before = w.store.total()
		for i := range policies {
			w.edit(policyKey(fmt.Sprintf("p%03d", i)))
		}
		began := time.Now()
		for i := range nodes {
			w.nodesApply(i, i+1)
			time.Sleep(200 * time.Millisecond)
		}
		if got, most := w.store.total()-before, int(time.Since(began).Seconds()*statusesPerSecond)+policies; got > most {
			t.Errorf("%d writes within %s, want %d at most", got, time.Since(began), most)
		}
		time.Sleep(5 * time.Minute)
		for i := range policies {
			w.expect(policyKey(fmt.Sprintf("p%03d", i)), 0, "Programmed", metav1.ConditionTrue, "Programmed", "Programmed on 300 of 300 nodes")
		}
	})
}

// BenchmarkPolicyChange is one change of one of 5,000 policies that 5,000 nodes tell of, one by one: all that the controller computes for it, and how often
// it writes, when nodes tell as fast as they may.
func BenchmarkPolicyChange(b *testing.B) {
	const nodes, policies = 5000, 5000
	s := newPolicyStatuses(dstest.NewReports())
	for i := range nodes {
		s.Update(v3.Key{Kind: v3.KindNode, Name: nodeName(i)}, &v3.Node{})
		s.takeReport(nodeName(i), report(nodeName(i), policies))
	}
	now := time.Unix(1_000_000, 0)
	plan := func(key v3.Key) time.Duration {
		step := s.Plan(key, now)
		for _, w := range step.Writes {
			s.Update(key, w.Object)
		}
		return step.Again
	}
	s.synced = true
	for i := range policies {
		p := newPolicy(fmt.Sprintf("p%04d", i))
		p.ResourceVersion = "1"
		s.Update(v3.KeyOf(p), p)
		plan(v3.KeyOf(p))
	}
	now = now.Add(time.Minute)
	for key := range s.policies {
		plan(key)
	}
	if s.waiting != 0 {
		b.Fatalf("%d policies wait", s.waiting)
	}
	b.ReportAllocs()
	writes := 0
	for i := 0; b.Loop(); i++ {
		p := newPolicy(fmt.Sprintf("p%04d", i%policies))
		revision := uint64(policies + i + 1)
		p.Generation, p.ResourceVersion = int64(i+2), strconv.FormatUint(revision, 10)
		key := v3.KeyOf(p)
		next := now
		for _, item := range s.Update(key, p) {
			next = now.Add(plan(item))
		}
		for n := range nodes {
			s.takeReport(nodeName(n), report(nodeName(n), revision))
			if now = now.Add(time.Second / nodeReportsPerSecond); now.After(next) {
				before := s.policies[key].written
				next = now.Add(plan(key))
				if s.policies[key].written != before {
					writes++
				}
			}
		}
		now = now.Add(time.Minute)
		plan(key)
		if s.waiting != 0 {
			b.Fatal("the policy still waits")
		}
	}
	b.ReportMetric(float64(writes+b.N)/float64(b.N), "writes/change")
}

func TestPolicyReportNames(t *testing.T) {
	long := strings.Repeat("a.", 126) + "z"
	other := strings.Repeat("a.", 126) + "y"
	if PolicyReportName("p") != "networkpolicy.p" || PolicyReportName(long) == PolicyReportName(other) {
		t.Errorf("%q, %q", PolicyReportName("p"), PolicyReportName(long))
	}
	for _, name := range []string{PolicyReportName(long), PolicyReportName(other)} {
		if len(name) > maxName || strings.Contains(name, ".-") {
			t.Errorf("%q has %d characters", name, len(name))
		}
	}
}
