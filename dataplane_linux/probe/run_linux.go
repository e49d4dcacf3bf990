package probe

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/felid-net/felid/dataplane"
	linux "github.com/felid-net/felid/dataplane_linux"
)

// Run makes all trials with the driver of this Config, in the network namespace of the process.
func Run(ctx context.Context, cfg linux.Config) ([]Finding, error) {
	places, err := makePlaces()
	if err != nil {
		return nil, err
	}
	if err := (&attempt{ctx: ctx, places: places}).settled(); err != nil {
		return nil, err
	}
	dp, err := linux.New(cfg)
	if err != nil {
		return Untried(err.Error()), nil
	}
	defer dp.Close()
	return runTrials(ctx, dp, places), nil
}

func runTrials(ctx context.Context, dp dataplane.Dataplane, p *places) []Finding {
	var out []Finding
	for _, t := range trials {
		a := &attempt{ctx: ctx, dp: dp, places: p}
		t.run(a)
		out = append(out, a.finding(t))
	}
	return out
}

// makePlaces makes the namespaces of the two pods, and connects them to that of the process.
func makePlaces() (*places, error) {
	if err := alone(); err != nil {
		return nil, err
	}
	p := &places{pods: map[netip.Addr]func(func() error) error{}}
	settings := map[string]string{"ipv4/ip_forward": "1", "ipv4/conf/all/rp_filter": "0", "ipv4/conf/default/rp_filter": "0"}
	if _, err := os.Stat("/proc/sys/net/ipv6"); err != nil {
		p.noIPv6 = true
	} else {
		settings["ipv6/conf/all/forwarding"] = "1"
	}
	for path, value := range settings {
		if err := os.WriteFile("/proc/sys/net/"+path, []byte(value), 0o644); err != nil {
			return nil, err
		}
	}
	for _, pod := range []struct {
		iface      string
		own, gate  addresses
		additional []netip.Addr
	}{{ifA, addrA, gateA, spoofed.list()}, {ifB, addrB, gateB, nil}} {
		enter, err := p.makePod(pod.iface, pod.own.list(), pod.gate.list(), pod.additional)
		if err != nil {
			return nil, fmt.Errorf("namespace behind %s: %w", pod.iface, err)
		}
		p.pods[pod.own.v4], p.pods[pod.own.v6] = enter, enter
	}
	return p, nil
}

// alone refuses any namespace but one of the probe's own.
func alone() error {
	links, err := netlink.LinkList()
	if err != nil {
		return err
	}
	for _, l := range links {
		if a := l.Attrs(); a.Flags&net.FlagLoopback == 0 && a.Flags&net.FlagUp != 0 {
			return fmt.Errorf("this network namespace is not the probe's: it has interface %s", a.Name)
		}
	}
	return nil
}

// makePod makes a namespace that lasts as long as the process, with an interface whose other end is here, and gives what enters it.
func (p *places) makePod(iface string, own, gates, additional []netip.Addr) (func(func() error) error, error) {
	fd := netns.None()
	err := onThread(func() (err error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare: %w", err)
		}
		fd, err = netns.Get()
		return err
	})
	if err != nil {
		return nil, err
	}
	enter := func(do func() error) error {
		return onThread(func() error {
			if err := netns.Set(fd); err != nil {
				return err
			}
			return do()
		})
	}
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: iface}, PeerName: "eth0", PeerNamespace: netlink.NsFd(int(fd))}
	if err := netlink.LinkAdd(veth); err != nil {
		return nil, err
	}
	if err := p.plug(iface, gates); err != nil {
		return nil, err
	}
	return enter, enter(func() error {
		if err := p.plug("eth0", slices.Concat(own, additional)); err != nil {
			return err
		}
		for _, g := range gates {
			if err := route(g); err != nil && !(g.Is6() && p.noIPv6) {
				return err
			}
		}
		return nil
	})
}

// onThread runs do on an OS thread that ends with it: one that has been in another namespace is never used again.
func onThread(do func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		done <- do()
	}()
	return <-done
}

// plug gives an interface addresses, in prefixes that it shares with its other end, and sets it up.
func (p *places) plug(iface string, list []netip.Addr) error {
	l, err := netlink.LinkByName(iface)
	if err != nil {
		return err
	}
	for _, a := range list {
		bits := 24
		if a.Is6() {
			bits = 64
		}
		if a.Is6() && p.noIPv6 {
			continue
		}
		addr := &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(bits, a.BitLen())}, Flags: unix.IFA_F_NODAD}
		if err := netlink.AddrAdd(l, addr); err != nil {
			return fmt.Errorf("address %s on %s: %w", a, iface, err)
		}
	}
	return netlink.LinkSetUp(l)
}

// route leads everything through a gateway.
func route(gate netip.Addr) error {
	l, err := netlink.LinkByName("eth0")
	if err != nil {
		return err
	}
	all := &net.IPNet{IP: make(net.IP, gate.BitLen()/8), Mask: net.CIDRMask(0, gate.BitLen())}
	if err := netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: all, Gw: gate.AsSlice()}); err != nil {
		return fmt.Errorf("route through %s: %w", gate, err)
	}
	return nil
}
