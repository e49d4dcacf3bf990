package dptest

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/felid-net/felid/dataplane"
)

// Uplink is the interface by which a node reaches everything that is not on it, and not in the network of another interface.
const Uplink = "eth0"

// Hop is a packet as one node sees it.
type Hop struct {
	Node dataplane.NodeName
	Packet
	devices devices
}

// place is where an end of a flow is: on which node (unless it is outside), behind which interface ("" the node itself).
type place struct {
	node   string
	inside bool
	iface  string
}

// Hops returns the nodes that the first packet of a flow passes, in order.
func (c *Case) Hops(f Flow) []Hop { return slices.Clone(f.hops) }

// way finds the hops of a flow. The node that has the address a packet was sent to translates it, else the one that it comes from.
func (c *Case) way(f Flow) []Hop {
	from, to := c.place(f.From), c.place(f.To)
	var nodes []string
	pass := func(node string) {
		if len(nodes) == 0 || nodes[len(nodes)-1] != node {
			nodes = append(nodes, node)
		}
	}
	if from.inside {
		pass(from.node)
	}
	translator := ""
	if f.SentTo.IsValid() {
		translator = c.translator(from, f.SentTo.Addr())
		pass(translator)
	}
	if to.inside {
		pass(to.node)
	}
	var hops []Hop
	translated := !f.SentTo.IsValid()
	for i, node := range nodes {
		h := c.hop(f.Tuple, node, Uplink, Uplink)
		if node == translator {
			h.SentTo, h.SentOut, translated = f.SentTo, c.route(node, f.SentTo.Addr()), true
		}
		if !translated {
			h.Dst, h.DstPort = f.SentTo.Addr(), f.SentTo.Port()
		}
		if i == 0 && from.inside {
			h.In = from.iface
		}
		if i == len(nodes)-1 && to.inside {
			h.Out = to.iface
		}
		hops = append(hops, h)
	}
	return hops
}

// route is the interface by which a node would send to an address that no pod has.
func (c *Case) route(node string, to netip.Addr) string {
	if slices.Contains(c.world.nodes[node], to) {
		return "lo"
	}
	if at := c.place(to.String()); at.node == node {
		return at.iface
	}
	return Uplink
}

func (c *Case) translator(from place, sentTo netip.Addr) string {
	for node, addrs := range c.world.nodes {
		if slices.Contains(addrs, sentTo) {
			return node
		}
	}
	return from.node
}

// Replies returns the hops of the answer to a flow that was let through, of a connection that every node tracks.
func (c *Case) Replies(f Flow) []Hop {
	hops := c.Hops(f)
	slices.Reverse(hops)
	for i := range hops {
		hops[i] = hops[i].reply()
	}
	return hops
}

// reply is the answer at the same node: translation is undone behind all rules.
func (h Hop) reply() Hop {
	h.In, h.Out = h.Out, h.In
	h.Tuple = h.Tuple.reply()
	h.State, h.Translated, h.SentTo, h.SentOut = "ESTABLISHED", h.SentTo.IsValid(), netip.AddrPort{}, ""
	return h
}

func (t Tuple) reply() Tuple {
	t.Src, t.Dst, t.SrcPort, t.DstPort = t.Dst, t.Src, t.DstPort, t.SrcPort
	if t.ICMPType == 8 || t.ICMPType == 128 {
		t.ICMPType = map[int16]int16{8: 0, 128: 129}[t.ICMPType]
	}
	return t
}

// sent is the packet as it was sent, before its destination was translated.
func (h Hop) sent() Tuple {
	t := h.Tuple
	if h.SentTo.IsValid() {
		t.Dst, t.DstPort = h.SentTo.Addr(), h.SentTo.Port()
	}
	return t
}

func (c *Case) hop(t Tuple, node, in, out string) Hop {
	return Hop{
		Node:    dataplane.NodeName(node),
		Packet:  Packet{Tuple: t, In: in, Out: out, State: "NEW", Local: c.world.nodes[node]},
		devices: c.Devices(dataplane.NodeName(node)),
	}
}

// Devices tell which interface of a node has an address.
func (c *Case) Devices(node dataplane.NodeName) map[netip.Addr]string {
	all := devices{}
	for _, a := range c.world.nodes[string(node)] {
		all[a] = Uplink
	}
	maps.Copy(all, c.devices[string(node)])
	return all
}

// network is what an interface beside Uplink leads to.
func network(a netip.Addr) netip.Prefix {
	bits := 24
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return p
}

func (c *Case) place(name string) place {
	w := c.world
	for _, e := range w.endpoints {
		if string(e.id) == name && !e.host {
			return place{node: e.node, inside: true, iface: e.iface}
		}
	}
	if node, ok := strings.CutPrefix(name, "node/"); ok {
		_, known := w.nodes[node]
		return place{node: node, inside: known}
	}
	a, err := netip.ParseAddr(name)
	if err != nil {
		return place{}
	}
	for node, others := range c.devices {
		for own, iface := range others {
			if network(own).Contains(a) {
				return place{node: node, inside: true, iface: iface}
			}
		}
	}
	return place{}
}
