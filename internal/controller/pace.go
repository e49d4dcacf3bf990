package controller

import "time"

// What one task may write: writeBurst times at once, and then once each writeEvery. Whoever disagrees with somebody else about what should be, as
// two controllers do of which one is behind, does so slowly.
const (
	writeBurst = 5
	writeEvery = time.Second
)

// pace counts the writes of tasks.
type pace map[task]time.Time // when all of the burst may be written again

// take counts a write; if there have been too many, it says when the next may be.
func (p pace) take(t task, now time.Time) (wait time.Duration) {
	full := p[t]
	if full.Before(now) {
		full = now
	}
	if ahead := full.Sub(now); ahead > (writeBurst-1)*writeEvery {
		return ahead - (writeBurst-1)*writeEvery
	}
	p[t] = full.Add(writeEvery)
	return 0
}

// forget drops what does not matter any more.
func (p pace) forget(now time.Time) {
	for t, full := range p {
		if full.Before(now) {
			delete(p, t)
		}
	}
}
