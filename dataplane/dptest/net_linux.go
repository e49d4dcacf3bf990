package dptest

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/felid-net/felid/dataplane"
)

// Net is the cluster of a case as network namespaces: one per pod, one per node, one per interface of a node beside Uplink, and one for the
// world outside, which routes between the nodes and has every address that is in none of the others. Pods hang on their node by a veth pair
// and route by 169.254.1.1 and fe80::1, as the plugin sets them up. Node ports and services are rules of the nodes' nat tables.
type Net struct {
	c     *Case
	wan   *Namespace
	nodes map[string]*Namespace
	lans  map[place]*Namespace  // behind an interface of a node
	pods  map[string]*Namespace // by endpoint id
	macs  byte
}

var (
	gateway4 = netip.MustParseAddr("169.254.1.1")
	gateway6 = netip.MustParseAddr("fe80::1")
)

// NewNet builds the cluster of a case; the test's end takes it down. It needs root.
func NewNet(t testing.TB, c *Case) *Net {
	t.Helper()
	return NewNetOn(t, c, nil)
}

// NewNetOn is NewNet where the nodes that standing names have these namespaces, which stay when all that the case has put into them goes: agents that
// run there see cases come and go.
func NewNetOn(t testing.TB, c *Case, standing map[string]*Namespace) *Net {
	t.Helper()
	n := &Net{c: c, wan: NewNamespace(t), nodes: map[string]*Namespace{}, lans: map[place]*Namespace{}, pods: map[string]*Namespace{}}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("network of the case: %v", err)
		}
	}
	must(n.wan.router())
	defer n.unplugAfter(t, standing) // so that it is done before the other ends go
	for name, addrs := range c.world.nodes {
		if n.nodes[name] = standing[name]; n.nodes[name] == nil {
			n.nodes[name] = NewNamespace(t)
		}
		must(n.nodes[name].router())
		must(n.addNode(name, addrs))
		for a, iface := range c.devices[name] {
			lan := place{node: name, inside: true, iface: iface}
			if n.lans[lan] == nil {
				n.lans[lan] = NewNamespace(t)
				must(n.addLAN(lan))
			}
			must(n.addDevice(lan, a))
		}
	}
	for _, e := range c.world.endpoints {
		if e.host {
			continue
		}
		n.pods[string(e.id)] = NewNamespace(t)
		must(n.addPod(e))
	}
	for _, f := range c.Flows {
		must(n.addEnds(f))
	}
	must(n.translate(c.Flows))
	return n
}

// unplugAfter takes the links of standing nodes away after the test. (With a namespace they go, too, but some time later.)
func (n *Net) unplugAfter(t testing.TB, standing map[string]*Namespace) {
	t.Cleanup(func() {
		for name, node := range standing {
			links, err := node.nl.LinkList()
			if err != nil {
				t.Errorf("links of node %s: %v", name, err)
			}
			for _, l := range links {
				if l.Type() != "veth" {
					continue
				}
				if err := node.nl.LinkDel(l); err != nil {
					t.Errorf("link %s of node %s: %v", l.Attrs().Name, name, err)
				}
			}
		}
	})
}

// Node is the namespace of a node.
func (n *Net) Node(name dataplane.NodeName) *Namespace { return n.nodes[string(name)] }

// Pod is the namespace of an endpoint.
func (n *Net) Pod(id dataplane.EndpointID) *Namespace { return n.pods[string(id)] }

// at is where an end of a flow lives.
func (n *Net) at(name string) *Namespace {
	if ns := n.pods[name]; ns != nil {
		return ns
	}
	at := n.c.place(name)
	if lan := n.lans[at]; lan != nil {
		return lan
	}
	if at.inside {
		return n.nodes[at.node]
	}
	return n.wan
}

// router sets up a namespace that forwards, and neither checks reverse paths nor waits for duplicate addresses.
func (n *Namespace) router() error {
	err := n.sysctls(map[string]string{
		"ipv4/ip_forward": "1", "ipv6/conf/all/forwarding": "1", "ipv4/conf/all/rp_filter": "0", "ipv4/conf/default/rp_filter": "0",
		"ipv6/conf/default/accept_dad": "0", "ipv6/conf/all/accept_dad": "0",
	})
	if err != nil {
		return err
	}
	return n.up("lo")
}

func (n *Namespace) up(name string) error {
	l, err := n.nl.LinkByName(name)
	if err != nil {
		return err
	}
	return n.nl.LinkSetUp(l)
}

// cable is a veth pair; each end knows the other's MAC, so that nothing has to be resolved.
type cable struct {
	near, far       *Namespace
	nearIf, farIf   string
	nearMAC, farMAC net.HardwareAddr
}

func (n *Net) plug(near *Namespace, nearIf string, far *Namespace, farIf string) (*cable, error) {
	n.macs++
	c := &cable{near: near, far: far, nearIf: nearIf, farIf: farIf}
	c.nearMAC = net.HardwareAddr{0x02, 0xfe, 0x11, 0xd0, 0, n.macs}
	c.farMAC = net.HardwareAddr{0x02, 0xfe, 0x11, 0xd0, 1, n.macs}
	veth := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: nearIf, HardwareAddr: c.nearMAC}, PeerName: farIf,
		PeerHardwareAddr: c.farMAC, PeerNamespace: netlink.NsFd(far.Fd()),
	}
	if err := near.nl.LinkAdd(veth); err != nil {
		return nil, fmt.Errorf("veth %s: %w", nearIf, err)
	}
	if err := near.up(nearIf); err != nil {
		return nil, err
	}
	return c, far.up(farIf)
}

// defaults gives the far end its default routes through the near one.
func (c *cable) defaults() error {
	for _, gw := range []netip.Addr{gateway4, gateway6} {
		if err := c.far.neighbour(c.farIf, gw, c.nearMAC); err != nil {
			return err
		}
		all := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		if gw.Is6() {
			all = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
		if err := c.far.route(c.farIf, all, gw); err != nil {
			return err
		}
	}
	return nil
}

// addNode plugs the node into the world.
func (n *Net) addNode(name string, addrs []netip.Addr) error {
	c, err := n.plug(n.wan, name, n.nodes[name], Uplink)
	if err != nil {
		return err
	}
	if err := c.defaults(); err != nil {
		return err
	}
	for _, a := range addrs {
		if n.c.devices[name][a] != "" {
			continue // on another interface; the world knows its way there by addDevice
		}
		if err := n.reach(c, a); err != nil {
			return err
		}
	}
	return nil
}

// addLAN plugs what is behind an interface of a node into it.
func (n *Net) addLAN(lan place) error {
	ns := n.lans[lan]
	if err := ns.sysctls(map[string]string{"ipv6/conf/default/accept_dad": "0"}); err != nil {
		return err
	}
	if err := ns.up("lo"); err != nil {
		return err
	}
	c, err := n.plug(n.nodes[lan.node], lan.iface, ns, "eth0")
	if err != nil {
		return err
	}
	if err := c.defaults(); err != nil {
		return err
	}
	for _, gw := range []netip.Addr{gateway4, gateway6} { // the node's way to all that is there
		if err := c.near.neighbour(c.nearIf, gw, c.farMAC); err != nil {
			return err
		}
	}
	return nil
}

// addDevice gives the interface of a node an address, and everybody the way to its network.
func (n *Net) addDevice(lan place, a netip.Addr) error {
	node, gw := n.nodes[lan.node], gateway4
	if a.Is6() {
		gw = gateway6
	}
	if err := node.address(lan.iface, a); err != nil {
		return err
	}
	if err := node.route(lan.iface, network(a), gw); err != nil {
		return err
	}
	return n.wan.route(lan.node, network(a), ofFamily(n.c.world.nodes[lan.node], familyOf(a)))
}

// reach gives the far end an address, and the near end a route to it.
func (n *Net) reach(c *cable, a netip.Addr) error {
	if err := c.far.address(c.farIf, a); err != nil {
		return err
	}
	if err := c.near.neighbour(c.nearIf, a, c.farMAC); err != nil {
		return err
	}
	return c.near.route(c.nearIf, netip.PrefixFrom(a, a.BitLen()), netip.Addr{})
}

// addPod plugs the pod into its node, and routes its addresses there from the world.
func (n *Net) addPod(e *endpoint) error {
	node, pod := n.nodes[e.node], n.pods[string(e.id)]
	if node == nil {
		return fmt.Errorf("%s is on node %q, which the case does not have", e.id, e.node)
	}
	if err := pod.sysctls(map[string]string{"ipv6/conf/default/accept_dad": "0"}); err != nil {
		return err
	}
	if err := pod.up("lo"); err != nil {
		return err
	}
	c, err := n.plug(node, e.iface, pod, "eth0")
	if err != nil {
		return err
	}
	if err := c.defaults(); err != nil {
		return err
	}
	for _, a := range e.addrs {
		if err := n.reach(c, a); err != nil {
			return err
		}
		if err := n.wan.route(e.node, netip.PrefixFrom(a, a.BitLen()), ofFamily(n.c.world.nodes[e.node], familyOf(a))); err != nil {
			return err
		}
	}
	return nil
}

func familyOf(a netip.Addr) uint8 {
	if a.Is4() {
		return 4
	}
	return 6
}

// addEnds gives the world the addresses outside.
func (n *Net) addEnds(f Flow) error {
	for end, a := range map[string]netip.Addr{f.From: f.Src, f.To: f.Dst} {
		ns, at := n.at(end), n.c.place(end)
		if ns != n.wan && n.lans[at] != ns {
			continue // it has its own; a false source is the prober's business
		}
		if err := ns.address("lo", a); err != nil {
			return err
		}
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// address adds a host address, at once usable; it may be there.
func (n *Namespace) address(iface string, a netip.Addr) error {
	l, err := n.nl.LinkByName(iface)
	if err != nil {
		return err
	}
	addr := &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(a, a.BitLen())), Flags: unix.IFA_F_NODAD}
	if err := n.nl.AddrReplace(l, addr); err != nil {
		return fmt.Errorf("address %s on %s: %w", a, iface, err)
	}
	return n.settled(a)
}

// settled waits until the namespace takes packets to an address as its own: the kernel installs the route for one of IPv6 some time
// after it has answered.
func (n *Namespace) settled(a netip.Addr) error {
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		routes, err := n.nl.RouteGet(a.AsSlice())
		if err == nil && len(routes) > 0 && routes[0].Type == unix.RTN_LOCAL {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the kernel does not take address %s as its own: %v, %w", a, routes, err)
		}
	}
}

func (n *Namespace) neighbour(iface string, a netip.Addr, mac net.HardwareAddr) error {
	l, err := n.nl.LinkByName(iface)
	if err != nil {
		return err
	}
	neigh := &netlink.Neigh{LinkIndex: l.Attrs().Index, State: netlink.NUD_PERMANENT, IP: a.AsSlice(), HardwareAddr: mac}
	if err := n.nl.NeighSet(neigh); err != nil {
		return fmt.Errorf("neighbour %s on %s: %w", a, iface, err)
	}
	return nil
}

// route adds a route by a gateway, or to what is on the link where via is invalid.
func (n *Namespace) route(iface string, dst netip.Prefix, via netip.Addr) error {
	l, err := n.nl.LinkByName(iface)
	if err != nil {
		return err
	}
	r := &netlink.Route{LinkIndex: l.Attrs().Index, Dst: ipNet(dst), Scope: netlink.SCOPE_LINK}
	if via.IsValid() {
		r.Gw, r.Scope = via.AsSlice(), netlink.SCOPE_UNIVERSE
		r.SetFlag(netlink.FLAG_ONLINK)
	}
	if err := n.nl.RouteReplace(r); err != nil {
		return fmt.Errorf("route to %s by %s: %w", dst, iface, err)
	}
	return nil
}

// nodeNames are the nodes of the network, sorted.
func (n *Net) nodeNames() []string { return slices.Sorted(maps.Keys(n.nodes)) }
