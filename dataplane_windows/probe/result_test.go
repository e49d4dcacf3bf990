package probe

import (
	"encoding/json"
	"slices"
	"testing"

	windows "github.com/felid-net/felid/dataplane_windows"
	"github.com/felid-net/felid/dataplane_windows/hns"
)

func TestEveryAssumptionHasAText(t *testing.T) {
	for a := Assumption(1); a <= last; a++ {
		if a.Text() == "" {
			t.Errorf("%s has none", a)
		}
	}
}

// TestTrialsLeanOnEarlierOnes: what a trial needs was tried before it.
func TestTrialsLeanOnEarlierOnes(t *testing.T) {
	tried := []Assumption{31}
	for _, tr := range trials() {
		for _, n := range tr.needs {
			if !slices.Contains(tried, n) {
				t.Errorf("%s needs %s, which is tried later or never", tr.of, n)
			}
		}
		if slices.Contains(tried, tr.of) {
			t.Errorf("%s is tried twice", tr.of)
		}
		tried = append(tried, tr.of)
	}
	for _, a := range slices.Concat(plain, sets, ipv6) {
		if !slices.Contains(tried, a) {
			t.Errorf("a form leans on %s, which is never tried", a)
		}
	}
}

func TestZeroResult(t *testing.T) {
	var r Result
	if r.Form() != (windows.Form{}) || r.Settled() || r.Reason() != "nothing was proven on this node: it was not tried" || len(r.Telling()) > 0 {
		t.Errorf("form %v (%s)", r.Form(), r.Reason())
	}
}

func FuzzParse(f *testing.F) {
	b, err := json.Marshal(Assume(20348, hns.Version{Major: 13, Minor: 2}))
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{string(b), `{}`, `{"findings":[{"assumption":"H1","outcome":"False"}]}`, `{"findings":[{"assumption":"H99"}]}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parse(b)
		if err != nil {
			return
		}
		if r.Form().Sets && !r.all(sets, Proven) || r.Reason() == "" {
			t.Fatalf("%+v: form %v, %q", r, r.Form(), r.Reason())
		}
		r.Settled()
	})
}
