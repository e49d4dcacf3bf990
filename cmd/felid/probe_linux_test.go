package main

import (
	"os"
	"testing"

	"github.com/felid-net/felid/dataplane_linux/probe"
	"github.com/felid-net/felid/internal/preflight"
)

// TestMain has the processes that a probe starts be felid, not the tests.
func TestMain(m *testing.M) {
	if os.Getenv(probeVariable) != "" {
		main()
	}
	os.Exit(m.Run())
}

func TestProbeHostNeedsRoot(t *testing.T) {
	trials, err := probeHost(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want := 2 * len(probe.Untried("")); len(trials) != want {
		t.Errorf("%d trials, want %d", len(trials), want)
	}
	for _, tr := range trials {
		if tr.Outcome != "Proven" || tr.Refuse {
			t.Errorf("%s", tr.String())
		}
	}
}

func TestWhatRefuses(t *testing.T) {
	list := func(outcomes ...probe.Outcome) (out []preflight.Trial) {
		for _, o := range outcomes {
			out = append(out, preflight.Trial{Outcome: string(o)})
		}
		return out
	}
	for name, c := range map[string]struct {
		lists [][]preflight.Trial
		want  int
	}{
		"one variant is missing":    {[][]preflight.Trial{list("Proven", "Proven"), list("NotTried", "NotTried")}, 0},
		"one variant does it wrong": {[][]preflight.Trial{list("Proven", "Proven"), list("Proven", "False")}, 1},
		"none is whole":             {[][]preflight.Trial{list("Proven", "NotTried"), list("NotTried", "NotTried")}, 3},
		"nothing was tried":         {[][]preflight.Trial{nil, nil}, 0},
	} {
		got := 0
		for _, tr := range judged(c.lists) {
			if tr.Refuse {
				got++
			}
		}
		if got != c.want {
			t.Errorf("%s: %d refuse, want %d", name, got, c.want)
		}
	}
}
