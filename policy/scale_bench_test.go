package policy_test

import (
	"fmt"
	"maps"
	"runtime"
	"runtime/metrics"
	"testing"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/policy"
	"github.com/felid-net/felid/test/bench/cputime"
	"github.com/felid-net/felid/test/bench/workload"
)

// BenchmarkWideCold resolves 25,000 namespaces with 100,000 pods and 75,000 NetworkPolicies for one node of 110 pods, from scratch,
// then twice the cluster. peak-MB is all that is live meanwhile, the resources themselves included.
func BenchmarkWideCold(b *testing.B) {
	b.Run("namespaces=25000", func(b *testing.B) { coldStart(b, workload.SizeWide.Objects()) })
	b.Run("namespaces=50000", func(b *testing.B) { coldStart(b, workload.SizeWide.Double().Objects()) })
}

// BenchmarkCrowdCold is one namespace with 10,000 pods and 10,000 policies that each select by a label; then twice of both. On one node,
// and for answers about the whole cluster, to which every pod is local.
func BenchmarkCrowdCold(b *testing.B) {
	for _, n := range []int{10_000, 20_000} {
		size := workload.Crowd{Pods: n, Policies: n, NodePods: 110}
		b.Run(fmt.Sprintf("pods=%d", n), func(b *testing.B) { coldStart(b, size.Objects()) })
	}
	for _, n := range []int{10_000, 20_000} {
		size := workload.Crowd{Pods: n, Policies: n, NodePods: n}
		b.Run(fmt.Sprintf("all-local/pods=%d", n), func(b *testing.B) { coldStart(b, size.Objects()) })
	}
}

func coldStart(b *testing.B, objects []v3.Object) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // the bar is of one core, garbage collection included
	runtime.GC()
	stop := watchHeap()
	before := cputime.Used(b)
	b.ReportAllocs()
	for b.Loop() {
		loaded(objects).Flush()
	}
	b.ReportMetric((cputime.Used(b)-before).Seconds()/float64(b.N), "cpu-s/op")
	b.ReportMetric(float64(stop())/1e6, "peak-MB")
}

// watchHeap looks at how many bytes the heap takes, garbage included, until stop, which returns the most.
func watchHeap() (stop func() uint64) {
	done, result := make(chan struct{}), make(chan uint64)
	go func() {
		most := uint64(0)
		sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		for {
			metrics.Read(sample)
			most = max(most, sample[0].Value.Uint64())
			select {
			case <-done:
				result <- most
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	return func() uint64 { close(done); return <-result }
}

// BenchmarkWideLabelChange is one pod of a large cluster that gets another label, and loses it: of another node, and of this one.
func BenchmarkWideLabelChange(b *testing.B) {
	for _, size := range []workload.Kubernetes{workload.SizeWide, workload.SizeWide.Double()} {
		r := loaded(size.Objects())
		r.Flush()
		// Pod 0 is on this node. Pod size.Namespaces has the same namespace as it, is on another node, and so is a member of sets here.
		for name, i := range map[string]int{"here": 0, "elsewhere": size.Namespaces} {
			b.Run(fmt.Sprintf("namespaces=%d/%s", size.Namespaces, name), func(b *testing.B) { changeLabel(b, r, size.Pod(i)) })
		}
	}
}

func changeLabel(b *testing.B, r *policy.Resolver, before *v3.WorkloadEndpoint) {
	after := before.DeepCopy()
	after.Labels = maps.Clone(after.Labels)
	after.Labels["app"] = "other"
	key, changed := v3.KeyOf(before), false
	b.ReportAllocs()
	for b.Loop() {
		if changed = !changed; changed {
			r.Update(key, after)
		} else {
			r.Update(key, before)
		}
		r.Flush()
	}
}
