package agent

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// How much garbage may gather before it is collected, in percent of what the agent holds. At start most of what is read is not held:
// to collect often then costs more time than it saves memory, unless it has become much. Later what it holds is nearly all there is;
// but where that is little, a few bytes of garbage are not worth the work.
const (
	garbageAtStart = 60
	muchAtStart    = 24 << 20 // bytes
	garbageLater   = 20
	garbageAtLeast = 8 << 20 // bytes
)

// tidyInterval is how often memory is given back: the agent works in bursts, and what one needed should not stay taken until the next.
const tidyInterval = time.Minute

// keepSmall gives memory back to the host, once the loop has applied everything, and then at intervals.
func keepSmall(ctx context.Context, a *Agent) error {
	debug.SetGCPercent(garbageAtStart)
	for wait := 50 * time.Millisecond; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		switch {
		case a.Ready() == nil:
			debug.FreeOSMemory()
			debug.SetGCPercent(garbagePercent(held()))
			wait = tidyInterval
		case wait < tidyInterval:
			debug.SetGCPercent(garbagePercentAtStart(held()))
		}
	}
}

// garbagePercentAtStart is how much garbage may gather, while so many bytes are held, until everything is applied.
func garbagePercentAtStart(held uint64) int {
	return int(min(garbageAtStart, max(garbageLater, 100*muchAtStart/max(held, 1<<20))))
}

// garbagePercent is how much may later.
func garbagePercent(held uint64) int {
	return int(max(garbageLater, 100*garbageAtLeast/max(held, 1<<20)))
}

// held is how many bytes the last collection left.
func held() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
