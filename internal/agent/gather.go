package agent

import (
	"time"

	"github.com/felid-net/felid/datastore"
)

// flushAfter is how long updates may gather before they are applied, while more keep coming.
const flushAfter = 5 * time.Millisecond

// What comes within streamGap of a flush is of a stream. The next flush is streamEvery behind the last, and streamWait behind what began it, at
// the least; then what nothing has followed for streamQuiet is all that there is for now.
const (
	streamGap   = 16 * time.Millisecond
	streamEvery = 4 * time.Millisecond
	streamWait  = time.Millisecond
	streamQuiet = 300 * time.Microsecond
)

// gather takes what else is waiting, for flushAfter at most. What comes alone goes at once. Of a stream, which is what comes close behind a flush,
// many updates share the next.
func (l *loop) gather(batches <-chan datastore.Batch) {
	start := time.Now()
	stream := l.inSync && start.Sub(l.flushed) < streamGap
	if stream {
		l.await(start)
		start = time.Now()
	}
	for time.Since(start) < flushAfter {
		if !l.takeWaiting(batches) && !(stream && l.takeNext(batches, streamQuiet)) {
			return
		}
	}
}

// await lets a stream gather in the Syncer, where it wakes nobody: until it is time for the next flush, or a little while for somebody who
// waits for one.
func (l *loop) await(start time.Time) {
	until := start.Add(streamWait)
	if next := l.flushed.Add(streamEvery); next.After(until) && len(l.waiters) == 0 {
		until = next
	}
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	for {
		select {
		case request := <-l.requests:
			request(l)
			if soon := time.Now().Add(streamWait); soon.Before(until) && len(l.waiters) > 0 {
				until = soon
				timer.Reset(streamWait)
			}
		case <-timer.C:
			return
		}
	}
}

// takeWaiting takes one thing that is waiting; false: there is none.
func (l *loop) takeWaiting(batches <-chan datastore.Batch) bool {
	select {
	case b := <-batches:
		l.take(b)
	case request := <-l.requests:
		request(l)
	default:
		return false
	}
	return true
}

// takeNext takes the next thing that comes within wait; false: nothing did.
func (l *loop) takeNext(batches <-chan datastore.Batch, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case b := <-batches:
		l.take(b)
	case request := <-l.requests:
		request(l)
	case <-timer.C:
		return false
	}
	return true
}
