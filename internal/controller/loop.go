package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

// maxWrites is how many items are written at once.
const maxWrites = 8

// measureEvery is how often figures are published, and the sign of life given.
const measureEvery = 5 * time.Second

// Options are what a Loop is made of.
type Options struct {
	Store       datastore.Store
	Reconcilers []Reconciler
	Log         *slog.Logger
	Metrics     *Metrics
	// Alive is called every few seconds by the loop's goroutine, with whether everything that was there at the start has been seen.
	Alive func(inSync bool)
}

// loop is what only the loop's goroutine touches, but for the channels.
type loop struct {
	o        Options
	follow   map[v3.Kind][]int // who is told of a kind
	schedule *schedule
	busy     map[task]bool // writes under way; true: to be planned again after them
	trouble  map[task]*trouble
	pending  map[v3.Key]*pending
	pace     pace
	faults   map[string]bool
	inSync   bool
	away     bool // it has been said that the datastore can't be reached, and nothing was written since

	told    chan func()
	results chan result
}

// pending is an object with writes under way.
type pending struct {
	writes int
	// changed: the watch has brought the object meanwhile, which may be newer than what a write returns.
	changed bool
}

// trouble is what is wrong with a task.
type trouble struct {
	delay   time.Duration // before the next try; 0: nothing failed
	failed  string        // the last failure
	told    bool          // it was logged
	problem string        // what was logged of Step.Problem
}

// Run follows the Store and does what the reconcilers want until ctx ends; writes under way are finished or cut off by then.
func Run(ctx context.Context, o Options) error {
	l := &loop{
		o: o, follow: map[v3.Kind][]int{}, schedule: newSchedule(), busy: map[task]bool{}, trouble: map[task]*trouble{}, pending: map[v3.Key]*pending{}, pace: pace{}, faults: map[string]bool{},
		told: make(chan func()), results: make(chan result, maxWrites),
	}
	group, ctx := errgroup.WithContext(ctx)
	for i, r := range o.Reconcilers {
		for _, kind := range r.Kinds() {
			l.follow[kind] = append(l.follow[kind], i)
		}
		if listener, ok := r.(Listener); ok {
			group.Go(func() error { return listener.Listen(ctx, l.tellFrom(ctx, i)) })
		}
	}
	batches := make(chan datastore.Batch)
	syncer := datastore.NewSyncer(o.Store, kindsOf(o.Reconcilers), o.Log)
	group.Go(func() error { return syncer.Run(ctx, batches) })
	group.Go(func() error { return l.run(ctx, batches, group) })
	if err := group.Wait(); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// kindsOf are the kinds that any of the reconcilers follows, each once.
func kindsOf(reconcilers []Reconciler) []v3.Kind {
	seen := map[v3.Kind]bool{}
	var kinds []v3.Kind
	for _, r := range reconcilers {
		for _, kind := range r.Kinds() {
			if !seen[kind] {
				seen[kind] = true
				kinds = append(kinds, kind)
			}
		}
	}
	return kinds
}

// tellFrom is how a listener reaches the loop.
func (l *loop) tellFrom(ctx context.Context, reconciler int) func(func() []v3.Key) {
	return func(f func() []v3.Key) {
		select {
		case l.told <- func() { l.touch(reconciler, f()) }:
		case <-ctx.Done():
		}
	}
}

func (l *loop) run(ctx context.Context, batches <-chan datastore.Batch, group *errgroup.Group) error {
	measure := time.NewTicker(measureEvery)
	defer measure.Stop()
	wake := time.NewTimer(0)
	defer wake.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case b := <-batches:
			l.take(b)
		case f := <-l.told:
			f()
		case r := <-l.results:
			l.settle(r)
		case <-measure.C:
			l.measure()
		case <-wake.C:
		}
		l.work(ctx, group)
		if at, ok := l.schedule.next(); ok && l.inSync && len(l.busy) < maxWrites {
			wake.Reset(max(0, time.Until(at)))
		} else {
			wake.Stop()
		}
	}
}

// take gives a batch to the reconcilers.
func (l *loop) take(b datastore.Batch) {
	for i := range b.Updates {
		key := b.Updates[i].Key
		if p := l.pending[key]; p != nil {
			p.changed = true
		}
		l.update(key, b.Updates[i].Object)
	}
	if b.Faults != nil {
		l.logFaults(b.Faults)
	}
	if b.InSync && !l.inSync {
		l.inSync = true
		l.o.Log.Info("in sync with the datastore")
		for i, r := range l.o.Reconcilers {
			if beginner, ok := r.(Beginner); ok {
				l.touch(i, beginner.Begin())
			}
		}
		l.measure()
	}
}

func (l *loop) update(key v3.Key, o v3.Object) {
	for _, i := range l.follow[key.Kind] {
		l.touch(i, l.o.Reconcilers[i].Update(key, o))
	}
}

func (l *loop) touch(reconciler int, items []v3.Key) {
	now := time.Now()
	for _, item := range items {
		l.schedule.add(task{reconciler, item}, now)
	}
}

// work plans what is due, as far as there are hands for it.
func (l *loop) work(ctx context.Context, group *errgroup.Group) {
	if !l.inSync {
		return
	}
	now := time.Now()
	for len(l.busy) < maxWrites {
		t, ok := l.schedule.pop(now)
		if !ok {
			return
		}
		if _, busy := l.busy[t]; busy {
			l.busy[t] = true
			continue
		}
		if writes := l.plan(t, now); len(writes) > 0 {
			l.begin(t, writes)
			group.Go(func() error {
				r := l.perform(ctx, t, writes)
				select {
				case l.results <- r:
				case <-ctx.Done():
				}
				return nil
			})
		}
	}
}

// plan is what a task is to write now.
func (l *loop) plan(t task, now time.Time) []Write {
	step := l.o.Reconcilers[t.reconciler].Plan(t.item, now)
	if step.Again > 0 {
		l.schedule.add(t, now.Add(step.Again))
	}
	l.explain(t, step.Problem)
	if len(step.Writes) == 0 {
		l.succeeded(t)
		return nil
	}
	if wait := l.pace.take(t, now); wait > 0 {
		l.schedule.add(t, now.Add(wait))
		return nil
	}
	return step.Writes
}

// begin notes what is under way.
func (l *loop) begin(t task, writes []Write) {
	l.busy[t] = false
	for i := range writes {
		key := v3.KeyOf(writes[i].Object)
		if l.pending[key] == nil {
			l.pending[key] = &pending{}
		}
		l.pending[key].writes++
	}
}

// end takes what writes returned, where the watch has not brought what may be newer.
func (l *loop) end(r *result) {
	for _, u := range r.stored {
		if !l.pending[u.Key].changed {
			l.update(u.Key, u.Object)
		}
	}
	for i := range r.writes {
		key := v3.KeyOf(r.writes[i].Object)
		if l.pending[key].writes--; l.pending[key].writes == 0 {
			delete(l.pending, key)
		}
	}
}

// settle takes what writes returned, and plans again what failed or was touched meanwhile.
func (l *loop) settle(r result) {
	again := l.busy[r.task]
	delete(l.busy, r.task)
	l.end(&r)
	if r.err != nil {
		l.failed(r.task, r.err)
		return
	}
	l.away = false
	l.succeeded(r.task)
	if again {
		l.schedule.add(r.task, time.Now())
	}
}

// The delays between tries.
const (
	firstDelay = 50 * time.Millisecond
	lastDelay  = 30 * time.Second
)

// failed plans another try, and logs a cause that is new.
func (l *loop) failed(t task, err error) {
	tr := l.troubleOf(t)
	tr.delay = min(max(2*tr.delay, firstDelay), lastDelay)
	l.schedule.add(t, time.Now().Add(tr.delay))
	text := err.Error()
	if raced(err) || tr.failed == text {
		return
	}
	tr.failed = text
	unreachable := errors.Is(err, datastore.ErrUnreachable)
	if unreachable && l.away {
		return // said of another object
	}
	l.away, tr.told = unreachable, true
	l.o.Log.Warn("a write failed; trying again", "reconciler", l.name(t), "object", t.item.String(), "error", err)
}

// raced says whether somebody else was faster: the watch will bring what they did.
func raced(err error) bool {
	return errors.Is(err, datastore.ErrConflict) || errors.Is(err, datastore.ErrNotFound) || errors.Is(err, datastore.ErrExists) || errors.Is(err, errNotProven)
}

func (l *loop) succeeded(t task) {
	tr := l.trouble[t]
	if tr == nil {
		return
	}
	if tr.told {
		l.o.Log.Info("the write that failed is done, or is not wanted any more", "reconciler", l.name(t), "object", t.item.String())
	}
	tr.delay, tr.failed, tr.told = 0, "", false
	l.forgetTrouble(t)
}

// explain logs a problem that is new.
func (l *loop) explain(t task, problem string) {
	if tr := l.trouble[t]; problem != "" || tr != nil {
		tr = l.troubleOf(t)
		if problem != tr.problem && problem != "" {
			l.o.Log.Warn(problem, "reconciler", l.name(t), "object", t.item.String())
		}
		tr.problem = problem
		l.forgetTrouble(t)
	}
}

func (l *loop) troubleOf(t task) *trouble {
	tr := l.trouble[t]
	if tr == nil {
		tr = &trouble{}
		l.trouble[t] = tr
	}
	return tr
}

func (l *loop) forgetTrouble(t task) {
	if *l.trouble[t] == (trouble{}) {
		delete(l.trouble, t)
	}
}

func (l *loop) name(t task) string { return l.o.Reconcilers[t.reconciler].Name() }

// logFaults says what can't be read from the datastore, each once while it lasts.
func (l *loop) logFaults(faults []datastore.Fault) {
	before := l.faults
	l.faults = make(map[string]bool, len(faults))
	for _, f := range faults {
		text := f.String()
		l.faults[text] = true
		if !before[text] {
			l.o.Log.Warn("an object can't be read from the datastore; what was known of it counts", "fault", text)
		}
	}
}

// measure publishes figures.
func (l *loop) measure() {
	l.pace.forget(time.Now())
	failing := 0
	for _, tr := range l.trouble {
		if tr.failed != "" {
			failing++
		}
	}
	l.o.Metrics.observe(l.inSync, l.schedule.len(), failing, len(l.faults))
	for _, r := range l.o.Reconcilers {
		if measurer, ok := r.(Measurer); ok && l.inSync {
			measurer.Measure(l.o.Metrics)
		}
	}
	if l.o.Alive != nil {
		l.o.Alive(l.inSync)
	}
}

// String names a task in panics and tests.
func (t task) String() string { return fmt.Sprintf("%d %s", t.reconciler, t.item) }
