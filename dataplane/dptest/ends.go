package dptest

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/felid-net/felid/dataplane"
)

// end is one end of a flow: its name as in Flow.From, and its addresses.
type end struct {
	name         string
	addrs        []netip.Addr
	hostEndpoint *endpoint // that the line names
}

// end finds whom a flow names; an address that is an endpoint's or a node's stands for it.
func (c *Case) end(name string) (end, error) {
	for _, e := range c.world.endpoints {
		if string(e.id) == name && e.host {
			return end{name: "node/" + e.node, addrs: c.addressesOf(e), hostEndpoint: e}, nil
		}
		if string(e.id) == name {
			return end{name: name, addrs: e.addrs}, nil
		}
	}
	if node, ok := strings.CutPrefix(name, "node/"); ok && c.world.nodes[node] != nil {
		return end{name: name, addrs: c.world.nodes[node]}, nil
	}
	if strings.Contains(name, "/") {
		return end{}, fmt.Errorf("there is no %q in this case", name)
	}
	a, err := netip.ParseAddr(name)
	if err != nil {
		return end{}, fmt.Errorf("an end is pod/NS/NAME, node/NAME, hostendpoint/NAME or an address: %w", err)
	}
	return end{name: c.owner(a), addrs: []netip.Addr{a}}, nil
}

// owner is the name of the pod or node that has an address; of several pods the first by name.
func (c *Case) owner(a netip.Addr) string {
	var owners []string
	for _, e := range c.world.endpoints {
		if !e.host && slices.Contains(e.addrs, a) {
			owners = append(owners, string(e.id))
		}
	}
	for node, addrs := range c.world.nodes {
		if slices.Contains(addrs, a) {
			owners = append(owners, "node/"+node)
		}
	}
	if len(owners) == 0 {
		return a.String()
	}
	return slices.Min(owners)
}

// addressesOf are those of the interfaces that a host endpoint is for.
func (c *Case) addressesOf(e *endpoint) []netip.Addr {
	on := c.Devices(dataplane.NodeName(e.node))
	var addrs []netip.Addr
	for _, a := range c.world.nodes[e.node] {
		if c.world.isFor(e, on[a], on) {
			addrs = append(addrs, a)
		}
	}
	return addrs
}

// target reads END:PORT.
func (c *Case) target(text string) (end, uint16, error) {
	i := strings.LastIndexByte(text, ':')
	if i < 0 {
		return end{}, 0, fmt.Errorf("want END:PORT after dnat, not %q", text)
	}
	port, err := strconv.ParseUint(text[i+1:], 10, 16)
	if err != nil {
		return end{}, 0, fmt.Errorf("want END:PORT after dnat, not %q", text)
	}
	to, err := c.end(text[:i])
	return to, uint16(port), err
}

// findWays fills in the hops of the flows of one line.
func (c *Case) findWays(flows []Flow, from, sent end) error {
	for i := range flows {
		flows[i].hops = c.way(flows[i])
		if err := c.checkWay(flows[i], from, sent); err != nil {
			return err
		}
	}
	return nil
}

// checkWay refuses a flow that would prove something else than its line says.
func (c *Case) checkWay(f Flow, from, sent end) error {
	if f.SentTo.IsValid() {
		if !hasPorts(f.Protocol) {
			return fmt.Errorf("dnat needs a protocol with ports")
		}
		if len(f.hops) == 0 || f.hops[0].Node == "" {
			return fmt.Errorf("dnat: no node translates %s", f.SentTo)
		}
		if first, last := f.hops[0], f.hops[len(f.hops)-1]; first.In == Uplink && last.Node != first.Node {
			return fmt.Errorf("dnat: the answer of %s would not come back by node %s", f.To, first.Node)
		} else if len(f.hops) > 1 && last.Node == first.Node {
			return fmt.Errorf("dnat: node %s would not take an address of its own from elsewhere", first.Node)
		}
	}
	for _, e := range []*endpoint{from.hostEndpoint, sent.hostEndpoint} {
		if e != nil && !slices.ContainsFunc(f.hops, func(h Hop) bool {
			return c.world.hostEndpointAt(h, h.In) == e || c.world.hostEndpointAt(h, h.Out) == e
		}) {
			return fmt.Errorf("the flow does not cross %s", e.id)
		}
	}
	return nil
}
