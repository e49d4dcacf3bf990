package linux

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"github.com/felid-net/felid/dataplane"
	"github.com/google/go-cmp/cmp"
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

// TestTextIsPrintedAsWritten: what is restored is saved in the same words, rule by rule, so that text can be compared with what stands in the kernel.
func TestTextIsPrintedAsWritten(t *testing.T) {
	for _, backend := range backends {
		for name, s := range map[string]*dataplane.State{"owner": hostState(true), "guest": hostState(false)} {
			t.Run(backend+" "+name, func(t *testing.T) {
				l, r := newLab(t), Render(s, RenderConfig{})
				accepts(t, r.IPSetText(), "ipset", "restore")
				for f, tool := range map[Family]string{IPv4: "iptables", IPv6: "ip6tables"} {
					for _, table := range tableNames {
						text := r.RestoreText(f, table)
						accepts(t, text, tool+"-"+backend+"-restore", "--noflush")
						if diff := cmp.Diff(rulesByChain(text), rulesByChain(l.run(tool+"-"+backend+"-save", "-t", table))); diff != "" {
							t.Errorf("%s table %s (-written +printed):\n%s", f, table, diff)
						}
					}
				}
			})
		}
	}
}

// rulesByChain are the rules in a text, by chain, in order.
func rulesByChain(text string) map[string][]string {
	out := map[string][]string{}
	for line := range strings.Lines(text) {
		if rule, ok := strings.CutPrefix(line, "-A "); ok {
			chain, rule, _ := strings.Cut(rule, " ")
			out[chain] = append(out[chain], strings.TrimRight(rule, "\n"))
		}
	}
	return out
}
