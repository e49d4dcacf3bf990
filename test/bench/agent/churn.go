//go:build linux

package main

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sync/errgroup"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/internal/lab"
	"github.com/felid-net/felid/test/bench/workload"
)

const (
	churnSpan    = 30 * time.Second
	churnWriters = 8
	sentinelStep = 100 * time.Millisecond // 300 in all: of fewer the 99th percentile is the slowest
)

// churn measures an agent while remote endpoints get other labels and addresses at a rate per second.
func (b *bench) churn(w *world, p *process, rate int, limits [2]bar) error {
	before, err := p.usage()
	if err != nil {
		return err
	}
	applied, err := p.applies()
	if err != nil {
		return err
	}
	start := time.Now()
	var ended atomic.Bool
	var group errgroup.Group
	for i := range churnWriters {
		group.Go(func() error { return w.churnWriter(start, i, rate) })
	}
	var lags []time.Duration
	sentinels := make(chan error, 1)
	go func() {
		var err error
		lags, err = w.sentinel(&ended)
		sentinels <- err
	}()
	err = group.Wait()
	took := time.Since(start)
	after, usageErr := p.usage()
	ended.Store(true)
	appliedAfter, metricsErr := p.applies()
	if err = errors.Join(err, usageErr, metricsErr, <-sentinels); err != nil {
		return err
	}
	what := fmt.Sprintf("W2 churn, %d updates/s for %s: ", rate, churnSpan)
	b.figure(what+"CPU", "%", 100*(after.cpu-before.cpu).Seconds()/took.Seconds(), limits[0])
	b.figure(what+"lag p99", "ms", milliseconds(percentile(lags, 99)), limits[1])
	b.note("written in %.1f s; lag p50 %.2f p90 %.2f max %.2f ms of %d; %.0f applies a second; CPU of one core, of the kernel's side too; memory %d MB; load %s",
		took.Seconds(), milliseconds(percentile(lags, 50)), milliseconds(percentile(lags, 90)), milliseconds(percentile(lags, 100)), len(lags),
		(appliedAfter-applied)/took.Seconds(), after.rss/1000, load())
	return nil
}

// applies is how often the agent has brought the kernel in line so far.
func (p *process) applies() (float64, error) {
	m, err := p.metrics()
	return m["felid_apply_seconds_count"], err
}

// churnWriter writes every update that is its own, each when its time has come.
func (w *world) churnWriter(start time.Time, writer, rate int) error {
	for s := writer; s < rate*int(churnSpan.Seconds()); s += churnWriters {
		time.Sleep(time.Until(start.Add(time.Duration(s) * time.Second / time.Duration(rate))))
		if err := w.store.replace(writer, churned(s)); err != nil {
			return err
		}
	}
	return nil
}

// churned is update s: every second one changes a label, the others an address; and back again in the next round.
func churned(s int) *v3.WorkloadEndpoint {
	size := workload.SizeW2.Remote
	j, away := s%size, s/size%2 == 0
	o := workload.SizeW2.RemoteEndpoint(j)
	switch {
	case away && s%2 == 0:
		o.Labels["app"] = fmt.Sprintf("app-%d", s/2%20)
	case away:
		o.Spec.IPNetworks = []string{fmt.Sprintf("10.72.%d.%d/32", j>>8&255, j&255)}
	}
	return o
}

// sentinel gives one more remote endpoint a label and takes it off again, until ended: how long each took to be in the kernel, from
// when the store had accepted it. How long a store that shares the machine with its writers takes for that is not the agent's.
func (w *world) sentinel(ended *atomic.Bool) (lags []time.Duration, err error) {
	err = lab.Within(nodeSpace, func() error {
		set, err := anchorSet()
		if err != nil {
			return err
		}
		for on := true; !ended.Load(); on = !on {
			begin := time.Now()
			lag, err := w.sentinelLag(set, on)
			if err != nil {
				return err
			}
			lags = append(lags, lag)
			time.Sleep(time.Until(begin.Add(sentinelStep)))
		}
		return nil
	})
	return lags, err
}

func (w *world) sentinelLag(set string, on bool) (time.Duration, error) {
	o := workload.SizeW2.RemoteEndpoint(workload.SizeW2.Remote)
	if on {
		o.Labels["incflag"] = "on"
	}
	entry := &netlink.IPSetEntry{IP: net.ParseIP(strings.TrimSuffix(o.Spec.IPNetworks[0], "/32")), CIDR: 32}
	if err := w.store.replace(churnWriters, o); err != nil {
		return 0, err
	}
	start := time.Now()
	for time.Since(start) < 10*time.Second {
		if there, err := netlink.IpsetTest(set, entry); err != nil || there == on {
			return time.Since(start), err
		}
		time.Sleep(200 * time.Microsecond)
	}
	return 0, errors.New("the sentinel is not in the kernel within 10 s")
}
