package linux

import (
	"bytes"
	"os/exec"
	"testing"

	"github.com/felid-net/felid/dataplane"
	"pgregory.net/rapid"
)

// accepts hands a program its text.
func accepts(t interface{ Fatalf(string, ...any) }, text, name string, args ...string) {
	cmd := exec.Command(name, args...)
	cmd.Stdin = bytes.NewBufferString(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s refuses the text: %v\n%s\n%s", name, err, out, text)
	}
}

// acceptsAll hands the whole of a state to the real programs: sets for real, tables as a trial.
func acceptsAll(t interface{ Fatalf(string, ...any) }, s *dataplane.State) {
	r := Render(s, RenderConfig{})
	accepts(t, "", "ipset", "destroy")
	accepts(t, r.IPSetText(), "ipset", "restore")
	for f, tool := range map[Family]string{IPv4: "iptables", IPv6: "ip6tables"} {
		for _, backend := range backends {
			for _, table := range tableNames {
				if text := r.RestoreText(f, table); text != "" {
					accepts(t, text, tool+"-"+backend+"-restore", "--test", "--noflush")
				}
			}
		}
	}
}

// TestProgramsTakeTheText of both variants, for rules of every kind.
func TestProgramsTakeTheText(t *testing.T) {
	newLab(t)
	for _, owner := range []bool{true, false} {
		acceptsAll(t, sampleState(owner))
		acceptsAll(t, hostState(owner))
	}
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		c := dataplane.NewChanges()
		for _, id := range w.sets {
			w.s.IPSets[id] = &dataplane.IPSet{ID: id}
		}
		for range 3 {
			w.endpoint(c)
			w.hostEndpoint(c)
			w.policy(c)
			w.policy(c)
			w.set(c)
		}
		acceptsAll(t, w.s)
	})
}
