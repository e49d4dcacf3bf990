package cli

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
)

// end is one end of a connection, as people name it.
type end struct {
	text     string
	address  netip.Addr           // where text is one
	endpoint dataplane.EndpointID // where text is "pod/…", "container/…" or "hostendpoint/…"
	node     dataplane.NodeName   // where text is "node/NAME"
	host     string               // where text is "hostendpoint/NAME"

	namespace, service string // where text is "service/NS/NAME", which is an end of explain's alone
}

// parseService reads "service/NS/NAME"; false for what is none.
func parseService(text string) (end, bool) {
	parts := strings.Split(text, "/")
	if len(parts) != 3 || parts[0] != "service" || slices.Contains(parts, "") {
		return end{}, false
	}
	return end{text: text, namespace: parts[1], service: parts[2]}, true
}

// parseEnd reads "pod/NS/NAME[/IFACE]", "container/ID/IFACE", "hostendpoint/NAME", "node/NAME", or an address.
func parseEnd(text string) (end, error) {
	e := end{text: text}
	if address, err := netip.ParseAddr(text); err == nil {
		e.address = address.Unmap().WithZone("")
		return e, nil
	}
	parts := strings.Split(text, "/")
	n := len(parts)
	if slices.Contains(parts, "") {
		n = 0
	}
	switch {
	case parts[0] == "pod" && (n == 3 || n == 4):
		if n == 4 && parts[3] == "eth0" {
			text = strings.TrimSuffix(text, "/eth0")
		}
		e.endpoint = dataplane.EndpointID(text)
	case parts[0] == "container" && n == 3:
		e.endpoint = dataplane.EndpointID(text)
	case parts[0] == "hostendpoint" && n == 2:
		e.endpoint, e.host = dataplane.EndpointID(text), parts[1]
	case parts[0] == "node" && n == 2:
		e.node = dataplane.NodeName(parts[1])
	default:
		return e, fmt.Errorf("%q is not an end of a connection; valid: pod/NS/NAME, pod/NS/NAME/INTERFACE, hostendpoint/NAME, node/NAME, or an address", text)
	}
	return e, nil
}

// addresses looks an end up; it has at least one.
func (c *cluster) addresses(e end) ([]netip.Addr, error) {
	var found []netip.Addr
	switch {
	case e.address.IsValid():
		return []netip.Addr{e.address}, nil
	case e.host != "":
		host := c.hostEndpoint(e.host)
		if host == nil {
			return nil, fmt.Errorf("%s does not exist", e.text)
		}
		if c.state.Endpoints[e.endpoint] == nil {
			return nil, fmt.Errorf("%s has no effect: another host endpoint is for its interface, or its node can't be read", e.text)
		}
		found = c.hostAddresses(host)
	case e.node != "":
		node := c.state.Nodes[e.node]
		if node == nil {
			return nil, fmt.Errorf("%s does not exist", e.text)
		}
		found = node.Addresses
	default:
		endpoint := c.state.Endpoints[e.endpoint]
		if endpoint == nil {
			return nil, fmt.Errorf("%s does not exist, or is not an endpoint (host-networked, finished, or without an address)", e.text)
		}
		found = endpoint.Addresses
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s has no address", e.text)
	}
	return found, nil
}

func (c *cluster) hostEndpoint(name string) *v3.HostEndpoint {
	for _, o := range c.objects {
		if h, ok := o.(*v3.HostEndpoint); ok && h.Name == name {
			return h
		}
	}
	return nil
}

// hostAddresses are those that the host endpoint names, else those of its node.
func (c *cluster) hostAddresses(h *v3.HostEndpoint) []netip.Addr {
	var found []netip.Addr
	for _, text := range h.Spec.ExpectedIPs {
		if prefix, _, err := v3.ParseCIDR(text); err == nil {
			found = append(found, prefix.Addr())
		}
	}
	if node := c.state.Nodes[dataplane.NodeName(h.Spec.Node)]; len(found) == 0 && node != nil {
		return node.Addresses
	}
	return found
}

// endpointOf is the endpoint that an end is: the one it names, the node's for that address, or the one that its address belongs to; "" for none.
func (c *cluster) endpointOf(e end, address netip.Addr) dataplane.EndpointID {
	switch {
	case e.endpoint != "":
		return e.endpoint
	case e.node != "":
		return c.explainer().HostEndpointAt(e.node, address)
	}
	return c.explainer().EndpointAt(address)
}
