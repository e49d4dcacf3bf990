package netlink

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	mdl "github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Dial opens the kernel's network in the calling thread's namespace. Set, which reads and writes /proc/sys/net, must be called from a thread
// in that namespace; everything else goes through sockets opened here.
func Dial() (Kernel, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		h.Close()
		return nil, fmt.Errorf("open socket: %w", err)
	}
	conntrack, err := mdl.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		h.Close()
		return nil, errors.Join(fmt.Errorf("open netlink: %w", err), unix.Close(fd))
	}
	return &kernel{h: h, conntrack: conntrack, fd: fd}, nil
}

type kernel struct {
	h         *netlink.Handle
	conntrack *mdl.Conn
	fd        int // for SIOCGIFFLAGS, a fraction of the cost of RTM_GETLINK
}

func (k *kernel) Link(name string) (there, up bool, err error) {
	req, err := unix.NewIfreq(name)
	if err != nil {
		return false, false, err
	}
	err = unix.IoctlIfreq(k.fd, unix.SIOCGIFFLAGS, req)
	if errors.Is(err, unix.ENODEV) {
		return false, false, nil
	}
	return err == nil, req.Uint16()&unix.IFF_UP != 0, err
}

func (k *kernel) index(name string) (int, error) {
	req, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	err = unix.IoctlIfreq(k.fd, unix.SIOCGIFINDEX, req)
	if errors.Is(err, unix.ENODEV) {
		err = ErrNoDevice
	}
	return int(req.Uint32()), err
}

// name of an interface; "" once it is gone.
func (k *kernel) name(index int) string {
	req, _ := unix.NewIfreq("x")
	req.SetUint32(uint32(index))
	if unix.IoctlIfreq(k.fd, unix.SIOCGIFNAME, req) != nil {
		return ""
	}
	return req.Name()
}

func (k *kernel) Routes() (ours, others []Route, err error) {
	filter := &netlink.Route{Table: unix.RT_TABLE_MAIN}
	err = k.h.RouteListFilteredIter(netlink.FAMILY_ALL, filter, netlink.RT_FILTER_TABLE, func(r netlink.Route) bool {
		dst, ok := prefixOf(r.Dst)
		switch {
		case ok && r.Protocol == Protocol:
			ours = append(ours, k.routeOf(dst, &r))
		case ok:
			others = append(others, k.routeOf(dst, &r))
		}
		return true
	})
	return ours, others, err
}

func (k *kernel) routeOf(dst netip.Prefix, r *netlink.Route) Route {
	out := Route{Dst: dst, Blackhole: r.Type == unix.RTN_BLACKHOLE}
	via, ok := netip.AddrFromSlice(r.Gw)
	switch {
	case out.Blackhole:
	case ok:
		out.Via = via.Unmap()
	default:
		out.Device = k.name(r.LinkIndex)
	}
	return out
}

// SetRoute: a change replaces, which never leaves a moment without a route. IPv6 adds a replacement of another type beside the old one, so that
// there the old one goes first.
func (k *kernel) SetRoute(r Route, change bool) error {
	route, err := k.message(r)
	if err != nil {
		return err
	}
	if change && r.Dst.Addr().Is4() {
		return k.h.RouteReplace(route)
	}
	if change {
		if err := k.DeleteRoute(r); err != nil {
			return err
		}
	}
	err = k.h.RouteAdd(route)
	if errors.Is(err, unix.EEXIST) {
		return ErrForeign
	}
	return err
}

// DeleteRoute names the destination and the protocol, and leaves everything else open.
func (k *kernel) DeleteRoute(r Route) error {
	route := &netlink.Route{Dst: ipNet(r.Dst), Protocol: Protocol, Table: unix.RT_TABLE_MAIN, Scope: netlink.SCOPE_NOWHERE}
	err := k.h.RouteDel(route)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}

func (k *kernel) message(r Route) (*netlink.Route, error) {
	out := &netlink.Route{Dst: ipNet(r.Dst), Protocol: Protocol, Table: unix.RT_TABLE_MAIN, Type: unix.RTN_UNICAST}
	switch {
	case r.Blackhole:
		out.Type = unix.RTN_BLACKHOLE
	case r.Via.IsValid():
		out.Gw = r.Via.AsSlice()
	default:
		index, err := k.index(r.Device)
		if err != nil {
			return nil, err
		}
		out.LinkIndex, out.Scope = index, netlink.SCOPE_LINK
	}
	return out, nil
}

func (k *kernel) Set(path, value string) (bool, error) {
	file := "/proc/sys/net/" + path
	now, err := os.ReadFile(file)
	if err != nil {
		return false, err
	}
	if string(bytes.TrimSpace(now)) == value {
		return false, nil
	}
	return true, os.WriteFile(file, []byte(value), 0o644)
}

func (k *kernel) Close() error {
	k.h.Close()
	return errors.Join(k.conntrack.Close(), unix.Close(k.fd))
}

func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	a, ok := netip.AddrFromSlice(n.IP)
	ones, size := n.Mask.Size()
	if a.Is4In6() && size == 32 {
		a = a.Unmap()
	}
	return netip.PrefixFrom(a, ones), ok && a.BitLen() == size
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
