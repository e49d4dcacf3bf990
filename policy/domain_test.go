package policy

import (
	"net/netip"
	"testing"
)

// TestDomainThatReadsLikeANet: sets are shared by what they mean, and a name means no address.
func TestDomainThatReadsLikeANet(t *testing.T) {
	net := netip.MustParsePrefix("10.0.0.0/8")
	a, b := domainSet([]string{"example.org", net.String()}, nil), domainSet([]string{"example.org"}, []netip.Prefix{net})
	if a.id == b.id {
		t.Errorf("%q and %q are one set", a.text, b.text)
	}
}
