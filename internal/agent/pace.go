package agent

import (
	"time"
)

// writesPerSecond is how many reports all nodes of a cluster may write together, while something changes on every one of them.
const writesPerSecond = 50

// The shortest times between two reports of a node.
const (
	leastInterval  = time.Second
	firstInterval  = 5 * time.Second // while it is not known how many nodes there are
	leastCounted   = 30 * time.Second
	leastHeartbeat = 5 * time.Minute
)

// pace says when a node's report is to be written, so that what is waited for comes soon in a small cluster, and the reports of a large one do not
// come all at once.
type pace struct {
	nodes   int
	written time.Time // the last time; zero: never
	due     time.Time // what is planned; zero: nothing
	planned change
	random  func() float64 // in [0, 1)
}

// interval is the least time between two reports.
func (p *pace) interval() time.Duration {
	if p.nodes == 0 {
		return firstInterval
	}
	return max(leastInterval, time.Duration(p.nodes)*time.Second/writesPerSecond)
}

// heartbeat is the time after which a report is written though nothing has changed: a tenth of writesPerSecond, together.
func (p *pace) heartbeat() time.Duration {
	return max(leastHeartbeat, time.Duration(p.nodes)*10*time.Second/writesPerSecond)
}

// plan says when to write, given how far the report differs from the one written last. What is planned stays, unless there is more of a hurry.
func (p *pace) plan(now time.Time, c change) time.Time {
	if p.due.IsZero() {
		p.due, p.planned = now.Add(p.heartbeat()-p.spread(p.heartbeat()/10)), unchanged
	}
	if c <= p.planned {
		return p.due
	}
	wait := p.interval()
	at := now.Add(p.spread(wait))
	if c == counted {
		wait = max(leastCounted, 3*wait)
		at = now.Add(wait/2 + p.spread(wait/2))
	}
	if next := p.written.Add(wait); at.Before(next) {
		at = next
	}
	if at.Before(p.due) {
		p.due = at
	}
	p.planned = c
	return p.due
}

// wrote notes that the report was written.
func (p *pace) wrote(now time.Time) {
	p.written, p.due, p.planned = now, time.Time{}, unchanged
}

// failed plans another try.
func (p *pace) failed(now time.Time) {
	wait := max(5*time.Second, p.interval())
	p.due, p.planned = now.Add(wait+p.spread(wait)), changed
}

func (p *pace) spread(d time.Duration) time.Duration { return time.Duration(p.random() * float64(d)) }
