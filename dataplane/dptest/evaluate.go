package dptest

import (
	"fmt"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/policy"
)

// States resolves the case: one State per node, and under "" one for which every endpoint is local.
func States(c *Case) map[dataplane.NodeName]*dataplane.State {
	states := map[dataplane.NodeName]*dataplane.State{}
	for _, node := range append(c.Nodes(), "") {
		states[node], _ = policy.Resolve(c.Objects, policy.Options{Node: node, Host: c.Options.Host(node)})
	}
	return states
}

// evaluate judges every side by policy.Evaluate; state gives the State in which an endpoint of a node is judged. What becomes of the answer it
// does not tell.
func (c *Case) evaluate(f Flow, state func(node dataplane.NodeName) *dataplane.State) (Verdict, error) {
	v := Verdict{Action: dataplane.Allow}
	for _, x := range c.world.crossings(c.Options, f) {
		s, id := state(x.Node), x.endpoint.id
		if s.Endpoints[id] == nil {
			return v, fmt.Errorf("the State of node %q has no endpoint %s", x.Node, id)
		}
		got := evaluateAt(s, x, flowOf(x))
		v.add(x.side, SideVerdict{Endpoint: got.Endpoint, Action: got.Action, By: decider(got.By)})
	}
	return v, nil
}

func flowOf(x crossing) policy.Flow {
	return policy.Flow{
		Src: x.Src, Dst: x.Dst, Protocol: x.Protocol, SrcPort: x.SrcPort, DstPort: x.DstPort, ICMPType: x.ICMPType, ICMPCode: x.ICMPCode,
		SentTo: x.SentTo,
	}
}

func evaluateAt(s *dataplane.State, x crossing, f policy.Flow) policy.Verdict {
	switch {
	case x.inside:
		return policy.EvaluateFromWorkload(s, x.endpoint.id, f)
	case x.side == sideForward:
		return policy.EvaluateForward(s, x.endpoint.id, x.dir, f)
	}
	return policy.Evaluate(s, x.endpoint.id, x.dir, f)
}

// decider is what decided, as flows name it.
func decider(d policy.Decider) string {
	switch {
	case d.Rule >= 0:
		return fmt.Sprintf("%s rule %d", v3.Key{Kind: v3.Kind(d.Kind), Namespace: d.Namespace, Name: d.Name}, d.Rule)
	case d.Tier != "":
		return byEndOfTier + d.Tier
	}
	return d.Reason
}
