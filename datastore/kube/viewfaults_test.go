package kube

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

// putNamespaces puts n namespaces.
func putNamespaces(w *twin, n int) {
	for i := range n {
		w.put(namespaceResource, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("ns%02d", i), UID: "u"}})
	}
}

func TestViewOutageKeepsWhatIsKnown(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newTwin()
		putNamespaces(w, 3)
		f := followViews(t, w, nil, v3.KindProfile)
		defer f.stop()
		f.settle(time.Second)
		f.want("first", "kns.ns00", "kns.ns01", "kns.ns02")
		w.fail("", datastore.ErrUnreachable)
		f.settle(10 * time.Minute)
		f.want("during an outage", "kns.ns00", "kns.ns01", "kns.ns02")
		if h := f.views.Health(); len(h) != 3 || h[0].Err == "" || time.Since(h[0].Since) < 10*time.Minute {
			t.Errorf("health: %+v", h)
		}
		w.put(namespaceResource, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "new"}})
		w.remove(namespaceResource, "", "ns01")
		w.fail("", nil)
		f.settle(time.Minute)
		f.want("after", "kns.new", "kns.ns00", "kns.ns02")
		f.wantEvents("after", 2)
		if lists := w.lists["namespaces"]; lists != 1 {
			t.Errorf("%d lists, want one: the watch goes on from its revision", lists)
		}
		if n, m := f.lines("going on with what is known"), f.lines("up to date again"); n != 1 || m != 1 {
			t.Errorf("%d lines about the outage and %d about its end, want one of each:\n%s", n, m, f.log)
		}
	})
}

func TestViewExpiredWatchRelistsDifferences(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newTwin()
		putNamespaces(w, 20)
		f := followViews(t, w, nil, v3.KindProfile)
		defer f.stop()
		f.settle(time.Second)
		w.expire()
		w.remove(namespaceResource, "", "ns07")
		w.expire()
		f.settle(time.Minute)
		f.wantEvents("a relist", 1)
		if len(f.have) != 19 {
			t.Errorf("%d, want 19", len(f.have))
		}
	})
}

func TestViewEmptiedServerIsDoubted(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newTwin()
		putNamespaces(w, 12)
		f := followViews(t, w, nil, v3.KindProfile)
		defer f.stop()
		f.settle(time.Second)
		undo := w.forget()
		w.put(namespaceResource, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "default"}})
		f.settle(50 * time.Second)
		if len(f.have) != 13 {
			t.Errorf("%d after 50 s, want the 12 known and the new one", len(f.have))
		}
		if h := f.views.Health()[0]; h.Doubted != 12 || h.Err == "" {
			t.Errorf("health: %+v", h)
		}
		undo()
		f.settle(time.Minute)
		if len(f.have) != 12 || f.views.Health()[0].Doubted != 0 {
			t.Errorf("%d when the server is itself again, want 12; health %+v", len(f.have), f.views.Health()[0])
		}
		w.forget()
		f.settle(59 * time.Second)
		if len(f.have) != 12 {
			t.Errorf("%d after 59 s, want 12", len(f.have))
		}
		f.settle(time.Minute)
		f.want("believed in the end")
		if n := f.lines("doubt namespaces"); n != 4 {
			t.Errorf("%d lines, want one for the begin and the end of either doubt:\n%s", n, f.log)
		}
	})
}

func TestViewSingleDeletionsAreBelieved(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newTwin()
		putNamespaces(w, 20)
		f := followViews(t, w, nil, v3.KindProfile)
		defer f.stop()
		f.settle(time.Second)
		for i := range 20 {
			w.remove(namespaceResource, "", fmt.Sprintf("ns%02d", i))
		}
		f.settle(time.Second)
		f.want("all deleted one by one")
	})
}

func TestViewForbiddenKindHoldsUpSyncUntilGranted(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newTwin()
		putNamespaces(w, 1)
		w.put(nodeResource, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}})
		w.fail("nodes", fmt.Errorf("%w: missing: a rule with resources [nodes]", datastore.ErrForbidden))
		f := followViews(t, w, nil, v3.KindProfile, v3.KindNode)
		defer f.stop()
		f.settle(time.Minute)
		f.want("the rest goes on", "kns.ns00")
		if f.inSync {
			t.Error("in sync without nodes")
		}
		if f.lines("about=nodes") != 1 || f.lines("missing: a rule with resources [nodes]") != 1 {
			t.Errorf("want one line that names the permission:\n%s", f.log)
		}
		w.fail("nodes", nil)
		f.settle(time.Minute)
		f.want("granted", "kns.ns00", "n1")
		if !f.inSync {
			t.Error("not in sync")
		}
		w.fail("nodes", fmt.Errorf("%w: nodes", datastore.ErrForbidden))
		f.settle(time.Minute)
		f.want("taken away again: what is known stays", "kns.ns00", "n1")
	})
}

func TestViewResourceThatComesLate(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newTwin()
		w.fail("clusternetworkpolicies", datastore.ErrNotServed)
		f := followViews(t, w, nil, v3.KindClusterNetworkPolicy)
		defer f.stop()
		f.settle(time.Second)
		if !f.inSync || f.log.String() != "" {
			t.Errorf("in sync is %t without the CRD; log:\n%s", f.inSync, f.log)
		}
		w.fail("clusternetworkpolicies", nil)
		w.put(clusterPolicyResource, clusterPolicy("admin"))
		f.settle(time.Minute)
		f.want("the CRD came", "admin")
		w.put(clusterPolicyResource, clusterPolicy("more"))
		f.settle(time.Second)
		f.want("and is followed", "admin", "more")
		w.fail("clusternetworkpolicies", datastore.ErrNotServed)
		f.settle(30 * time.Second)
		f.want("the CRD went: doubted", "admin", "more")
		f.settle(2 * time.Minute)
		f.want("and believed")
	})
}

// rawPolicy is a ClusterNetworkPolicy.
type rawPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              map[string]any `json:"spec"`
}

func clusterPolicy(name string) *rawPolicy {
	return &rawPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: "policy.networking.k8s.io/v1alpha2", Kind: "ClusterNetworkPolicy"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Generation: 1},
		Spec:       map[string]any{"tier": "Admin", "priority": 5, "subject": map[string]any{"namespaces": map[string]any{}}},
	}
}
