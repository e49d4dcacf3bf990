package server

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// peer is the host's interface whose other end is ifName in the network namespace at path, and the MAC address of that end.
func (s *sandbox) peer(_ context.Context, path, ifName string, _ []netip.Addr) (name, mac string, err error) {
	ns, err := s.openNetns(path)
	if err != nil {
		return "", "", err
	}
	defer ns.Close()
	pod, err := s.open(ns)
	if err != nil {
		return "", "", err
	}
	defer pod.Close()
	eth, err := pod.LinkByName(ifName)
	if err != nil {
		return "", "", fmt.Errorf("finding %s in the pod: %w", ifName, err)
	}
	e := eth.Attrs()
	// An index of another namespace than the host's may be one of the host's too: the ends must name each other, and the host's this namespace.
	host, err := s.host.LinkByIndex(e.ParentIndex)
	id, idErr := s.host.GetNetNsIdByFd(int(ns))
	if err != nil || idErr != nil || id < 0 || host.Type() != "veth" || host.Attrs().ParentIndex != e.Index || host.Attrs().NetNsID != id {
		return "", "", fmt.Errorf("%s in the pod is a %s whose other end is no interface of this host: felid can't police it", ifName, eth.Type())
	}
	return host.Attrs().Name, e.HardwareAddr.String(), nil
}

// exists tells whether the host has an interface.
func (s *sandbox) exists(_ context.Context, name string) (bool, error) {
	_, err := s.host.LinkByName(name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking for %s: %w", name, err)
	}
	return true, nil
}

// InterfaceTo is the host's interface behind which, and not behind a gateway, one of the addresses is; "" where there is none, or it is no
// pod's. The host is the network namespace of the calling thread.
func InterfaceTo(addrs []netip.Addr) string {
	for _, addr := range addrs {
		routes, err := netlink.RouteGet(addr.AsSlice())
		if err != nil || len(routes) == 0 || routes[0].Gw != nil || routes[0].Via != nil {
			continue
		}
		link, err := netlink.LinkByIndex(routes[0].LinkIndex)
		if err == nil && link.Type() == "veth" {
			return link.Attrs().Name
		}
	}
	return ""
}
