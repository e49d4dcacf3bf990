package cli

import (
	"testing"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane/flatten"
	"github.com/felid-net/felid/test/bench/workload"
)

// BenchmarkDiff is one policy of 5,000 that loses its rules, with 50,000 endpoints, from resources to the answer.
func BenchmarkDiff(b *testing.B) {
	objects := workload.W3()
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
	b.ReportAllocs()
	for b.Loop() {
		old, now, _ := resolveBoth(objects, changed)
		newDiffAnswer(flatten.Diff(old, now))
	}
}
