package dptest

import (
	"flag"
	"fmt"
	"sync"
	"testing"

	"github.com/felid-net/felid/dataplane"
)

// Answer says what becomes of a flow of one case. Sides may be nil, and By "", where the runner can't tell.
type Answer func(Flow) (Verdict, error)

// madeUp is how many made-up cases each runner gets besides the shared ones; real packets, which take time, get a few.
var madeUp = flag.Uint64("made-up", 150, "how many made-up cases every runner of the shared cases gets (real packets: one in 30 of them)")

// atOnce is how many cases with packets run at a time: each has namespaces of its own, and mostly waits.
const atOnce = 8

// Run puts every shared case, but those that are to be skipped by this runner, to what open makes of it, and compares the verdict
// and the deciders of every flow. Made-up cases follow.
func Run(t *testing.T, runner string, open func(t *testing.T, c *Case) Answer) {
	t.Helper()
	n, workers := *madeUp, 1
	if runner == RunnerPackets {
		n, workers = n/30, atOnce
	}
	cases := make(chan *Case)
	var running sync.WaitGroup
	for range workers {
		running.Go(func() {
			for c := range cases {
				t.Run(c.Name, func(t *testing.T) { c.run(t, runner, open(t, c)) })
			}
		})
	}
	for _, c := range Cases(t) {
		if c.Options.Skip[runner] == "" {
			cases <- c
		}
	}
	for seed := range n {
		if c := Random(seed); c.Options.Skip[runner] == "" {
			cases <- c
		}
		cases <- RandomHosts(seed)
	}
	close(cases)
	running.Wait()
}

func (c *Case) run(t *testing.T, runner string, answer Answer) {
	t.Helper()
	for _, f := range c.Flows {
		got, err := answer(f)
		if err == nil {
			err = f.Want.compare(got, runner == RunnerIPTables || runner == RunnerPackets)
		}
		if err != nil {
			t.Errorf("flows line %d: %s\n\t%v", f.Line, f.Text, err)
		}
	}
	if t.Failed() && c.files == nil {
		t.Logf("the made-up case:\n%s", c.YAML())
	}
}

// compare checks a verdict and, where it names deciders, those. foreign tells whether foreign rules had their say.
func (w Want) compare(got Verdict, foreign bool) error {
	want := w.Action
	if w.Foreign && !foreign {
		want = dataplane.Allow
	}
	if got.Action != want {
		return fmt.Errorf("got %s, want %s; %s", got.Action, want, got.sides())
	}
	if want == dataplane.Allow && w.Answer != AnswerUnknown && got.Answer != AnswerUnknown && got.Answer != w.Answer {
		return fmt.Errorf("the answer comes back: %v", got.Answer == AnswerComes)
	}
	for _, d := range w.By {
		if err := d.decided(want, got); err != nil {
			return err
		}
	}
	return nil
}

func (d Decider) decided(want dataplane.Action, got Verdict) error {
	known := false
	for _, v := range got.all() {
		if v.By == "" {
			continue
		}
		known = true
		if d.Name == v.By && (d.Side == v.side || d.Side == "" && v.Action == want) {
			return nil
		}
	}
	if !known {
		return nil // this runner can't tell
	}
	return fmt.Errorf("decided by %s; want %s %s", got.sides(), d.Side, d.Name)
}

// namedSide is what one endpoint says, and as what.
type namedSide struct {
	side string
	SideVerdict
}

func (v Verdict) all() []namedSide {
	var all []namedSide
	if v.Egress != nil {
		all = append(all, namedSide{sideEgress, *v.Egress})
	}
	for _, s := range v.Forward {
		all = append(all, namedSide{sideForward, s})
	}
	if v.Ingress != nil {
		all = append(all, namedSide{sideIngress, *v.Ingress})
	}
	return all
}

func (v Verdict) sides() string {
	text := ""
	for _, s := range v.all() {
		text += fmt.Sprintf("%s of %s: %s by %q; ", s.side, s.Endpoint, s.Action, s.By)
	}
	return text
}
