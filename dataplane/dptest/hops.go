package dptest

import (
	"slices"

	"github.com/felid-net/felid/dataplane"
)

// Uplink is the interface by which a node reaches everything that is not on it.
const Uplink = "eth0"

// Hop is a packet as one node sees it.
type Hop struct {
	Node dataplane.NodeName
	Packet
}

// place is where an end of a flow is: on which node (unless it is outside), behind which interface ("" the node itself).
type place struct {
	node   string
	inside bool
	iface  string
}

// Hops returns the nodes that the first packet of a flow passes, in order.
func (c *Case) Hops(f Flow) []Hop {
	from, to := c.place(f.From), c.place(f.To)
	if from.inside && to.inside && from.node == to.node {
		return []Hop{c.hop(f.Tuple, from.node, from.iface, to.iface)}
	}
	var hops []Hop
	if from.inside {
		hops = append(hops, c.hop(f.Tuple, from.node, from.iface, Uplink))
	}
	if to.inside {
		hops = append(hops, c.hop(f.Tuple, to.node, Uplink, to.iface))
	}
	return hops
}

// Replies returns the hops of the answer to a flow that was let through.
func (c *Case) Replies(f Flow) []Hop {
	hops := c.Hops(f)
	slices.Reverse(hops)
	for i := range hops {
		h := &hops[i]
		h.In, h.Out = h.Out, h.In
		h.Src, h.Dst, h.SrcPort, h.DstPort = h.Dst, h.Src, h.DstPort, h.SrcPort
		h.State = "ESTABLISHED"
		if h.ICMPType == 8 || h.ICMPType == 128 {
			h.ICMPType = map[int16]int16{8: 0, 128: 129}[h.ICMPType]
		}
	}
	return hops
}

func (c *Case) hop(t Tuple, node, in, out string) Hop {
	return Hop{Node: dataplane.NodeName(node), Packet: Packet{Tuple: t, In: in, Out: out, State: "NEW", Local: c.world.nodes[node]}}
}

func (c *Case) place(name string) place {
	w := c.world
	for _, e := range w.endpoints {
		if string(e.id) == name && !e.host {
			return place{node: e.node, inside: true, iface: e.iface}
		}
	}
	for node := range w.nodes {
		if name == "node/"+node {
			return place{node: node, inside: true}
		}
	}
	return place{}
}
