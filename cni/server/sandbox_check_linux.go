package server

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// check says what of p is not there, if anything.
func (s *sandbox) check(p plan) error {
	ns, err := s.openNetns(p.netns)
	if err != nil {
		return err
	}
	defer ns.Close()
	pod, err := s.open(ns)
	if err != nil {
		return err
	}
	defer pod.Close()
	host, err := s.host.LinkByName(p.host)
	if err != nil {
		return fmt.Errorf("%s: %w", p.host, err)
	}
	eth, err := pod.LinkByName(p.IfName)
	if err != nil {
		return fmt.Errorf("%s in the pod: %w", p.IfName, err)
	}
	if err := checkPair(p, host, eth); err != nil {
		return err
	}
	for _, addr := range p.addrs {
		if err := checkAddress(pod, eth, addr); err != nil {
			return fmt.Errorf("%s in the pod: %w", p.IfName, err)
		}
	}
	return nil
}

func checkPair(p plan, host, eth netlink.Link) error {
	h, e := host.Attrs(), eth.Attrs()
	switch {
	case h.Alias != p.alias():
		return fmt.Errorf("%s has alias %q, want %q", p.host, h.Alias, p.alias())
	case e.ParentIndex != h.Index || h.ParentIndex != e.Index:
		return fmt.Errorf("%s in the pod is not the other end of %s", p.IfName, p.host)
	case !bytes.Equal(h.HardwareAddr, hostMAC):
		return fmt.Errorf("%s has MAC %s, want %s", p.host, h.HardwareAddr, hostMAC)
	case h.Flags&net.FlagUp == 0:
		return fmt.Errorf("%s is down", p.host)
	case e.Flags&net.FlagUp == 0:
		return fmt.Errorf("%s in the pod is down", p.IfName)
	case h.MTU != p.mtu || e.MTU != p.mtu:
		return fmt.Errorf("MTU is %d on %s and %d in the pod, want %d", h.MTU, p.host, e.MTU, p.mtu)
	}
	return nil
}

// checkAddress looks for the address, its route, and the gateway's neighbour entry.
func checkAddress(pod *netlink.Handle, eth netlink.Link, addr netip.Addr) error {
	has, err := pod.AddrList(eth, familyOf(addr))
	if err != nil {
		return fmt.Errorf("listing addresses: %w", err)
	}
	found := false
	for _, a := range has {
		found = found || a.IP.Equal(net.IP(addr.AsSlice()))
	}
	if !found {
		return fmt.Errorf("address %s is missing", addr)
	}
	index, gw := eth.Attrs().Index, net.IP(gatewayOf(addr).AsSlice())
	if ok, err := hasRoute(pod, index, addr, gw); err != nil || !ok {
		return missing(fmt.Sprintf("the default route by %s", gw), err)
	}
	neighs, err := pod.NeighList(index, familyOf(addr))
	for _, n := range neighs {
		if n.IP.Equal(gw) && bytes.Equal(n.HardwareAddr, hostMAC) && n.State&netlink.NUD_PERMANENT != 0 {
			return nil
		}
	}
	return missing(fmt.Sprintf("the permanent neighbour entry of %s", gw), err)
}

// hasRoute tells whether addr has its default route: in the main table, or in the interface's own with a rule that leads there.
func hasRoute(pod *netlink.Handle, index int, addr netip.Addr, gw net.IP) (bool, error) {
	for _, table := range []int{254, podTable(index)} { // 254: main
		routes, err := pod.RouteListFiltered(familyOf(addr), &netlink.Route{LinkIndex: index, Table: table, Gw: gw},
			netlink.RT_FILTER_OIF|netlink.RT_FILTER_TABLE|netlink.RT_FILTER_GW)
		if err != nil {
			return false, err
		}
		for _, r := range routes {
			isDefault := r.Dst == nil || r.Dst.String() == defaultRoute(addr).String()
			if isDefault && table == 254 {
				return true, nil
			}
			if isDefault {
				return hasRule(pod, podRule(addr, table))
			}
		}
	}
	return false, nil
}

func hasRule(pod *netlink.Handle, want *netlink.Rule) (bool, error) {
	rules, err := pod.RuleListFiltered(want.Family, want, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_SRC|netlink.RT_FILTER_PRIORITY)
	return len(rules) > 0, err
}

func missing(what string, err error) error {
	if err != nil {
		return fmt.Errorf("looking for %s: %w", what, err)
	}
	return fmt.Errorf("%s is missing", what)
}
