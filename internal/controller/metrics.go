package controller

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/felid-net/felid/datastore"
)

// Metrics are all of the controller's metrics.
type Metrics struct {
	leading, inSync, waiting, failing, faults prometheus.Gauge
	writes                                    *prometheus.CounterVec

	poolAddresses, poolAllocated, poolBlocks *prometheus.GaugeVec
	suspects, requests                       prometheus.Gauge
	hostEndpoints                            prometheus.Gauge
	// policies that are not in force on all nodes yet, those that failed on some, and nodes that have never reported.
	policiesWaiting, policiesFailed, silentNodes prometheus.Gauge
}

// NewMetrics registers the metrics with r.
func NewMetrics(r prometheus.Registerer) *Metrics {
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "felid_controller_" + name, Help: help})
		r.MustRegister(g)
		return g
	}
	byPool := func(name, help string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "felid_ipam_pool_" + name, Help: help}, []string{"pool"})
		r.MustRegister(g)
		return g
	}
	writes := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "felid_controller_writes_total", Help: "Writes to the datastore, by reconciler, verb and result: ok, raced (somebody else was faster), unproven, failed.",
	}, []string{"reconciler", "verb", "result"})
	r.MustRegister(writes)
	return &Metrics{
		writes:        writes,
		leading:       gauge("leading", "1 while this controller is the one that works."),
		inSync:        gauge("in_sync", "1 once everything in the datastore has been seen."),
		waiting:       gauge("waiting_items", "Items that are to be looked at again, now or later."),
		failing:       gauge("failing_items", "Items whose writes fail and are tried again."),
		faults:        gauge("datastore_faults", "Objects that can't be read from the datastore."),
		hostEndpoints: gauge("auto_host_endpoints", "Automatic host endpoints."),
		suspects:      gauge("suspect_addresses", "Addresses that nobody seems to have, and that are freed after the grace period."),
		requests:      gauge("block_requests", "Nodes' requests for a block that can't be met yet."),

		policiesWaiting: gauge("policies_waiting", "Policies that some node has not applied yet as they are."),
		policiesFailed:  gauge("policies_failed", "Policies that are not in force on some node that has tried."),
		silentNodes:     gauge("silent_nodes", "Nodes that have never reported: no agent runs there."),

		poolAddresses: byPool("addresses", "Addresses of a pool."),
		poolAllocated: byPool("allocated", "Addresses of a pool that are taken."),
		poolBlocks:    byPool("blocks", "Blocks of a pool that nodes have."),
	}
}

// Leading says whether this process is the one that works.
func (m *Metrics) Leading(yes bool) {
	m.leading.Set(number(yes))
	if !yes {
		m.inSync.Set(0)
	}
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (m *Metrics) observe(inSync bool, waiting, failing, faults int) {
	m.inSync.Set(number(inSync))
	m.waiting.Set(float64(waiting))
	m.failing.Set(float64(failing))
	m.faults.Set(float64(faults))
}

// wrote counts a write.
func (m *Metrics) wrote(reconciler, verb string, err error) {
	outcome := "failed"
	switch {
	case err == nil:
		outcome = "ok"
	case errors.Is(err, errNotProven):
		outcome = "unproven"
	case errors.Is(err, datastore.ErrConflict), errors.Is(err, datastore.ErrNotFound), errors.Is(err, datastore.ErrExists):
		outcome = "raced"
	}
	m.writes.WithLabelValues(reconciler, verb, outcome).Inc()
}
