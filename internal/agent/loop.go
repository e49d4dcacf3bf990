package agent

import (
	"context"
	"errors"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/routing"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/policy"
)

// loop is what only the loop's goroutine touches.
type loop struct {
	*Agent
	resolver *policy.Resolver
	router   *routing.Resolver
	direct   map[v3.Key]*directEndpoint
	records  map[v3.Key]*v3.WorkloadEndpoint // see keepRecord; nil when nobody needs them
	waiters  map[*waiter]struct{}
	ungated  map[v3.Key]string                  // endpoints that came without the gate: see placed
	open     map[dataplane.EndpointID]time.Time // those of them whose policy is not in force yet, since when this node has heard of them
	progress *progress
	state    *dataplane.State // of the last flush; nil: there was none

	inSync  bool
	dirty   bool      // updates are waiting to be flushed
	since   time.Time // when the oldest of them came
	wanted  bool      // an Apply is wanted, whether or not there are updates
	compare bool      // the next Apply compares everything
	faults  []datastore.Fault
	retry   backoff
	cuts    cuts
	applies int
	flushed time.Time // the end of the last flush
	// unsupported is what the dataplane could not express at the last Apply.
	unsupported []dataplane.Unsupported
	lastErr     string // what was logged last, so that one fault is one line
}

// waiter waits for an endpoint to be in force (present) or gone.
type waiter struct {
	id      dataplane.EndpointID
	present bool
	last    error // what held it up at the last Apply
	done    chan struct{}
}

// run is the loop.
func (l *loop) run(ctx context.Context, batches <-chan datastore.Batch) error {
	checked, noticed, stopDrift := l.startDrift(ctx)
	defer stopDrift()
	heartbeat := time.NewTicker(10 * time.Second)
	defer heartbeat.Stop()
	for {
		l.beat.Store(time.Now().UnixNano())
		select {
		case <-ctx.Done():
			return nil
		case b := <-batches:
			l.take(b)
			l.gather(batches)
		case request := <-l.requests:
			request(l)
			l.gather(batches)
		case <-checked:
			l.wanted = true
		case <-noticed:
			l.wanted = true
		case <-l.retry.C():
			l.wanted = true
		case <-l.cuts.C():
			l.wanted = true
		case <-heartbeat.C:
		}
		if (l.dirty || l.wanted) && l.inSync {
			l.flush(ctx)
		}
	}
}

func (l *loop) take(b datastore.Batch) {
	for i := range b.Updates {
		l.update(b.Updates[i], b.Since)
		b.Updates[i].Object = nil // at a start these are all there are, and little is kept of each
	}
	if b.Faults != nil {
		l.faults = b.Faults
		l.logFaults()
		l.publish(nil, nil)
	}
	if b.InSync && !l.inSync {
		l.inSync = true
		l.touch(time.Now())
		l.o.Log.Info("in sync with the datastore")
	}
}

// touch notes that there is something to flush, since then.
func (l *loop) touch(since time.Time) {
	if !l.dirty {
		l.dirty, l.since = true, since
	}
}

// update gives one object from the watch to the resolvers.
func (l *loop) update(u datastore.Update, since time.Time) {
	object := u.Object
	switch u.Key.Kind {
	case v3.KindWorkloadEndpoint:
		l.keepRecord(u.Key, object)
		var counts bool
		if object, counts = l.overlay(u.Key, object); !counts {
			return
		}
		object = l.placed(u.Key, object, since)
	case v3.KindNode, v3.KindIPPool, v3.KindIPAMBlock:
		l.router.Update(u.Key, object)
	default:
		if isPolicy(u.Key.Kind) {
			l.progress.take(u.Key, object)
		}
	}
	l.resolver.Update(u.Key, object)
	l.touch(since)
}

// flush resolves what is pending and applies it.
func (l *loop) flush(ctx context.Context) {
	start := time.Now()
	defer func() { l.flushed = time.Now() }()
	state, changes := l.resolver.Flush()
	l.router.Flush(state, changes)
	l.state = state
	if changes.Empty() && !l.wanted && !l.compare && l.applies > 0 && len(l.waiters) == 0 {
		l.dirty = false // nothing to enforce here: but it may be something to report
		l.progress.apply()
		l.publish(state, nil)
		return
	}
	if l.compare {
		changes = nil
	}
	resolved := time.Now()
	result, err := l.o.Dataplane.Apply(ctx, state, changes)
	if ctx.Err() != nil {
		return
	}
	l.o.Metrics.applied(start, resolved, l.since, l.dirty)
	l.o.Log.Debug("applied", "resolving", resolved.Sub(start), "applying", time.Since(resolved), "stats", result.Stats)
	l.dirty, l.wanted, l.compare = false, false, err != nil
	l.applies++
	if err == nil {
		l.progress.apply()
		l.closeWindows(state, &result)
	}
	l.settle(state, &result, err)
	l.cut(state, changes, result.Failed(), err)
	l.publish(state, &result)
}

// settle tells waiters, plans a retry, and logs what is new.
func (l *loop) settle(state *dataplane.State, result *dataplane.Result, err error) {
	failure := failureText(result, err)
	if failure == "" {
		l.retry.reset()
	} else {
		l.retry.next()
	}
	if failure != l.lastErr {
		if failure != "" {
			l.o.Log.Error("not everything is in force; retrying", "failed", failure)
		} else {
			l.o.Log.Info("everything is in force again")
		}
		l.lastErr = failure
	}
	if err != nil {
		l.o.Metrics.applyErrors.Inc()
	}
	for w := range l.waiters {
		if w.last = w.held(state, result, err); w.last == nil {
			delete(l.waiters, w)
			close(w.done)
		}
	}
}

// held says what holds w up, nil if nothing does any more.
func (w *waiter) held(state *dataplane.State, result *dataplane.Result, err error) error {
	if err != nil {
		return err
	}
	if failed := result.Endpoints[w.id]; failed != nil {
		return failed
	}
	if _, there := state.Endpoints[w.id]; there != w.present {
		return errors.New("the endpoint is not as asked in the resolved state")
	}
	return nil
}

// startDrift looks for foreign changes beside the loop. checked receives when it found some, noticed when the host told of them.
func (l *loop) startDrift(ctx context.Context) (checked, noticed <-chan struct{}, stop func()) {
	observer, ok := l.o.Dataplane.(Observer)
	if !ok || l.o.DriftInterval == 0 {
		return nil, nil, func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	found, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		l.watchDrift(ctx, observer, found)
	}()
	return found, observer.Drift(), func() { cancel(); <-ended }
}

// watchDrift asks every DriftInterval, until ctx ends.
func (l *loop) watchDrift(ctx context.Context, observer Observer, found chan<- struct{}) {
	tick := time.NewTicker(l.o.DriftInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		drifted, err := observer.CheckDrift(ctx)
		if err != nil && ctx.Err() == nil {
			l.o.Log.Warn("can't tell whether the kernel has drifted", "error", err)
		}
		if !drifted {
			continue
		}
		select {
		case found <- struct{}{}:
		case <-ctx.Done():
		}
	}
}

// backoff doubles from 100 ms to 30 s.
type backoff struct {
	delay time.Duration
	timer *time.Timer
}

// C fires when it is time to try again.
func (b *backoff) C() <-chan time.Time {
	if b.timer == nil {
		return nil
	}
	return b.timer.C
}

// next plans another try.
func (b *backoff) next() {
	b.delay = min(max(2*b.delay, 100*time.Millisecond), 30*time.Second)
	if b.timer != nil {
		b.timer.Stop()
	}
	b.timer = time.NewTimer(b.delay)
}

// reset says that nothing fails any more.
func (b *backoff) reset() {
	if b.timer != nil {
		b.timer.Stop()
	}
	*b = backoff{}
}

// logFaults says what can't be read from the datastore, each time that changes.
func (l *loop) logFaults() {
	for _, text := range faultTexts(l.faults) {
		l.o.Log.Warn("an object can't be read from the datastore; what was known of it stays in force", "fault", text)
	}
}

func faultTexts(faults []datastore.Fault) []string {
	out := make([]string, len(faults))
	for i, f := range faults {
		out[i] = f.String()
	}
	return out
}
