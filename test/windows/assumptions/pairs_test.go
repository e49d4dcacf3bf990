package assumptions

import (
	"flag"
	"testing"

	"github.com/felid-net/felid/dataplane/dptest"
	"github.com/felid-net/felid/test/windows/emulator"
)

var everyPair = flag.Bool("every-pair", false, "make every pair of assumptions false, instead of one in 17")

// TestPairsMadeFalse makes two assumptions false at once: nothing opens, but what one of the two opens by itself. Without H3 and H12 HNS takes no rule
// that closes IPv6; the driver says then that everything is to be denied.
func TestPairsMadeFalse(t *testing.T) {
	var left []dptest.Assumption
	for _, r := range rows {
		if r.why == "" {
			left = append(left, r.h)
		}
	}
	n := 0
	for i, b := range left {
		for _, a := range left[:i] {
			if n++; !*everyPair && n%17 != 0 || a == dptest.H3 && b == dptest.H12 {
				continue
			}
			o := emulator.Options{Build: emulator.Server2022, False: []dptest.Assumption{a, b}}
			form, reason, _ := probed(t, o, a)
			s := live(t, o, form, reason)
			if e := s.flows(t); len(e.opened) > 0 {
				t.Errorf("%s and %s, %s: opened %q; said %s", a, b, form, e.opened, s.said())
			}
		}
	}
}
