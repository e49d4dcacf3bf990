package agent

import (
	"runtime"
	"testing"
)

func TestGarbagePercent(t *testing.T) {
	for _, tt := range []struct {
		held uint64
		want int
	}{
		{0, 800},        // the runtime has not collected yet
		{4 << 20, 200},  // a small node: as much as is worth collecting
		{40 << 20, 20},  // where both are the same
		{400 << 20, 20}, // a large one: in proportion
	} {
		if got := garbagePercent(tt.held); got != tt.want {
			t.Errorf("%d bytes held: %d percent, want %d", tt.held, got, tt.want)
		}
	}
}

func TestGarbagePercentAtStart(t *testing.T) {
	for _, tt := range []struct {
		held uint64
		want int
	}{{0, 60}, {40 << 20, 60}, {48 << 20, 50}, {96 << 20, 25}, {1 << 30, 20}} {
		if got := garbagePercentAtStart(tt.held); got != tt.want {
			t.Errorf("%d bytes held: %d percent, want %d", tt.held, got, tt.want)
		}
	}
}

func TestHeldIsKnown(t *testing.T) {
	runtime.GC()
	if held() == 0 {
		t.Error("nothing is held after a collection")
	}
}
