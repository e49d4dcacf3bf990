package agent

import (
	"context"
	"runtime/debug"
	"time"
)

// How much garbage may gather before it is collected, in percent of what the agent holds. At start most of what is read is not held:
// to collect often then costs more time than it saves memory. Later what it holds is nearly all there is.
const (
	garbageAtStart = 60
	garbageLater   = 25
)

// tidyInterval is how often memory is given back: the agent works in bursts, and what one needed should not stay taken until the next.
const tidyInterval = time.Minute

// keepSmall gives memory back to the host, once the loop has applied everything, and then at intervals.
func keepSmall(ctx context.Context, a *Agent) error {
	debug.SetGCPercent(garbageAtStart)
	for wait := 100 * time.Millisecond; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		if a.Ready() == nil {
			debug.SetGCPercent(garbageLater)
			debug.FreeOSMemory()
			wait = tidyInterval
		}
	}
}
