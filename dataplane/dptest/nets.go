package dptest

import (
	"net/netip"
	"slices"
	"strings"
)

func readableAddrs(texts []string) []netip.Addr {
	var addrs []netip.Addr
	for _, t := range texts {
		t, _, _ = strings.Cut(t, "/")
		if a, err := netip.ParseAddr(t); err == nil && !slices.Contains(addrs, a) {
			addrs = append(addrs, a)
		}
	}
	return addrs
}

func readablePrefixes(texts []string) []netip.Prefix {
	prefixes, _ := parseNets(texts)
	return prefixes
}

// parseNets returns the networks that can be read, and how many can't.
func parseNets(texts []string) (prefixes []netip.Prefix, bad int) {
	for _, t := range texts {
		if a, err := netip.ParseAddr(t); err == nil {
			prefixes = append(prefixes, netip.PrefixFrom(a, a.BitLen()))
		} else if p, err := netip.ParsePrefix(t); err == nil {
			prefixes = append(prefixes, p.Masked())
		} else {
			bad++
		}
	}
	return prefixes, bad
}

func within(a netip.Addr, nets []netip.Prefix) bool {
	return slices.ContainsFunc(nets, func(p netip.Prefix) bool { return p.Contains(a) })
}
