package agent

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/policy"
)

// Metrics are all of the agent's metrics.
type Metrics struct {
	latency, resolve, apply, window                        prometheus.Histogram
	applyErrors, repairs, writes                           prometheus.Counter
	chains, rules, sets, members                           prometheus.Gauge
	endpoints, policies, uncovered, failed, faults, inSync prometheus.Gauge
	absent                                                 *prometheus.GaugeVec
	conditions                                             *prometheus.GaugeVec
	unsupported                                            prometheus.Gauge
	reports, reportErrors, events                          prometheus.Counter
	staleKinds, staleSeconds, ungated                      prometheus.Gauge
	last                                                   dataplane.Stats
}

// NewMetrics registers the metrics with r.
func NewMetrics(r prometheus.Registerer) *Metrics {
	buckets := prometheus.ExponentialBuckets(0.0005, 2, 16) // 0.5 ms to 16 s
	histogram := func(name, help string) prometheus.Histogram {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "felid_" + name, Help: help, Buckets: buckets})
		r.MustRegister(h)
		return h
	}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "felid_" + name, Help: help})
		r.MustRegister(c)
		return c
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "felid_" + name, Help: help})
		r.MustRegister(g)
		return g
	}
	absent := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "felid_absent_object", Help: "1 for each object that can't be read and so counts as absent.",
	}, []string{"kind", "namespace", "name"})
	conditions := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "felid_conditions", Help: "Things to know of resources (see /status), by type: what can't be read, is missing, or is not enforced as written.",
	}, []string{"type"})
	r.MustRegister(absent, conditions)
	return &Metrics{
		absent:       absent,
		conditions:   conditions,
		unsupported:  gauge("unsupported_rules", "Rules that the dataplane can't express as written."),
		latency:      histogram("event_to_kernel_seconds", "From the oldest datastore event or CNI call of a batch to the end of its Apply."),
		resolve:      histogram("resolve_seconds", "Time to resolve a batch."),
		apply:        histogram("apply_seconds", "Time to apply a batch to the host."),
		window:       histogram("ungated_seconds", "How long pods that came without the gate were without their policy, from when the node heard of them; they ran before that."),
		applyErrors:  counter("apply_errors_total", "Applies that failed as a whole."),
		repairs:      counter("drift_repairs_total", "Objects that somebody else had changed and that were put right."),
		writes:       counter("kernel_writes_total", "Calls that changed the kernel."),
		chains:       gauge("chains", "Chains of ours in the kernel."),
		rules:        gauge("rules", "Rules of ours in the kernel."),
		sets:         gauge("ip_sets", "IP sets of ours in the kernel."),
		members:      gauge("ip_set_members", "Members of IP sets of ours in the kernel."),
		endpoints:    gauge("endpoints", "Local endpoints."),
		policies:     gauge("policies", "Policies and profiles that apply to local endpoints."),
		uncovered:    gauge("uncovered_endpoints", "Local endpoints whose policy is not in force as it should be."),
		failed:       gauge("failed_objects", "Objects that are not in force and are retried."),
		faults:       gauge("datastore_faults", "Objects that can't be read from the datastore."),
		reports:      counter("reports_written_total", "Times this node's report was written."),
		reportErrors: counter("report_errors_total", "Times this node's report, or an event, could not be written."),
		events:       counter("deny_events_total", "Events of pods about denied connections."),
		staleKinds:   gauge("stale_kinds", "Kinds of resource of which the datastore is not heard."),
		staleSeconds: gauge("stale_seconds", "Age of the oldest data of these kinds."),
		ungated:      gauge("ungated_endpoints", "Pods that ran before their policy was in force."),
		inSync:       gauge("in_sync", "1 once everything in the datastore has been seen."),
	}
}

// applied notes the times of one turn.
func (m *Metrics) applied(start, resolved, since time.Time, dirty bool) {
	now := time.Now()
	m.resolve.Observe(resolved.Sub(start).Seconds())
	m.apply.Observe(now.Sub(resolved).Seconds())
	if dirty && !since.IsZero() {
		m.latency.Observe(now.Sub(since).Seconds())
	}
}

// looked notes what the reporter found.
func (m *Metrics) looked(stale []datastore.Outage, now time.Time) {
	oldest := 0.0
	for i := range stale {
		oldest = max(oldest, now.Sub(stale[i].Since).Seconds())
	}
	m.staleKinds.Set(float64(len(stale)))
	m.staleSeconds.Set(oldest)
}

// reported notes what of a Status does not need an Apply to change.
func (m *Metrics) reported(s *Status) {
	m.endpoints.Set(float64(s.Endpoints))
	m.policies.Set(float64(s.Policies))
	m.faults.Set(float64(len(s.Faults)))
	m.inSync.Set(map[bool]float64{true: 1}[s.InSync])
	m.ungated.Set(float64(len(s.Ungated)))
	m.absent.Reset()
	m.conditions.Reset()
	for _, c := range s.Conditions {
		m.conditions.WithLabelValues(c.Type).Inc()
		if c.Type == policy.ConditionInvalid {
			m.absent.WithLabelValues(string(c.Object.Kind), c.Object.Namespace, c.Object.Name).Set(1)
		}
	}
}

// observe notes what holds after an Apply.
func (m *Metrics) observe(s *Status, r *dataplane.Result) {
	m.chains.Set(float64(r.Stats.Chains))
	m.rules.Set(float64(r.Stats.Rules))
	m.sets.Set(float64(r.Stats.Sets))
	m.members.Set(float64(r.Stats.Members))
	m.repairs.Add(float64(max(0, r.Stats.Repairs-m.last.Repairs)))
	m.writes.Add(float64(max(0, r.Stats.Writes-m.last.Writes)))
	m.last = r.Stats
	m.uncovered.Set(float64(len(r.Endpoints)))
	m.failed.Set(float64(len(s.Failed)))
	m.unsupported.Set(float64(len(s.Unsupported)))
}
