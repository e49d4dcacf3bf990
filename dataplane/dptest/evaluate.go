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

// evaluate judges both sides by policy.Evaluate; state gives the State in which an endpoint of a node is judged.
func (c *Case) evaluate(f Flow, state func(node dataplane.NodeName) *dataplane.State) (Verdict, error) {
	v := Verdict{Action: dataplane.Allow}
	w := c.world
	flow := policy.Flow{
		Src: f.Src, Dst: f.Dst, Protocol: f.Protocol, SrcPort: f.SrcPort, DstPort: f.DstPort, ICMPType: f.ICMPType, ICMPCode: f.ICMPCode,
	}
	side := func(name string, dir dataplane.Direction) (*SideVerdict, error) {
		e := w.endpoint(name)
		if e == nil {
			return nil, nil
		}
		s := state(dataplane.NodeName(e.node))
		if s.Endpoints[e.id] == nil {
			return nil, fmt.Errorf("the State of node %q has no endpoint %s", e.node, e.id)
		}
		got := policy.Evaluate(s, e.id, dir, flow)
		if got.Action == dataplane.Deny {
			v.Action = dataplane.Deny
		}
		return &SideVerdict{Endpoint: got.Endpoint, Action: got.Action, By: decider(got.By)}, nil
	}
	var err error
	if v.Egress, err = side(f.From, dataplane.Egress); err != nil {
		return v, err
	}
	v.Ingress, err = side(f.To, dataplane.Ingress)
	return v, err
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
