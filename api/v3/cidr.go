package v3

import (
	"fmt"
	"net/netip"
	"strings"
)

// ParseCIDR reads a prefix or a bare address (a prefix of full length). Host bits are masked, with a warning that says so. Zones and
// IPv4-mapped IPv6 prefixes are refused.
func ParseCIDR(text string) (prefix netip.Prefix, warning string, err error) {
	if !strings.Contains(text, "/") {
		addr, err := parseAddr(text)
		if err != nil {
			return netip.Prefix{}, "", err
		}
		return netip.PrefixFrom(addr, addr.BitLen()), "", nil
	}
	prefix, err = netip.ParsePrefix(text)
	if err != nil || prefix.Addr().Is4In6() {
		return netip.Prefix{}, "", fmt.Errorf("%q is not a CIDR; valid: such as 10.0.0.0/8, 2001:db8::/32, or an address", text)
	}
	if masked := prefix.Masked(); masked != prefix {
		return masked, fmt.Sprintf("%s has host bits: it counts as %s", text, masked), nil
	}
	return prefix, "", nil
}

func parseAddr(text string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" || addr.Is4In6() {
		return netip.Addr{}, fmt.Errorf("%q is not an address; valid: such as 10.0.0.1 or 2001:db8::1", text)
	}
	return addr, nil
}
