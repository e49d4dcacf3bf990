//go:build linux

package cnitest

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// BenchmarkAdd measures the plugin's process for an ADD, one at a time. Beside the mean it reports the median.
func BenchmarkAdd(b *testing.B, w World) {
	c := newContainers(b, w)
	var took []time.Duration
	b.ResetTimer()
	for i := range b.N {
		s := newSandbox(b, fmt.Sprintf("web/bench-%d", i))
		start := time.Now()
		c.mustAdd(b, s)
		took = append(took, time.Since(start))
		b.StopTimer()
		c.mustDel(b, s)
		b.StartTimer()
	}
	report(b, took)
}

// BenchmarkAddParallel measures twenty at a time, and how long the twenty DELs take together.
func BenchmarkAddParallel(b *testing.B, w World) {
	const n = 20
	c := newContainers(b, w)
	var took, deleted []time.Duration
	var mu sync.Mutex
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		var sandboxes []*sandbox
		for i := range n {
			sandboxes = append(sandboxes, newSandbox(b, fmt.Sprintf("web/bench-%d", i)))
		}
		b.StartTimer()
		each(sandboxes, func(s *sandbox) {
			start := time.Now()
			_, err := c.add(b, s)
			mu.Lock()
			defer mu.Unlock()
			took = append(took, time.Since(start))
			if err != nil {
				b.Error(describe(err))
			}
		})
		b.StopTimer()
		start := time.Now()
		each(sandboxes, func(s *sandbox) {
			if err := c.del(b, s); err != nil {
				b.Error(describe(err))
			}
		})
		deleted = append(deleted, time.Since(start))
		b.StartTimer()
	}
	report(b, took)
	slices.Sort(deleted)
	b.ReportMetric(float64(deleted[len(deleted)/2].Microseconds())/1000, "all-DEL-p50-ms")
}

func report(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}
