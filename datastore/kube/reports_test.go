package kube

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	eventsv1 "k8s.io/api/events/v1"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/felid-net/felid/api/v1alpha1"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/datastore/dstest"
	"github.com/felid-net/felid/test/kubernetes"
)

// reportCRDs are those of the reports alone.
func applyReportCRDs(t *testing.T, server *kubernetes.Server) {
	t.Helper()
	crds, err := filepath.Abs("../../deploy/crds")
	if err != nil {
		t.Fatal(err)
	}
	server.Apply(t, filepath.Join(crds, "felid.dev_nodereports.yaml"), filepath.Join(crds, "felid.dev_policyreports.yaml"))
	server.AwaitCRDs(t)
}

// raw makes an object of a JSON text.
func createRaw(t *testing.T, s *Store, r *resource, namespace, name, body string) {
	t.Helper()
	_, err := s.client.do(t.Context(), &call{verb: "create", resource: r, namespace: namespace, name: name, body: []byte(body)})
	if err != nil && !errors.Is(err, datastore.ErrExists) {
		t.Fatal(err)
	}
}

var coreNamespaces = &resource{version: "v1", plural: "namespaces", kind: "Namespace"}

func getMeta(t *testing.T, s *Store, r *resource, namespace, name string) *metav1.PartialObjectMetadata {
	t.Helper()
	raw, err := s.client.get(t.Context(), r, namespace, name)
	if err != nil {
		t.Fatal(err)
	}
	o := &metav1.PartialObjectMetadata{}
	if err := json.Unmarshal(raw, o); err != nil {
		t.Fatal(err)
	}
	return o
}

// TestReports runs the suite against the API server with the CRDs that are deployed, and looks at what the suite can't: that a node's report belongs to the
// Node, that another's write in between is no obstacle, and that kubectl shows the events of a pod.
func TestReports(t *testing.T) {
	server := kubernetes.Start(t, kubernetes.Options{})
	applyReportCRDs(t, server)
	s := openOn(t, server)
	createRaw(t, s, coreNamespaces, "", "reports", `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"reports"}}`)
	createRaw(t, s, coreNodes, "", "conformance-a", `{"apiVersion":"v1","kind":"Node","metadata":{"name":"conformance-a"}}`)
	long := strings.Repeat("p", 253)
	for _, pod := range []string{"front", long} {
		createRaw(t, s, corePods, "reports", pod, `{"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"reports","name":"`+pod+`"},"spec":{"containers":[{"name":"c","image":"i"}]}}`)
	}
	dstest.RunReports(t, s.Reports(), "reports", long)

	node := getMeta(t, s, coreNodes, "", "conformance-a")
	if owners := getMeta(t, s, nodeReports, "", "conformance-a").OwnerReferences; len(owners) != 1 || owners[0].UID != node.UID {
		t.Errorf("after several writes the report is owned by %+v", owners)
	}
	if owners := getMeta(t, s, nodeReports, "", "conformance-b").OwnerReferences; len(owners) != 0 {
		t.Errorf("a report without a Node is owned by %+v", owners)
	}
	t.Run("Somebody else has written", func(t *testing.T) { testOverwritten(t, server, s) })
	t.Run("A new agent", func(t *testing.T) { testNewAgent(t, server, node) })
	t.Run("Events", func(t *testing.T) { testEvents(t, s) })
	t.Run("Outage", func(t *testing.T) { testFollowThroughOutage(t, server, s) })
}

func putNode(t *testing.T, r datastore.Reports, name string, endpoints int) {
	t.Helper()
	n := &v1alpha1.NodeReport{ObjectMeta: metav1.ObjectMeta{Name: name}}
	n.Status.Reported, n.Status.Endpoints = metav1.Now(), endpoints
	if err := r.PutNodeReport(t.Context(), n); err != nil {
		t.Fatal(err)
	}
}

func testOverwritten(t *testing.T, server *kubernetes.Server, s *Store) {
	other := openOn(t, server)
	for i := range 3 {
		putNode(t, other.Reports(), "conformance-a", 100+i)
		putNode(t, s.Reports(), "conformance-a", i)
	}
	if owners := getMeta(t, s, nodeReports, "", "conformance-a").OwnerReferences; len(owners) != 1 {
		t.Errorf("owned by %+v", owners)
	}
}

// testNewAgent: one that does not know what was written before keeps the owner.
func testNewAgent(t *testing.T, server *kubernetes.Server, node *metav1.PartialObjectMetadata) {
	s := openOn(t, server)
	putNode(t, s.Reports(), node.Name, 5)
	if owners := getMeta(t, s, nodeReports, "", node.Name).OwnerReferences; len(owners) != 1 || owners[0].UID != node.UID {
		t.Errorf("owned by %+v", owners)
	}
}

func testEvents(t *testing.T, s *Store) {
	e := &datastore.PodEvent{
		Namespace: "reports", Pod: "front", Node: "n1", Warning: true, Reason: "DeniedEgress", Action: "Deny",
		Message: "Denied egress TCP 10.0.0.5:80 by NetworkPolicy web/allow-db rule 2", Time: time.Now(),
	}
	if err := s.Reports().PodEvent(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	pod := getMeta(t, s, corePods, "reports", "front")
	var found []eventsv1.Event
	_, err := s.client.list(t.Context(), podEvents, "reports", nil, func(raw []byte) error {
		var event eventsv1.Event
		if err := json.Unmarshal(raw, &event); err != nil {
			return err
		}
		if event.Regarding.UID == pod.UID {
			found = append(found, event)
		}
		return nil
	})
	if err != nil || len(found) != 1 {
		t.Fatalf("%d events, %v", len(found), err)
	}
	got := found[0]
	if got.Note != e.Message || got.Regarding.Kind != "Pod" || got.Regarding.Name != "front" || got.Type != "Warning" || got.ReportingInstance != "n1" || !strings.HasPrefix(got.Name, "front.") {
		t.Errorf("%+v", got)
	}
}

// testFollowThroughOutage: a follower is given what changed while the server was away, and nothing twice.
func testFollowThroughOutage(t *testing.T, server *kubernetes.Server, s *Store) {
	ctx, cancel := context.WithCancel(t.Context())
	given, ended := make(chan string, 64), make(chan error, 1)
	go func() {
		ended <- s.Reports().FollowNodeReports(ctx, func(node string, _ *v1alpha1.NodeReport) error {
			given <- node
			return nil
		})
	}()
	expect := func(want ...string) {
		t.Helper()
		for _, w := range want {
			select {
			case got := <-given:
				if got != w {
					t.Fatalf("given %q, want %q", got, w)
				}
			case <-time.After(time.Minute):
				t.Fatalf("waited in vain for %q", w)
			}
		}
	}
	expect("conformance-a", "conformance-b", "")
	server.Kill()
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	putNode(t, s.Reports(), "conformance-c", 1)
	expect("conformance-c")
	if _, err := s.client.do(t.Context(), &call{verb: "delete", resource: nodeReports, name: "conformance-c"}); err != nil {
		t.Fatal(err)
	}
	expect("conformance-c")
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
