package flatten_test

import (
	"testing"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/dptest"
	"github.com/felid-net/felid/dataplane/flatten"
)

// TestSharedCases: the one list of an endpoint says of each flow of the shared cases, and of made-up ones, what its tiers and profiles say.
func TestSharedCases(t *testing.T) {
	dptest.RunLists(t, func(t *testing.T, s *dataplane.State, ep *dataplane.Endpoint, dir dataplane.Direction) func(dptest.Tuple) dataplane.Action {
		list, denied := flatten.Tiers(tiersOf(s, ep, dir), 1<<20)
		if len(denied) > 0 {
			t.Errorf("%s %s: %d rules do not fit", ep.ID, dir, len(denied))
		}
		return func(tuple dptest.Tuple) dataplane.Action { return decide(list, tuple) }
	})
}

func decide(list []flatten.Rule, t dptest.Tuple) dataplane.Action {
	p := flatten.Packet{Src: t.Src, Dst: t.Dst, Protocol: t.Protocol, SrcPort: t.SrcPort, DstPort: t.DstPort}
	if t.ICMPType >= 0 {
		p.DstPort = flatten.ICMPPort(uint8(t.ICMPType), uint8(t.ICMPCode))
	}
	for _, r := range list {
		if r.Contains(p) {
			return r.Action
		}
	}
	panic("a list that does not end with everything")
}

// tiersOf are the endpoint's, exactly, and after them each profile as a tier that passes at its end.
func tiersOf(s *dataplane.State, ep *dataplane.Endpoint, dir dataplane.Direction) [][]flatten.Rule {
	sets := flatten.NewSets(s.IPSets)
	var tiers [][]flatten.Rule
	for _, t := range ep.Tiers {
		policies := t.Ingress
		if dir == dataplane.Egress {
			policies = t.Egress
		}
		if len(policies) > 0 {
			tiers = append(tiers, append(rulesOf(s, sets, dir, policies), flatten.Rule{Action: t.Default}))
		}
	}
	for i := range ep.Profiles {
		tiers = append(tiers, append(rulesOf(s, sets, dir, ep.Profiles[i:i+1]), flatten.Rule{Action: dataplane.Pass}))
	}
	return append(tiers, []flatten.Rule{{Action: dataplane.Deny}})
}

func rulesOf(s *dataplane.State, sets *flatten.Sets, dir dataplane.Direction, policies []dataplane.PolicyID) []flatten.Rule {
	var out []flatten.Rule
	for _, id := range policies {
		rules := s.Policies[id].Ingress
		if dir == dataplane.Egress {
			rules = s.Policies[id].Egress
		}
		for i := range rules {
			if rules[i].Action == dataplane.Log {
				continue
			}
			for _, m := range sets.Exact(&rules[i]) {
				out = append(out, flatten.Rule{Match: m, Action: rules[i].Action, From: flatten.Origin{Policy: id, Index: rules[i].Index}})
			}
		}
	}
	return out
}
