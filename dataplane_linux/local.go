package linux

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane_linux/netlink"
)

// routeSink is told which routes and interfaces there should be: a netlink.Network, or maps in tests.
type routeSink interface {
	SetRoute(r netlink.Route)
	RemoveRoute(dst netip.Prefix)
	SetDevice(name string, d netlink.Device)
	RemoveDevice(name string)
	SetForwarding(f netlink.Forwarding)
}

// local remembers where the addresses of this host's endpoints are, and turns changes of the state into changes of routes. A guest has no
// routes: the other plugin has.
type local struct {
	host      *dataplane.Host
	endpoints map[dataplane.EndpointID]place
	claims    map[netip.Addr][]dataplane.EndpointID // sorted; the first gets the route
	routes    map[netip.Prefix]struct{}             // those of State.Routes
	refused   map[netip.Prefix]error                // those that this driver can't make
}

// place of an endpoint.
type place struct {
	iface     string
	addresses []netip.Addr
}

func newLocal() *local {
	return &local{
		endpoints: map[dataplane.EndpointID]place{}, claims: map[netip.Addr][]dataplane.EndpointID{},
		routes: map[netip.Prefix]struct{}{}, refused: map[netip.Prefix]error{},
	}
}

// update takes in what moved; nil changes are everything. It returns the addresses that an endpoint has given up: their tracked
// connections must be deleted before another gets them.
func (l *local) update(s *dataplane.State, changes *dataplane.Changes, net routeSink) map[netip.Addr]dataplane.EndpointID {
	if l.host == nil || changes == nil || !l.host.Equal(&s.Host) {
		changes = l.everything(s)
	}
	host := s.Host
	l.host = &host
	net.SetForwarding(netlink.Forwarding{IPv4: host.Owner, IPv6: host.Owner && host.IPv6})
	gone := map[netip.Addr]dataplane.EndpointID{}
	moved := map[netip.Addr]struct{}{}
	for id := range changes.Endpoints {
		l.endpoint(id, s.Endpoints[id], net, gone, moved)
	}
	for a := range moved {
		l.address(a, net)
	}
	for p := range changes.Routes {
		l.route(p, s, net)
	}
	return gone
}

// everything is changes that name all that is in the state and all that is remembered.
func (l *local) everything(s *dataplane.State) *dataplane.Changes {
	all := dataplane.NewChanges()
	for id := range s.Endpoints {
		all.Endpoints[id] = struct{}{}
	}
	for id := range l.endpoints {
		all.Endpoints[id] = struct{}{}
	}
	for p := range s.Routes {
		all.Routes[p] = struct{}{}
	}
	for p := range l.routes {
		all.Routes[p] = struct{}{}
	}
	for p := range l.refused {
		all.Routes[p] = struct{}{}
	}
	return all
}

// routed tells whether an address gets a route.
func (l *local) routed(a netip.Addr) bool { return l.host.Owner && (a.Is4() || l.host.IPv6) }

// endpoint takes in one endpoint, which may be nil.
func (l *local) endpoint(id dataplane.EndpointID, ep *dataplane.Endpoint, net routeSink, gone map[netip.Addr]dataplane.EndpointID, moved map[netip.Addr]struct{}) {
	old, now := l.endpoints[id], place{}
	if ep != nil && ep.Host == nil && interfaceFault(l.host.InterfacePrefix, ep) == nil { // a host endpoint's are not ours to route
		now = place{ep.Interface, slices.Clone(ep.Addresses)}
	}
	for _, a := range old.addresses {
		moved[a] = struct{}{}
		if old.iface != now.iface || !slices.Contains(now.addresses, a) {
			gone[a] = id
		}
		if !slices.Contains(now.addresses, a) {
			l.unclaim(a, id)
		}
	}
	for _, a := range now.addresses {
		moved[a] = struct{}{}
		if i, has := slices.BinarySearch(l.claims[a], id); !has {
			l.claims[a] = slices.Insert(l.claims[a], i, id)
		}
	}
	if old.iface != "" && old.iface != now.iface {
		net.RemoveDevice(old.iface)
	}
	if now.iface == "" {
		delete(l.endpoints, id)
		return
	}
	l.endpoints[id] = now
	if l.host.Owner {
		net.SetDevice(now.iface, netlink.Device{IPv6: l.host.IPv6, Spoofs: len(ep.AllowedSources) > 0})
	} else {
		net.RemoveDevice(now.iface)
	}
}

func (l *local) unclaim(a netip.Addr, id dataplane.EndpointID) {
	if l.claims[a] = slices.DeleteFunc(l.claims[a], func(e dataplane.EndpointID) bool { return e == id }); len(l.claims[a]) == 0 {
		delete(l.claims, a)
	}
}

// address routes an address to the first that claims it.
func (l *local) address(a netip.Addr, net routeSink) {
	dst := netip.PrefixFrom(a, a.BitLen())
	if claims := l.claims[a]; len(claims) > 0 && l.routed(a) {
		net.SetRoute(netlink.Route{Dst: dst, Device: l.endpoints[claims[0]].iface})
		return
	}
	net.RemoveRoute(dst)
}

// route takes in a route of the state.
func (l *local) route(p netip.Prefix, s *dataplane.State, net routeSink) {
	r, ok := s.Routes[p]
	delete(l.routes, p)
	delete(l.refused, p)
	if p.IsSingleIP() && len(l.claims[p.Addr()]) > 0 {
		return // the endpoint is nearer
	}
	switch {
	case !ok || !l.routed(p.Addr()):
		net.RemoveRoute(p)
		return
	case r.Encap != dataplane.EncapNone && !r.Blackhole:
		l.refused[p] = fmt.Errorf("route %s to node %s: this version routes without encapsulation only; packets are not sent", p, r.Node)
		net.RemoveRoute(p)
		return
	case r.Blackhole:
		net.SetRoute(netlink.Route{Dst: p, Blackhole: true})
	default:
		net.SetRoute(netlink.Route{Dst: p, Via: r.Via})
	}
	l.routes[p] = struct{}{}
}
