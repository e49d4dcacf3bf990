package linux

import (
	"net/netip"
	"testing"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/dptest"
	"github.com/felid-net/felid/test/bench/workload"
)

// TestRulesCrossed counts the rules that packets between two pods of the node of W1, which has 102, cross: few, whatever the number of policies,
// and hardly any once the connection stands.
func TestRulesCrossed(t *testing.T) {
	for _, c := range []struct {
		policies            int
		port                uint16 // 5201: of no policy but the last; 80: of each policy for ingress, but not from this source
		newest, established int    // at most
	}{
		{0, 5201, 26, 8}, {5, 5201, 64, 8}, {50, 5201, 75, 8}, {50, 80, 330, 8},
	} {
		r := Render(crrState(workload.W1(), c.policies), RenderConfig{})
		rules, err := dptest.ParseIPTables(r.RestoreText(IPv4, "filter")+r.RestoreText(IPv4, "nat"), r.IPSetText(), 4)
		if err != nil {
			t.Fatal(err)
		}
		p := dptest.Packet{Tuple: dptest.Tuple{Src: netip.MustParseAddr(crrClient), Dst: netip.MustParseAddr(crrServer), Protocol: 6, SrcPort: 40000, DstPort: c.port},
			In: "calicrrclient", Out: "calicrrserver"}
		for state, most := range map[string]int{"NEW": c.newest, "ESTABLISHED": c.established} {
			p.State = state
			trace, err := rules.Trace(p)
			if err != nil || trace.Action != dataplane.Allow {
				t.Fatalf("%d policies, port %d, %s: %v by %s, %v", c.policies, c.port, state, trace.Action, trace.Rule, err)
			}
			t.Logf("%d policies on each side, port %d, %s: %d rules in %d chains", c.policies, c.port, state, trace.Rules, len(trace.Chains))
			if trace.Rules > most {
				t.Errorf("%d policies, port %d, %s: %d rules, want at most %d", c.policies, c.port, state, trace.Rules, most)
			}
		}
	}
}
