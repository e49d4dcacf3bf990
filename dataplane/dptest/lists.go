package dptest

import (
	"testing"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/policy"
)

// RunLists asks, wherever the tiers and profiles of a workload decide, a list that open makes of them for one endpoint and direction. What is
// decided before and after policy, and host endpoints, are Evaluate's as in its own runner.
func RunLists(t *testing.T, open func(t *testing.T, s *dataplane.State, ep *dataplane.Endpoint, dir dataplane.Direction) func(Tuple) dataplane.Action) {
	t.Helper()
	Run(t, "lists", func(t *testing.T, c *Case) Answer {
		s := States(c)[""]
		type side struct {
			id  dataplane.EndpointID
			dir dataplane.Direction
		}
		lists := map[side]func(Tuple) dataplane.Action{}
		return func(f Flow) (Verdict, error) {
			v := Verdict{Action: dataplane.Allow}
			for _, x := range c.world.crossings(c.Options, f) {
				got := evaluateAt(s, x, flowOf(x))
				if ep := s.Endpoints[x.endpoint.id]; ep.Host == nil && byPolicy(got.By) {
					at := side{ep.ID, x.dir}
					if lists[at] == nil {
						lists[at] = open(t, s, ep, x.dir)
					}
					got.Action = lists[at](x.Tuple)
				}
				v.add(x.side, SideVerdict{Endpoint: got.Endpoint, Action: got.Action})
			}
			return v, nil
		}
	})
}

// byPolicy tells whether tiers or profiles decided.
func byPolicy(d policy.Decider) bool {
	return d.Reason == policy.ReasonRule || d.Reason == policy.ReasonEndOfTier || d.Reason == policy.ReasonNoProfile
}
