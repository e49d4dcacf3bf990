package cli

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/felid-net/felid/api/v1alpha1"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/datastore/dstest"
)

func troubledNode() *v1alpha1.NodeReport {
	at := metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	r := &v1alpha1.NodeReport{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}
	r.Status = v1alpha1.NodeReportStatus{
		Reported: at, Dataplane: "nft", OS: "linux", Endpoints: 2, Policies: 1,
		Assumptions: []v1alpha1.Assumption{{Name: "H14", Outcome: "False", Message: "connections survive: cut"}, {Name: "H12", Outcome: "NotTried", Message: "IPv6: none here"}},
		Failed:      []v1alpha1.FailedObject{{Object: "pod/web/a", Message: "no chain"}}, FailedCount: 1,
		Unsupported: []v1alpha1.UnsupportedRule{{
			Policy: v1alpha1.PolicyReference{Kind: "NetworkPolicy", Namespace: "web", Name: "p"}, Direction: "egress", Rule: 3, Reason: "left out",
		}},
		Uncovered: []string{"pod/web/a"}, UncoveredCount: 1, Ungated: []string{"pod/web/b", "pod/web/c"}, UngatedCount: 70,
		Stale:      []v1alpha1.StaleKind{{Kind: "Tier", Since: at, Reason: "forbidden"}},
		Conditions: []metav1.Condition{{Type: "Ready", Status: "True"}, {Type: "Enforcing", Status: "False", Message: "not in force: pod/web/a"}},
	}
	return r
}

const troubledText = `n1: not enforcing (not in force: pod/web/a) on linux (nft), 2 endpoints, 1 policy or profile, reported 2026-01-02T03:04:05Z
  false here: H14: connections survive: cut
  not tried: H12: IPv6: none here
  not in force: pod/web/a: no chain
  not expressed: NetworkPolicy web/p: spec.egress[3]: left out
  not covered: pod/web/a
  came without the gate: pod/web/b, pod/web/c and 68 more
  not heard of: Tier since 2026-01-02T03:04:05Z: forbidden
`

// TestNodeStatusOfThisHost asks the agent.
func TestNodeStatusOfThisHost(t *testing.T) {
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/status/report" {
			http.NotFound(w, r)
			return
		}
		if err := json.NewEncoder(w).Encode(troubledNode()); err != nil {
			t.Error(err)
		}
	}))
	listen := agent.Listener.Addr().String()
	if got := call(t).ok("node", "status", "--listen", listen).out; got != troubledText {
		t.Errorf("got\n%swant\n%s", got, troubledText)
	}
	var reports []v1alpha1.NodeReport
	if err := json.Unmarshal([]byte(call(t).ok("node", "status", "-o", "json", "--listen", listen).out), &reports); err != nil || len(reports) != 1 || reports[0].Name != "n1" {
		t.Errorf("%+v, %v", reports, err)
	}
	agent.Close()
	if o := call(t).run("node", "status", "--listen", listen); o.status != exitUnreachable || !strings.Contains(o.err, "the agent of this host") {
		t.Errorf("status %d: %s", o.status, o.err)
	}
	if o := call(t).run("node", "status", "n1", "--datastore", "local:"+t.TempDir()); o.status != exitUsage || !strings.Contains(o.err, "no reports of nodes") {
		t.Errorf("status %d: %s", o.status, o.err)
	}
}

// reportingMemory is a store with a place for reports.
type reportingMemory struct {
	*dstest.Memory
	reports *dstest.Reports
}

func (r reportingMemory) Reports() datastore.Reports { return r.reports }

// TestNodeStatusOfTheCluster reads what nodes have reported.
func TestNodeStatusOfTheCluster(t *testing.T) {
	s := reportingMemory{dstest.NewMemory(), dstest.NewReports()}
	fine := &v1alpha1.NodeReport{ObjectMeta: metav1.ObjectMeta{Name: "n0"}}
	fine.Status.OS = "linux"
	for _, r := range []*v1alpha1.NodeReport{troubledNode(), fine} {
		if err := s.reports.PutNodeReport(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	all, err := storedNodeReports(t.Context(), s, nil)
	if err != nil || len(all) != 2 || all[0].Name != "n0" {
		t.Fatalf("%d, %v", len(all), err)
	}
	var out bytes.Buffer
	printNode(&out, all[1])
	if out.String() != troubledText {
		t.Errorf("got\n%swant\n%s", out.String(), troubledText)
	}
	if _, err := storedNodeReports(t.Context(), s, []string{"n1", "n9"}); err == nil || !strings.Contains(err.Error(), "node n9 has not reported") {
		t.Errorf("%v", err)
	}
}
