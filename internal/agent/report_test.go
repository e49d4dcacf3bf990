package agent

import (
	"encoding/json"
	"net/http/httptest"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/felid-net/felid/api/v1alpha1"
	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/datastore/dstest"
)

func TestPolicyReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &v3.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p"}}
		p.Spec.Selector = "app == 'web'"
		p.Spec.Ingress = []v3.Rule{
			{Action: v3.Log},
			{Action: v3.Allow, Source: v3.EntityRule{Nets: []string{"10.0.0.0/8", "10.0.0.0/77"}}},
			{Action: v3.Allow, HTTP: &v3.HTTPMatch{Methods: []string{"GET"}}},
		}
		far := pod("far", "c2", "10.0.0.2", map[string]string{"app": "web"})
		far.Spec.Node = "n2"
		idle := &v3.GlobalNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "idle"}}
		idle.Spec.Selector = "app == 'none'"

		store := dstest.NewMemory()
		for _, o := range []v3.Object{p, idle, far, pod("near", "c1", "10.0.0.1", map[string]string{"app": "web"}), allowAll("kns.ns")} {
			if _, err := store.Create(t.Context(), o); err != nil {
				t.Fatal(err)
			}
		}
		id := dataplane.PolicyID{Kind: "NetworkPolicy", Namespace: "ns", Name: "p"}
		n := startOn(t, store, &recorder{Fake: dataplane.NewFake(nil), unsupported: []dataplane.Unsupported{
			{Policy: id, Rule: 0, Reason: "no log here"}, {Policy: dataplane.PolicyID{Kind: "NetworkPolicy", Name: "another"}, Reason: "nor here"},
		}})
		defer n.stop()
		settle()

		want := v1alpha1.PolicyReport{
			TypeMeta: metav1.TypeMeta{APIVersion: "felid.dev/v1alpha1", Kind: "PolicyReport"},
			Policy:   v1alpha1.PolicyReference{Kind: "NetworkPolicy", Namespace: "ns", Name: "p"},
			Node:     "n1", Tier: "default", Selected: new(2), Local: 1,
			NotExpressed: []v1alpha1.NotExpressed{
				{Direction: "ingress", Rule: 2, Reason: "left out: http matches are not enforced on packets"},
				{Direction: "ingress", Rule: 0, Dataplane: "fake", Reason: "no log here"},
			},
			LeftOut: []v1alpha1.Finding{{Type: "PartiallyInvalid", Field: "spec.ingress[1].source.nets[1]"}},
		}
		compare(t, n, "/status/policies?name=ns/p", want)
		want.Selected = nil // the list counts nothing on other nodes
		compare(t, n, "/status/policies", want)
		compare(t, n, "/status/policies?name=ns/none")
	})
}

// compare asks the agent for reports; messages of conditions are the core's to word.
func compare(t *testing.T, n *node, path string, want ...v1alpha1.PolicyReport) {
	t.Helper()
	w := httptest.NewRecorder()
	n.Handler(prometheus.NewRegistry()).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", path, nil))
	var got []v1alpha1.PolicyReport
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 {
		t.Fatalf("%s: %d %s, %v", path, w.Code, w.Body, err)
	}
	for _, r := range got {
		for i := range r.LeftOut {
			r.LeftOut[i].Message = ""
		}
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}
