package local

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"sort"
	"sync"
	"testing"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/test/bench/cputime"
)

// The sizes of the benchmark's cluster.
const (
	benchEndpoints = 10250
	benchPolicies  = 1000
)

// tmpfs is a directory in memory, removed at the end.
func tmpfs(tb testing.TB) string {
	dir, err := os.MkdirTemp("/dev/shm", "felid-bench")
	if err != nil {
		dir = tb.TempDir()
	}
	tb.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			tb.Error(err)
		}
	})
	return dir
}

func benchEndpoint(i int) *v3.WorkloadEndpoint {
	w := &v3.WorkloadEndpoint{Spec: v3.WorkloadEndpointSpec{
		Orchestrator: "k8s", Node: fmt.Sprintf("remote-node-%d", i%100), ContainerID: fmt.Sprintf("%064x", i), Pod: fmt.Sprintf("r-%d", i), Endpoint: "eth0",
		IPNetworks: []string{fmt.Sprintf("10.66.%d.%d/32", i>>8, i&255)}, Profiles: []string{fmt.Sprintf("kns.ns-%03d", i%500)},
		InterfaceName: fmt.Sprintf("cali%08d", i),
	}}
	w.Namespace, w.Name = fmt.Sprintf("ns-%03d", i%500), fmt.Sprintf("r-%d", i)
	w.Labels = map[string]string{"app": fmt.Sprintf("app-%d", i%20), "role": fmt.Sprintf("role-%d", i%7), "pod": w.Name,
		"projectcalico.org/namespace": w.Namespace, "projectcalico.org/orchestrator": "k8s"}
	return w
}

func benchPolicy(i int) *v3.NetworkPolicy {
	tcp := &v3.Protocol{Name: "TCP"}
	rule := func(selector string, port uint16) v3.Rule {
		return v3.Rule{Action: v3.Allow, Protocol: tcp, Source: v3.EntityRule{Selector: selector},
			Destination: v3.EntityRule{Ports: []v3.Port{{Min: port, Max: port}}}}
	}
	order := 1000.0
	p := &v3.NetworkPolicy{}
	p.Namespace, p.Name = fmt.Sprintf("ns-%03d", i%500), fmt.Sprintf("p-%05d", i)
	p.Spec.PolicySpec = v3.PolicySpec{Order: &order, Selector: "app == 'app-1'", Types: []v3.PolicyType{"Ingress", "Egress"},
		Ingress: []v3.Rule{rule("role == 'role-1'", 80), rule("app == 'app-2'", 8080), rule("", 53)},
		Egress:  []v3.Rule{rule("role == 'role-1'", 5432), rule("app == 'app-2'", 53), rule("", 443)}}
	return p
}

// fillDirectory writes the cluster.
func fillDirectory(tb testing.TB, dir string) {
	s, err := Open(dir, Options{})
	if err != nil {
		tb.Fatal(err)
	}
	defer s.Close()
	for i := range benchEndpoints {
		if _, err := s.Create(context.Background(), benchEndpoint(i)); err != nil {
			tb.Fatal(err)
		}
	}
	for i := range benchPolicies {
		if _, err := s.Create(context.Background(), benchPolicy(i)); err != nil {
			tb.Fatal(err)
		}
	}
}

var benchKinds = []v3.Kind{v3.KindTier, v3.KindProfile, v3.KindNetworkPolicy, v3.KindGlobalNetworkPolicy, v3.KindKubernetesNetworkPolicy,
	v3.KindNode, v3.KindIPPool, v3.KindIPAMBlock, v3.KindWorkloadEndpoint}

// startSyncer opens a store and waits until a Syncer is in sync.
func startSyncer(tb testing.TB, dir string) (*Store, <-chan datastore.Batch) {
	s, err := Open(dir, Options{})
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	out := make(chan datastore.Batch)
	var ended sync.WaitGroup
	ended.Go(func() {
		if err := datastore.NewSyncer(s, benchKinds, nil).Run(ctx, out); ctx.Err() == nil {
			tb.Error(err)
		}
	})
	tb.Cleanup(func() {
		cancel()
		ended.Wait()
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	n := 0
	for b := range out {
		if n += len(b.Updates); b.InSync {
			break
		}
	}
	if n != benchEndpoints+benchPolicies {
		tb.Fatalf("%d objects", n)
	}
	return s, out
}

// BenchmarkColdStart is the time from opening the directory of W2 to everything delivered; CPU time as cpu-ms/op.
func BenchmarkColdStart(b *testing.B) {
	dir := tmpfs(b)
	fillDirectory(b, dir)
	before := cputime.Used(b)
	b.ResetTimer()
	for b.Loop() {
		startSyncer(b, dir)
	}
	b.StopTimer()
	b.ReportMetric(float64((cputime.Used(b)-before).Milliseconds())/float64(b.N), "cpu-ms/op")
}

// BenchmarkSteadyMemory is what is held on the heap once in sync and 10 s later, as if the receiver kept nothing.
func BenchmarkSteadyMemory(b *testing.B) {
	dir := tmpfs(b)
	fillDirectory(b, dir)
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		s, _ := startSyncer(b, dir)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/1e6, "MB")
		runtime.KeepAlive(s)
	}
}

// BenchmarkPut is one isolated write of an object of W2.
func BenchmarkPut(b *testing.B) {
	dir := tmpfs(b)
	fillDirectory(b, dir)
	s, _ := startSyncer(b, dir)
	var times []time.Duration
	i := 0
	for b.Loop() {
		w := benchEndpoint(i % benchEndpoints)
		w.Labels["n"] = fmt.Sprint(i)
		start := time.Now()
		if _, err := s.Update(context.Background(), w); err != nil {
			b.Fatal(err)
		}
		times = append(times, time.Since(start))
		i++
	}
	sort.Slice(times, func(i, j int) bool { return times[i] < times[j] })
	b.ReportMetric(float64(times[len(times)/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(times[len(times)*99/100].Microseconds()), "p99-us")
}

// BenchmarkForeignPutToBatch is from before another process's write to the batch that has it.
func BenchmarkForeignPutToBatch(b *testing.B) {
	dir := tmpfs(b)
	fillDirectory(b, dir)
	_, out := startSyncer(b, dir)
	writer, err := Open(dir, Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer writer.Close()
	if _, err := writer.Get(context.Background(), v3.KeyOf(benchEndpoint(0))); err != nil {
		b.Fatal(err)
	}
	var puts, after []time.Duration
	i := 0
	for b.Loop() {
		w := benchEndpoint(i % benchEndpoints)
		w.Labels["n"] = fmt.Sprint("x", i)
		start := time.Now()
		if _, err := writer.Update(context.Background(), w); err != nil {
			b.Fatal(err)
		}
		put := time.Since(start)
		for batch := range out {
			if len(batch.Updates) > 0 && batch.Updates[0].Object.GetLabels()["n"] == w.Labels["n"] {
				break
			}
		}
		puts, after = append(puts, put), append(after, time.Since(start))
		i++
	}
	for name, times := range map[string][]time.Duration{"put": puts, "total": after} {
		sort.Slice(times, func(i, j int) bool { return times[i] < times[j] })
		b.ReportMetric(float64(times[len(times)/2].Microseconds()), name+"-p50-us")
		b.ReportMetric(float64(times[len(times)*99/100].Microseconds()), name+"-p99-us")
	}
}
