package adapters

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func address(text string, state State) Address {
	return Address{netip.MustParsePrefix(text), state}
}

func addrs(texts ...string) []netip.Addr {
	var out []netip.Addr
	for _, text := range texts {
		out = append(out, netip.MustParseAddr(text))
	}
	return out
}

func TestHostAddresses(t *testing.T) {
	all := []Adapter{
		{Name: "Ethernet", Compartment: 1, Up: true, Addresses: []Address{
			address("10.240.0.5/16", Preferred), address("2001:db8::5/64", Preferred), address("2001:db8::99/64", Deprecated), address("fe80::1/64", Preferred),
		}},
		{Name: "vEthernet (azure)", Up: false, Addresses: []Address{address("10.240.0.5/16", Preferred), address("10.240.0.4/16", Preferred)}},
		{Name: "apipa", Compartment: 1, Addresses: []Address{address("169.254.7.7/16", Preferred)}},
		{Name: "new", Compartment: 1, Addresses: []Address{
			address("10.1.0.1/24", Tentative), address("10.1.0.2/24", Duplicate), address("10.1.0.3/24", Invalid), address("0.0.0.0/0", Preferred),
			address("224.0.0.1/4", Preferred), address("255.255.255.255/32", Preferred), {State: Preferred},
		}},
		{Name: "a pod's", Compartment: 7, Up: true, Addresses: []Address{address("10.244.1.5/26", Preferred)}},
		{Name: "Loopback", Compartment: 1, Loopback: true, Addresses: []Address{address("127.0.0.1/8", Preferred), address("10.9.9.9/32", Preferred)}},
		{Name: "not marked so", Compartment: 1, Addresses: []Address{address("127.0.0.2/8", Preferred), address("::1/128", Preferred)}},
	}
	want := addrs("10.240.0.4", "10.240.0.5", "2001:db8::5", "2001:db8::99")
	if diff := cmp.Diff(want, HostAddresses(all), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := HostAddresses(nil); len(got) != 0 {
		t.Errorf("without adapters: %v", got)
	}
}

func TestAddressOf(t *testing.T) {
	v4 := []byte{2, 0, 0, 80, 10, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0}
	v6 := make([]byte, 28)
	v6[0] = 23
	ip := netip.MustParseAddr("fe80::7").As16()
	copy(v6[8:], ip[:])
	v6[24] = 5 // the zone
	for _, c := range []struct {
		name     string
		sockaddr []byte
		bits     uint8
		want     string
	}{
		{"IPv4", v4, 24, "10.1.2.3/24"},
		{"IPv4, a length that only IPv6 has", v4, 255, "10.1.2.3/32"},
		{"IPv6", v6, 64, "fe80::7/64"},
		{"cut short", v4[:7], 24, ""},
		{"IPv6 cut short", v6[:23], 64, ""},
		{"another family", []byte{1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8}, 8, ""},
		{"none", nil, 8, ""},
	} {
		got, ok := addressOf(c.sockaddr, c.bits, int32(Preferred))
		if ok != (c.want != "") || ok && (got.String() != c.want || got.State != Preferred) {
			t.Errorf("%s: %v, %t, want %q", c.name, got, ok, c.want)
		}
	}
}

func FuzzAddressOf(f *testing.F) {
	f.Add([]byte{2, 0, 0, 0, 10, 0, 0, 1}, uint8(24))
	f.Add(append([]byte{23}, make([]byte, 27)...), uint8(64))
	f.Fuzz(func(t *testing.T, sockaddr []byte, bits uint8) {
		a, ok := addressOf(sockaddr, bits, int32(Preferred))
		if ok && (!a.IsValid() || a.Addr().Zone() != "" || a.Addr().Is4In6()) {
			t.Errorf("%v of %x", a, sockaddr)
		}
		if !ok && len(HostAddresses([]Adapter{{Addresses: []Address{a}}})) != 0 {
			t.Errorf("what can't be read counts: %v", a)
		}
		if got := HostAddresses([]Adapter{{Addresses: []Address{a, a}}}); len(got) > 1 || !slices.IsSortedFunc(got, netip.Addr.Compare) {
			t.Errorf("%v", got)
		}
	})
}
