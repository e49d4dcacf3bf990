package netlink

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Owners are the names of the interfaces that have these addresses, in the calling thread's network namespace. Of several that have one, the
// first by index counts.
func Owners(addrs map[netip.Addr]struct{}) (map[netip.Addr]string, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	defer h.Close()
	list, err := h.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("list addresses of interfaces: %w", err)
	}
	owner := map[netip.Addr]int{}
	for _, a := range list {
		ip, ok := netip.AddrFromSlice(a.IP)
		ip = ip.Unmap()
		if _, wanted := addrs[ip]; !wanted || !ok {
			continue
		}
		if first, taken := owner[ip]; !taken || a.LinkIndex < first {
			owner[ip] = a.LinkIndex
		}
	}
	out := make(map[netip.Addr]string, len(owner))
	for a, index := range owner {
		link, err := h.LinkByIndex(index)
		if err != nil {
			return nil, fmt.Errorf("interface %d, which has address %s: %w", index, a, err)
		}
		out[a] = link.Attrs().Name
	}
	return out, nil
}
