package flatten

import (
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/felid-net/felid/dataplane"
)

// TestCovered: where rules are said to cover one, every packet that it matches is matched by them, whatever is in the sets.
func TestCovered(t *testing.T) {
	covered := 0
	rapid.Check(t, func(t *rapid.T) {
		rules := rapid.SliceOfN(rapid.Custom(drawRule), 1, 3).Draw(t, "earlier")
		last := drawRule(t)
		if rapid.Bool().Draw(t, "narrowed") { // so that it is covered, once in a while
			last = rules[0]
			last.Src.Nets = append([]netip.Prefix(nil), some(t, "narrower", someNets)...)
			rules[0].Src.Nets = nil
		}
		var earlier []*dataplane.Rule
		for i := range rules {
			rules[i].Action = dataplane.Deny
			earlier = append(earlier, &rules[i])
		}
		by, ok := NewSets(someSets).CoveredBy(&last, earlier)
		if !ok {
			return
		}
		covered++
		for range 20 {
			p := drawPacket(t)
			if matches(&last, p) && !slices.ContainsFunc(by, func(i int) bool { return matches(earlier[i], p) }) {
				t.Fatalf("%+v is said to be covered by %d, but %+v is not", last, by, p)
			}
		}
	})
	if covered < 5 && !testing.Short() {
		t.Errorf("%d of the rules were covered: too few to mean anything", covered)
	}
}

func TestCoveredBy(t *testing.T) {
	port := func(low, high uint16) dataplane.Side {
		return dataplane.Side{Ports: []dataplane.PortRange{{Min: low, Max: high}}}
	}
	tcp := func(s dataplane.Side) dataplane.Rule {
		return dataplane.Rule{Action: dataplane.Allow, Protocol: 6, Dst: s}
	}
	nets := dataplane.Rule{Action: dataplane.Allow, Src: dataplane.Side{IPSets: []dataplane.IPSetID{"nets"}}}
	denyNets := nets
	denyNets.Action = dataplane.Deny
	for name, c := range map[string]struct {
		rule    dataplane.Rule
		earlier []dataplane.Rule
		by      []int
	}{
		"by nothing":           {tcp(port(80, 80)), nil, nil},
		"by all":               {nets, []dataplane.Rule{{Action: dataplane.Deny}}, []int{0}},
		"not by Log":           {nets, []dataplane.Rule{{Action: dataplane.Log}}, nil},
		"by two together":      {tcp(port(80, 90)), []dataplane.Rule{tcp(port(80, 85)), tcp(port(53, 53)), tcp(port(86, 99))}, []int{0, 2}},
		"all but one port":     {tcp(port(80, 90)), []dataplane.Rule{tcp(port(80, 85)), tcp(port(87, 99))}, nil},
		"by families":          {nets, []dataplane.Rule{{Action: dataplane.Deny, IPVersion: 4}, {Action: dataplane.Deny, IPVersion: 6}}, []int{0, 1}},
		"by the same set":      {nets, []dataplane.Rule{denyNets}, []int{0}},
		"not by a set":         {dataplane.Rule{Action: dataplane.Allow}, []dataplane.Rule{nets}, nil},
		"not by an empty port": {tcp(port(80, 80)), []dataplane.Rule{tcp(dataplane.Side{PortSets: []dataplane.IPSetID{"http"}})}, nil},
		"a named port":         {tcp(dataplane.Side{PortSets: []dataplane.IPSetID{"http"}}), []dataplane.Rule{tcp(dataplane.Side{})}, []int{0}},
		"types of ICMP": {dataplane.Rule{Action: dataplane.Allow, Protocol: 1, ICMP: &dataplane.ICMP{Type: 8, Code: 0}, IPVersion: 4},
			[]dataplane.Rule{{Action: dataplane.Deny, Protocol: 1, ICMP: &dataplane.ICMP{Type: 8, Code: -1}}}, []int{0}},
	} {
		var earlier []*dataplane.Rule
		for i := range c.earlier {
			earlier = append(earlier, &c.earlier[i])
		}
		if by, ok := NewSets(someSets).CoveredBy(&c.rule, earlier); !slices.Equal(by, c.by) || ok != (c.by != nil) {
			t.Errorf("%s: covered %t by %d, want %d", name, ok, by, c.by)
		}
	}
}
