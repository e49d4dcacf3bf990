package controller

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/felid-net/felid/api/v1alpha1"
	v3 "github.com/felid-net/felid/api/v3"
)

// report of a node that is so far with NetworkPolicies, on which these have failed.
func report(node string, applied uint64, failed ...string) *v1alpha1.NodeReport {
	r := &v1alpha1.NodeReport{ObjectMeta: metav1.ObjectMeta{Name: node}}
	r.Status.Dataplane = "nft"
	r.Status.Applied = []v1alpha1.AppliedRevision{{Kind: "NetworkPolicy", Revision: strconv.FormatUint(applied, 10)}}
	for _, name := range failed {
		r.Status.Failed = append(r.Status.Failed, v1alpha1.FailedObject{
			Object: "pod/ns/x", Message: "no", Policies: []v1alpha1.PolicyReference{{Kind: "NetworkPolicy", Namespace: "ns", Name: name}},
		})
	}
	return r
}

func policyKey(name string) v3.Key {
	return v3.Key{Kind: v3.KindNetworkPolicy, Namespace: "ns", Name: name}
}

// oracle counts as tally does, by looking at everything.
type oracle struct {
	members map[string]bool
	reports map[string]*v1alpha1.NodeReport
}

func (o *oracle) count(name string, revision uint64) (programmed, behind, failed int) {
	counted := map[string]bool{}
	for node := range o.members {
		counted[node] = true
	}
	if len(o.members) == 0 {
		for node := range o.reports {
			counted[node] = true
		}
	}
	for node := range counted {
		r := o.reports[node]
		var applied uint64
		isFailed, all := false, false
		if r != nil {
			applied, _ = strconv.ParseUint(r.Status.Applied[0].Revision, 10, 64)
			for _, f := range r.Status.Failed {
				all = all || f.AllPolicies
				isFailed = isFailed || slices.ContainsFunc(f.Policies, func(p v1alpha1.PolicyReference) bool { return p.Name == name })
			}
		}
		switch {
		case (all || applied < revision) && revision > 0:
			behind++
		case isFailed:
			failed++
		default:
			programmed++
		}
	}
	return programmed, behind, failed
}

// TestTallyEqualsCounting: after any changes of nodes and reports, the tally says of each policy and revision what counting everything does.
func TestTallyEqualsCounting(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		tl, o := newTally(), &oracle{members: map[string]bool{}, reports: map[string]*v1alpha1.NodeReport{}}
		for step := range 60 {
			node := fmt.Sprintf("n%d", random.IntN(6))
			switch random.IntN(6) {
			case 0:
				tl.setMember(node, false)
				delete(o.members, node)
			case 1:
				tl.setMember(node, true)
				o.members[node] = true
			case 2:
				tl.setReport(node, nil)
				delete(o.reports, node)
			default:
				r := report(node, random.Uint64N(10))
				for i := range 3 {
					if random.IntN(4) == 0 {
						r.Status.Failed = append(r.Status.Failed, report("", 0, fmt.Sprint("p", i)).Status.Failed...)
					}
				}
				if random.IntN(8) == 0 {
					r.Status.Failed = append(r.Status.Failed, v1alpha1.FailedObject{Object: "dataplane", AllPolicies: true})
				}
				tl.setReport(node, r)
				o.reports[node] = r
			}
			for i := range 3 {
				for revision := range uint64(11) {
					name := fmt.Sprint("p", i)
					programmed, behind, failed := o.count(name, revision)
					got := tl.count(policyKey(name), revision)
					if got.programmed != programmed || got.behindCount != behind || got.failedCount != failed || got.all != programmed+behind+failed ||
						len(got.behind) != min(behind, maxNodesNamed) || len(got.failed) != min(failed, maxNodesNamed) {
						t.Fatalf("seed %d, step %d, %s from %d: %+v, want %d, %d behind, %d failed", seed, step, name, revision, got, programmed, behind, failed)
					}
				}
			}
		}
		for node := range tl.nodes {
			tl.setMember(node, false)
			tl.setReport(node, nil)
		}
		if len(tl.nodes)+len(tl.failed)+len(tl.unsupported)+tl.members+len(tl.order[v3.KindNetworkPolicy]) > 0 {
			t.Fatalf("seed %d: something is left: %+v", seed, tl)
		}
	}
}

// TestReportsTouchWhatTheyName: a report brings up the policies that it names otherwise than the one before, and no others.
func TestReportsTouchWhatTheyName(t *testing.T) {
	tl := newTally()
	for _, c := range []struct {
		report *v1alpha1.NodeReport
		want   []string
	}{
		{report("n", 5), nil},
		{report("n", 6, "a", "b"), []string{"a", "b"}},
		{report("n", 7, "a", "b"), nil},
		{report("n", 8, "b", "c"), []string{"a", "c"}},
		{nil, []string{"b", "c"}},
	} {
		var got []string
		for _, key := range tl.setReport("n", c.report) {
			got = append(got, key.Name)
		}
		slices.Sort(got)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

// TestInexpressibleRulesAreOnce: however many nodes of a dataplane say so.
func TestInexpressibleRulesAreOnce(t *testing.T) {
	tl := newTally()
	for i := range 3 {
		r := report(fmt.Sprint("w", i), 1)
		r.Status.Dataplane = "hns"
		r.Status.Unsupported = []v1alpha1.UnsupportedRule{{
			Policy: v1alpha1.PolicyReference{Kind: "NetworkPolicy", Namespace: "ns", Name: "p"}, Direction: "ingress", Rule: 2, Reason: "no Log",
		}}
		tl.setReport(r.Name, r)
	}
	want := []inexpressible{{"hns", "ingress", 2, "no Log"}}
	for i := range 3 {
		if got := tl.inexpressibleOf(policyKey("p")); !slices.Equal(got, want) {
			t.Errorf("%+v", got)
		}
		tl.setReport(fmt.Sprint("w", i), nil)
	}
	if got := tl.inexpressibleOf(policyKey("p")); len(got) != 0 {
		t.Errorf("%+v is left", got)
	}
}

// BenchmarkReports is one report of one of 5,000 nodes that have applied a change, and one count of a policy that waits for them.
func BenchmarkReports(b *testing.B) {
	const nodes = 5000
	tl := newTally()
	reports := make([]*v1alpha1.NodeReport, nodes)
	for i := range nodes {
		reports[i] = report(fmt.Sprintf("node-%04d", i), 1)
		tl.setMember(reports[i].Name, true)
		tl.setReport(reports[i].Name, reports[i])
	}
	b.ReportAllocs()
	revision := uint64(1)
	for i := 0; b.Loop(); i++ {
		if i%nodes == 0 {
			revision++
		}
		next := report(reports[i%nodes].Name, revision)
		tl.setReport(next.Name, next)
		if c := tl.count(policyKey("p"), revision); c.all != nodes {
			b.Fatal(c)
		}
	}
}
