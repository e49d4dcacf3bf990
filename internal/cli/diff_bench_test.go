package cli

import (
	"fmt"
	"testing"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane/flatten"
	"github.com/felid-net/felid/test/bench/cputime"
	"github.com/felid-net/felid/test/bench/workload"
)

// BenchmarkDiff is one policy of 5,000 that loses two of its rules, with 50,000 endpoints, from resources to the answer; then twice
// the cluster.
func BenchmarkDiff(b *testing.B) {
	for _, times := range []int{1, 2} {
		size := workload.SizeW3
		size.Local, size.Remote, size.Policies = size.Local*times, size.Remote*times, size.Policies*times
		b.Run(fmt.Sprintf("endpoints=%d", size.Local+size.Remote), func(b *testing.B) { diffOne(b, size.Objects()) })
	}
}

func diffOne(b *testing.B, objects []v3.Object) {
	changed := make([]v3.Object, len(objects))
	copy(changed, objects)
	for i, o := range changed {
		if _, ok := o.(*v3.GlobalNetworkPolicy); ok {
			o = o.Copy()
			policySpec(o).Ingress = policySpec(o).Ingress[:1]
			changed[i] = o
			break
		}
	}
	before := cputime.Used(b)
	b.ReportAllocs()
	for b.Loop() {
		old, now, _ := resolveBoth(objects, changed)
		if a := newDiffAnswer(flatten.Diff(old, now)); len(a.Closes)+len(a.Unchanged) == 0 {
			b.Fatal("no endpoint has another policy")
		}
	}
	b.ReportMetric((cputime.Used(b)-before).Seconds()/float64(b.N), "cpu-s/op")
}
