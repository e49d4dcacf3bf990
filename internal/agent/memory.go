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

// tidyAfter is how many bytes must have been made since for that to be worth its time.
const tidyAfter = 16 << 20

// keepSmall gives memory back to the host, once the loop has applied everything, and then at intervals.
func keepSmall(ctx context.Context, a *Agent) error {
	tidied := uint64(0)
	debug.SetGCPercent(garbageAtStart)
	for wait := 50 * time.Millisecond; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		switch {
		case a.Ready() == nil && tidied > 0 && made() < tidied+tidyAfter:
		case a.Ready() == nil:
			debug.FreeOSMemory()
			debug.SetGCPercent(garbagePercent(held()))
			wait, tidied = tidyInterval, made()
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
func held() uint64 { return heapBytes("/gc/heap/live:bytes") }

// made is how many bytes have been made so far.
func made() uint64 { return heapBytes("/gc/heap/allocs:bytes") }

func heapBytes(name string) uint64 {
	sample := []metrics.Sample{{Name: name}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
