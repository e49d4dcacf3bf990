package dstest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/felid-net/felid/api/v1alpha1"
	"github.com/felid-net/felid/datastore"
)

// RunReports proves that a datastore.Reports keeps the contract. It begins without reports; there is a namespace, and a pod in it.
func RunReports(t *testing.T, r datastore.Reports, namespace, pod string) {
	t.Run("Node reports are put and followed", func(t *testing.T) { testNodeReports(t, r) })
	t.Run("A follower sees what is there", func(t *testing.T) { testFollowThere(t, r) })
	t.Run("A follower ends with what it is told by", func(t *testing.T) { testFollowEnds(t, r) })
	t.Run("Policy reports", func(t *testing.T) { testPolicyReports(t, r, namespace) })
	t.Run("Pod events", func(t *testing.T) { testPodEvents(t, r, namespace, pod) })
}

func nodeReport(name string, endpoints int) *v1alpha1.NodeReport {
	r := &v1alpha1.NodeReport{ObjectMeta: metav1.ObjectMeta{Name: name}}
	r.Status.Reported = metav1.NewTime(time.Unix(1_000_000, 0).UTC())
	r.Status.Endpoints = endpoints
	r.Status.Applied = []v1alpha1.AppliedRevision{{Kind: "NetworkPolicy", Revision: "12"}}
	r.Status.Conditions = []metav1.Condition{{Type: "Ready", Status: metav1.ConditionTrue, Reason: "InSync", LastTransitionTime: r.Status.Reported}}
	return r
}

// told is what a follower was given.
type told struct {
	node   string
	report *v1alpha1.NodeReport
}

// followReports passes what a follower is given until the test ends.
func followReports(t *testing.T, r datastore.Reports) <-chan told {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, ended := make(chan told, 64), make(chan error, 1)
	go func() {
		ended <- r.FollowNodeReports(ctx, func(node string, report *v1alpha1.NodeReport) error {
			out <- told{node, report}
			return nil
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("followed until %v", err)
		}
	})
	return out
}

func nextReport(t *testing.T, c <-chan told) told {
	t.Helper()
	select {
	case got := <-c:
		return got
	case <-time.After(patience):
		t.Fatal("waited in vain for a report")
		return told{}
	}
}

func mustPut(t *testing.T, r datastore.Reports, n *v1alpha1.NodeReport) {
	t.Helper()
	if err := r.PutNodeReport(t.Context(), n); err != nil {
		t.Fatal(err)
	}
}

func testNodeReports(t *testing.T, r datastore.Reports) {
	followed := followReports(t, r)
	if got := nextReport(t, followed); got.node != "" || got.report != nil {
		t.Fatalf("given %+v, want the end of nothing", got)
	}
	for i := range 3 {
		n := nodeReport("conformance-a", i)
		mustPut(t, r, n)
		if n.ResourceVersion != "" {
			t.Error("the caller's report was changed")
		}
		got := nextReport(t, followed)
		if got.node != "conformance-a" || got.report == nil || got.report.Status.Endpoints != i || len(got.report.Status.Applied) != 1 || len(got.report.Status.Conditions) != 1 {
			t.Fatalf("given %+v", got)
		}
	}
}

func testFollowThere(t *testing.T, r datastore.Reports) {
	mustPut(t, r, nodeReport("conformance-b", 7))
	followed := followReports(t, r)
	var names []string
	for got := nextReport(t, followed); got.node != ""; got = nextReport(t, followed) {
		names = append(names, got.node)
	}
	slices.Sort(names)
	if !slices.Equal(names, []string{"conformance-a", "conformance-b"}) {
		t.Errorf("given %q", names)
	}
}

func testFollowEnds(t *testing.T, r datastore.Reports) {
	enough := errors.New("enough")
	err := r.FollowNodeReports(t.Context(), func(string, *v1alpha1.NodeReport) error { return enough })
	if !errors.Is(err, enough) {
		t.Errorf("%v", err)
	}
}

func policyReport(namespace, name, message string) *v1alpha1.PolicyReport {
	return &v1alpha1.PolicyReport{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Policy:     v1alpha1.PolicyReference{Kind: "KubernetesNetworkPolicy", Namespace: namespace, Name: name},
		Status: &v1alpha1.PolicyReportStatus{Conditions: []metav1.Condition{{
			Type: "Programmed", Status: metav1.ConditionTrue, Reason: "Programmed", Message: message, LastTransitionTime: metav1.NewTime(time.Unix(1_000_000, 0).UTC()),
		}}},
	}
}

func testPolicyReports(t *testing.T, r datastore.Reports, namespace string) {
	ctx := t.Context()
	for _, name := range []string{"b", "a", "a"} {
		if err := r.PutPolicyReport(ctx, policyReport(namespace, name, strings.Repeat(name, 3))); err != nil {
			t.Fatal(err)
		}
	}
	for _, in := range []string{namespace, ""} {
		all, err := r.PolicyReports(ctx, in)
		if err != nil || len(all) != 2 || all[0].Name != "a" || all[1].Status.Conditions[0].Message != "bbb" {
			t.Fatalf("in %q: %d, %v", in, len(all), err)
		}
	}
	if all, err := r.PolicyReports(ctx, "none"); err != nil || len(all) != 0 {
		t.Errorf("%d in a namespace that is not there, %v", len(all), err)
	}
	for range 2 { // the second time it is gone already
		if err := r.DeletePolicyReport(ctx, namespace, "a"); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.PutPolicyReport(ctx, policyReport(namespace, "a", "again")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b"} {
		if err := r.DeletePolicyReport(ctx, namespace, name); err != nil {
			t.Fatal(err)
		}
	}
}

func testPodEvents(t *testing.T, r datastore.Reports, namespace, pod string) {
	e := &datastore.PodEvent{
		Namespace: namespace, Pod: pod, Node: "n1", Warning: true, Reason: "DeniedEgress", Action: "Deny",
		Message: strings.Repeat("é", 1000), Time: time.Now(),
	}
	if err := r.PodEvent(t.Context(), e); err != nil {
		t.Error(err)
	}
}
