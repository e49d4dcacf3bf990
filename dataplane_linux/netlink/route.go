package netlink

import (
	"fmt"
	"net/netip"
)

// Protocol is the routing protocol number of felid's routes (rtm_protocol, linux/rtnetlink.h; `ip route` prints "proto 85"). 85 is free in
// iproute2's rt_protos.
const Protocol = 85

// Route is to an interface, via another host, or a blackhole: one of Device, Via and Blackhole is set.
type Route struct {
	Dst       netip.Prefix
	Device    string
	Via       netip.Addr
	Blackhole bool
}

// String is as `ip route` writes it: "10.65.0.1/32 dev fld0123", "10.65.1.0/26 via 172.18.0.2", "blackhole 10.65.0.0/26".
func (r Route) String() string {
	switch {
	case r.Blackhole:
		return "blackhole " + r.Dst.String()
	case r.Via.IsValid():
		return fmt.Sprintf("%s via %s", r.Dst, r.Via)
	}
	return fmt.Sprintf("%s dev %s", r.Dst, r.Device)
}

// Device is how the kernel should treat an interface of a pod.
type Device struct {
	IPv6 bool
	// Spoofs: the pod may send from other addresses than routes to it say, so that the kernel's own check of sources is left off.
	Spoofs bool
}

// setting is a value below /proc/sys/net.
type setting struct{ path, value string }

// settings of an interface: the kernel answers its ARP and neighbour queries for any address at once, forwards, and checks sources.
func (d Device) settings(name string) []setting {
	filter := "1"
	if d.Spoofs {
		filter = "0"
	}
	v4, v6 := "ipv4/conf/"+name+"/", "ipv6/conf/"+name+"/"
	out := []setting{
		{v4 + "rp_filter", filter}, {v4 + "route_localnet", "1"}, {v4 + "proxy_arp", "1"}, {v4 + "forwarding", "1"},
		{"ipv4/neigh/" + name + "/proxy_delay", "0"},
	}
	if d.IPv6 {
		out = append(out, setting{v6 + "accept_ra", "0"}, setting{v6 + "proxy_ndp", "1"}, setting{v6 + "forwarding", "1"})
	}
	return out
}

// Forwarding says for which families the host forwards at all; what is false is left as it is. A host that forwards IPv6 heeds router
// advertisements only on interfaces whose accept_ra is 2 (kernel documentation, ip-sysctl): one that gets its own routes so must have that.
type Forwarding struct{ IPv4, IPv6 bool }

func (f Forwarding) settings() []setting {
	var out []setting
	if f.IPv4 {
		out = append(out, setting{"ipv4/ip_forward", "1"})
	}
	if f.IPv6 {
		out = append(out, setting{"ipv6/conf/all/forwarding", "1"})
	}
	return out
}
