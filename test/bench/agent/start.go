//go:build linux

package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/test/bench/workload"
)

// startOf is what one start needed until everything was in force.
type startOf struct {
	wall time.Duration
	usage
}

// cold measures from exec to everything in force, the kernel empty.
func (b *bench) cold(name string, objects []v3.Object) error {
	var starts []startOf
	for range b.runs {
		w, err := b.newWorld(objects)
		if err != nil {
			return err
		}
		s, err := b.coldRun(w, len(starts) == b.runs-1)
		if err = errors.Join(err, w.close()); err != nil {
			return err
		}
		starts = append(starts, s)
	}
	bars := [3]bar{none, none, none}
	switch name {
	case "W1":
		bars = [3]bar{b.barsOf("legacy", 2.1, 0.8), b.barsOf("legacy", 1.7, 0.5), b.barsOf("legacy", 118, 60)}
	case "W2":
		bars = [3]bar{b.barsOf("legacy", 3.7, 1.5), b.barsOf("legacy", 4.2, 1.5), b.barsOf("legacy", 177, 90)}
	case "W3":
		bars = [3]bar{b.barsOf("legacy", 18.3, 4), b.barsOf("legacy", 23, 5), b.barsOf("legacy", 390, 200)}
	}
	b.starts(name+" cold start", starts, bars)
	return nil
}

// large measures the start in a large cluster, and once in one of twice as many endpoints and policies, so that growth is known.
func (b *bench) large() error {
	if err := b.cold("W3", workload.W3()); err != nil {
		return err
	}
	double, once := workload.SizeW3, *b
	double.Remote, double.Policies, once.runs = 2*double.Remote, 2*double.Policies, 1
	return once.cold("W3 twice", double.Objects())
}

// starts prints the medians of wall, CPU and peak memory.
func (b *bench) starts(what string, starts []startOf, bars [3]bar) {
	var walls, cpus, own, peaks []float64
	for _, s := range starts {
		walls, cpus = append(walls, s.wall.Seconds()), append(cpus, s.cpu.Seconds())
		own, peaks = append(own, (s.cpu-s.kids).Seconds()), append(peaks, float64(s.peak)/1000)
	}
	b.figure(what+": wall", "s", percentile(walls, 50), bars[0])
	b.figure(what+": CPU, programs it ran included", "s", percentile(cpus, 50), bars[1])
	b.figure(what+": peak memory", "MB", percentile(peaks, 50), bars[2])
	b.note("%d runs: wall %.2f to %.2f s, CPU %.2f to %.2f s (the agent's own %.2f s), load %s", len(starts),
		slices.Min(walls), slices.Max(walls), slices.Min(cpus), slices.Max(cpus), percentile(own, 50), load())
}

// coldRun starts an agent, and stops it when it is ready. With tell it prints what the kernel then holds.
func (b *bench) coldRun(w *world, tell bool) (startOf, error) {
	p, err := w.start()
	if err != nil {
		return startOf{}, err
	}
	s, err := p.readyUsage()
	if err == nil && tell {
		err = b.held(p)
	}
	return s, errors.Join(err, p.stop())
}

// held prints what the agent says it holds in the kernel.
func (b *bench) held(p *process) error {
	m, err := p.metrics()
	if err != nil {
		return err
	}
	if m["felid_rules"] == 0 || m["felid_endpoints"] == 0 {
		return fmt.Errorf("ready with %g rules for %g endpoints", m["felid_rules"], m["felid_endpoints"])
	}
	b.note("in force: %g rules in %g chains, %g ip sets with %g members, %g policies and profiles, %g endpoints",
		m["felid_rules"], m["felid_chains"], m["felid_ip_sets"], m["felid_ip_set_members"], m["felid_policies"], m["felid_endpoints"])
	return nil
}

// restarts measures starts with the kernel already right.
func (b *bench) restarts(w *world) error {
	var starts []startOf
	writes := 0.0
	for range b.runs {
		p, err := w.start()
		if err != nil {
			return err
		}
		s, err := p.readyUsage()
		m, metricsErr := p.metrics()
		if err = errors.Join(err, metricsErr, p.stop()); err != nil {
			return err
		}
		starts = append(starts, s)
		writes = max(writes, m["felid_kernel_writes_total"])
	}
	b.starts("W2 restart, kernel right", starts, [3]bar{b.barsOf("legacy", 6.3, 1.0), none, none})
	b.figure("W2 restart, kernel right: writes", "", writes, b.barsOf("legacy", 0, 0))
	return nil
}
