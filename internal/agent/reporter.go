package agent

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/felid-net/felid/api/v1alpha1"
	"github.com/felid-net/felid/datastore"
)

// lookEvery is how often the reporter asks for outages of the datastore, of which the loop is not told.
const lookEvery = 5 * time.Second

// reportTimeLimit is how long one write may take.
const reportTimeLimit = 30 * time.Second

// reportsOf is where a store has a place for reports; nil where it has none.
func reportsOf(store datastore.Store) datastore.Reports {
	if s, ok := store.(interface{ Reports() datastore.Reports }); ok {
		return s.Reports()
	}
	return nil
}

// Report writes the node's report and, where that is asked for, events of denied connections, until ctx ends. Nothing that it does, or can't do, is
// waited for.
func (a *Agent) Report(ctx context.Context) error {
	var denials sync.WaitGroup
	defer denials.Wait()
	if a.o.DenyEvents {
		denials.Go(func() {
			if err := a.watchDenials(ctx); err != nil {
				a.o.Log.Error("denied connections are not told of", "error", err)
			}
		})
	}
	newReporter(a, a.o.Reports).run(ctx)
	return nil
}

// reporter writes the node's report, in a goroutine of its own: neither the loop nor enforcement waits for it.
type reporter struct {
	a    *Agent
	to   datastore.Reports // nil: outages are looked for all the same
	log  *slog.Logger
	pace pace

	last     *v1alpha1.NodeReport // as written
	lastNews uint64               // Status.news of it
	lastErr  string
}

func newReporter(a *Agent, to datastore.Reports) *reporter {
	return &reporter{a: a, to: to, log: a.o.Log, pace: pace{random: rand.Float64}}
}

// run writes reports until ctx ends.
func (r *reporter) run(ctx context.Context) {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	due := time.NewTimer(0)
	defer due.Stop()
	r.look()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
			r.look()
		case <-r.a.moved:
			if !r.gather(ctx) {
				return
			}
		case <-due.C:
		}
		if r.to != nil {
			due.Reset(time.Until(r.turn(ctx)))
		}
	}
}

// gatherTime is how long changes of status may gather until they are looked at: they come as fast as the loop applies.
const gatherTime = 200 * time.Millisecond

// gather waits for that long; false: ctx has ended.
func (r *reporter) gather(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(gatherTime):
		return true
	}
}

// look asks what is not heard of.
func (r *reporter) look() {
	stale := outages(r.a.o.Store)
	r.a.stale.Store(&stale)
	r.a.o.Metrics.looked(stale, time.Now())
}

// turn writes the report if it is due, and says when it is, or will be next.
func (r *reporter) turn(ctx context.Context) time.Time {
	now := time.Now()
	s := r.a.Status()
	r.pace.nodes = s.Nodes
	next := NewNodeReport(s, r.last, now)
	at := r.pace.plan(now, compareReports(r.last, next, s.news != r.lastNews))
	if now.Before(at) {
		return at
	}
	ctx, cancel := context.WithTimeout(ctx, reportTimeLimit)
	defer cancel()
	err := r.to.PutNodeReport(ctx, next)
	now = time.Now()
	r.wrote(err)
	if err != nil {
		r.pace.failed(now)
		return r.pace.due
	}
	r.last, r.lastNews = next, s.news
	r.pace.wrote(now)
	return r.pace.plan(now, unchanged)
}

// wrote counts, and logs each cause once.
func (r *reporter) wrote(err error) {
	text := ""
	if err != nil {
		text = err.Error()
		r.a.o.Metrics.reportErrors.Inc()
	} else {
		r.a.o.Metrics.reports.Inc()
	}
	if text != r.lastErr && text != "" {
		r.log.Warn("can't write this node's report; trying again", "error", err)
	}
	r.lastErr = text
}
