package windows

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// atOnce is how many calls are made beside each other. HNS works through most of them one by one.
const atOnce = 4

// Between two tries on one object there are at least firstRetry, and lastRetry in the end.
const (
	firstRetry = 100 * time.Millisecond
	lastRetry  = 30 * time.Second
)

// errSilent is said of a call that has not returned in time.
var errSilent = errors.New("HNS has not answered")

// errUntried is said of what was not asked for, since other calls did not return.
var errUntried = errors.New("not tried yet: HNS answers other calls too slowly")

// object is something of HNS's on which calls are made: one at a time, as calls can't be ended, and may take minutes.
type object struct {
	name  string // for people: "HNS endpoint 6B0F…"
	asked time.Time
	busy  bool
	late  bool // the call goes on, and the Apply that made it has gone on without it
	trouble
}

// trouble is what is wrong with an object, and when it is to be tried again.
type trouble struct {
	err     error
	tries   int // that failed one after the other
	retryAt time.Time
}

// ready tells whether a call may be made now.
func (o *object) ready(now time.Time) bool { return !o.busy && !now.Before(o.retryAt) }

// fault is what is wrong with the object; nil: nothing is.
func (o *object) fault(now time.Time) error {
	if o.busy {
		return fmt.Errorf("%w about %s for %s", errSilent, o.name, now.Sub(o.asked).Round(time.Millisecond))
	}
	return o.err
}

// failed notes an error, and puts off the next try.
func (t *trouble) failed(now time.Time, err error) {
	t.err = err
	t.retryAt = now.Add(min(firstRetry<<min(t.tries, 16), lastRetry))
	t.tries++
}

// worked notes that nothing is wrong.
func (t *trouble) worked() { *t = trouble{} }

// job is one call on an object. call is made without d.mu; note is told the outcome with it.
type job struct {
	on    *object
	call  func() error
	note  func(err error)
	reads bool // success does not end the object's trouble
	looks bool // failure is no trouble of the object either
}

// run makes calls, and returns when all have returned, or none has for Config.Patience, or ctx ends. Those that have not returned by then go on; an
// Apply is asked for when they do. Jobs that were not begun leave errUntried on their objects. It is called without d.mu.
func (d *Driver) run(ctx context.Context, jobs []job) {
	done := make(chan struct{}, len(jobs))
	patience := time.NewTimer(d.cfg.Patience)
	defer patience.Stop()
	next, running := 0, 0
	for {
		for next < len(jobs) && running < atOnce && ctx.Err() == nil {
			d.begin(jobs[next], done)
			next, running = next+1, running+1
		}
		if running == 0 {
			break
		}
		select {
		case <-done:
			running--
			patience.Reset(d.cfg.Patience)
			continue
		case <-patience.C:
		case <-ctx.Done():
		}
		break
	}
	d.leave(jobs, next)
}

// begin makes a call beside the caller.
func (d *Driver) begin(j job, done chan<- struct{}) {
	d.mu.Lock()
	j.on.busy, j.on.late, j.on.asked = true, false, time.Now()
	d.mu.Unlock()
	go func() {
		err := j.call()
		d.mu.Lock()
		late := j.on.late
		j.on.busy, j.on.late = false, false
		switch {
		case err != nil && !j.looks:
			j.on.failed(time.Now(), err)
		case err == nil && !j.looks && !j.reads:
			j.on.worked()
		}
		j.note(err)
		d.mu.Unlock()
		if late {
			d.pulse()
		}
		done <- struct{}{}
	}()
}

// leave goes on without those of the jobs that have not returned; those from begun on were not begun.
func (d *Driver) leave(jobs []job, begun int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, j := range jobs[:begun] {
		j.on.late = j.on.busy
	}
	for _, j := range jobs[begun:] {
		if j.on.err == nil && !j.looks {
			j.on.err = errUntried
		}
	}
}

// pulse asks for an Apply.
func (d *Driver) pulse() {
	select {
	case d.drift <- struct{}{}:
	default: // it is asked for
	}
}

// wake asks for an Apply at a time. The earliest of several counts. It is called with d.mu.
func (d *Driver) wake(at time.Time) {
	if at.IsZero() || d.closed || !d.wakeAt.IsZero() && !at.Before(d.wakeAt) {
		return
	}
	d.wakeAt = at
	if d.timer != nil {
		d.timer.Stop()
	}
	d.timer = time.AfterFunc(time.Until(at), func() {
		d.mu.Lock()
		d.wakeAt = time.Time{}
		d.mu.Unlock()
		d.pulse()
	})
}
