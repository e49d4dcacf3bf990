package flatten

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/felid-net/felid/dataplane"
)

func prefixes(texts ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, t := range texts {
		out = append(out, netip.MustParsePrefix(t))
	}
	return out
}

func texts(ps []netip.Prefix) []string {
	var out []string
	for _, p := range ps {
		out = append(out, p.String())
	}
	return out
}

func TestAddrs(t *testing.T) {
	ten := AddrsOf(prefixes("10.0.0.0/8", "10.1.0.0/16", "fd00::/8")...)
	cases := []struct {
		name   string
		got    Addrs
		v4, v6 []string
	}{
		{"union", ten, []string{"10.0.0.0/8"}, []string{"fd00::/8"}},
		{"everything", Addrs{}, []string{"0.0.0.0/0"}, []string{"::/0"}},
		{"halves are everything", AddrsOf(prefixes("0.0.0.0/1", "128.0.0.0/1", "::/1", "8000::/1")...), []string{"0.0.0.0/0"}, []string{"::/0"}},
		{"nothing", AddrsOf(), nil, nil},
		{"intersection", ten.Intersect(AddrsOf(prefixes("10.7.0.0/16", "192.0.2.0/24")...)), []string{"10.7.0.0/16"}, nil},
		{"hole", AddrsOf(prefixes("10.0.0.0/30")...).Minus(AddrsOf(prefixes("10.0.0.1/32")...)), []string{"10.0.0.0/32", "10.0.0.2/31"}, nil},
		{"complement", Addrs{}.Minus(AddrsOf(prefixes("128.0.0.0/1", "::/1")...)), []string{"0.0.0.0/1"}, []string{"8000::/1"}},
		{"minus everything", ten.Minus(Addrs{}), nil, nil},
		{"minus nothing", Addrs{}.Minus(AddrsOf()), []string{"0.0.0.0/0"}, []string{"::/0"}},
		{"family", Family(6), nil, []string{"::/0"}},
	}
	for _, c := range cases {
		if diff := cmp.Diff(c.v4, texts(c.got.Prefixes(4))); diff != "" {
			t.Error(c.name, diff)
		}
		if diff := cmp.Diff(c.v6, texts(c.got.Prefixes(6))); diff != "" {
			t.Error(c.name, diff)
		}
		all := len(c.v4) == 1 && c.v4[0] == "0.0.0.0/0" && len(c.v6) == 1 && c.v6[0] == "::/0"
		if c.got.All() != all || c.got.Empty() != (len(c.v4)+len(c.v6) == 0) {
			t.Errorf("%s: All %v, Empty %v", c.name, c.got.All(), c.got.Empty())
		}
	}
}

func TestAddrsAreSets(t *testing.T) {
	net := rapid.SampledFrom(prefixes("0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1", "10.0.0.0/30", "10.0.0.0/32", "10.0.0.2/32", "10.0.0.3/32", "10.0.0.4/31",
		"255.255.255.254/31", "255.255.255.255/32", "0.0.0.0/32", "::/0", "::/1", "8000::/1", "::/128", "fd00::/127", "fd00::2/128", "ffff::/16"))
	probes := []string{"0.0.0.0", "0.0.0.1", "10.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6", "127.255.255.255", "128.0.0.0",
		"255.255.255.253", "255.255.255.254", "255.255.255.255", "::", "::1", "fd00::", "fd00::1", "fd00::2", "fd00::3", "8000::", "ffff::", "ffff:ffff::1"}
	nets := rapid.SliceOfN(net, 0, 4)
	in := func(ps []netip.Prefix, a netip.Addr) bool {
		return slices.ContainsFunc(ps, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	rapid.Check(t, func(t *rapid.T) {
		p, q := nets.Draw(t, "p"), nets.Draw(t, "q")
		a, b := AddrsOf(p...), AddrsOf(q...)
		if a.within(b) != a.Minus(b).Empty() {
			t.Fatalf("%v within %v: %t", p, q, a.within(b))
		}
		union, both, less := AddrsOf(append(slices.Clone(p), q...)...), a.Intersect(b), a.Minus(b)
		for _, text := range probes {
			ip := netip.MustParseAddr(text)
			inA, inB := in(p, ip), in(q, ip)
			if a.Contains(ip) != inA || union.Contains(ip) != (inA || inB) || both.Contains(ip) != (inA && inB) || less.Contains(ip) != (inA && !inB) {
				t.Fatalf("%s of %v, %v: %v %v %v", ip, p, q, union, both, less)
			}
		}
		if a.overlaps(b) == both.Empty() {
			t.Fatalf("%v overlaps %v: %v", p, q, a.overlaps(b))
		}
		for _, s := range []Addrs{a, union, both, less} {
			again := AddrsOf(append(s.Prefixes(4), s.Prefixes(6)...)...)
			if again.limited != s.limited || !slices.Equal(again.ranges, s.ranges) {
				t.Fatalf("%v is not normal: %v", s, again)
			}
		}
	})
}

func drawRanges(t *rapid.T) []dataplane.PortRange {
	number := rapid.OneOf(rapid.Uint16Range(0, 12), rapid.Uint16Range(65530, 65535))
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) dataplane.PortRange {
		a, b := number.Draw(t, "a"), number.Draw(t, "b")
		return dataplane.PortRange{Min: min(a, b), Max: max(a, b)}
	}), 0, 4).Draw(t, "ranges")
}

func TestPortsAreSets(t *testing.T) {
	in := func(ranges []dataplane.PortRange, port uint16) bool {
		return slices.ContainsFunc(ranges, func(r dataplane.PortRange) bool { return r.Min <= port && port <= r.Max })
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawRanges(t), drawRanges(t)
		p, q := PortsOf(a...), PortsOf(b...)
		union, both, less := PortsOf(append(slices.Clone(a), b...)...), p.Intersect(q), p.Minus(q)
		for n := range 65536 {
			port := uint16(n)
			if n > 20 && n < 65520 {
				continue
			}
			inA, inB := in(a, port), in(b, port)
			if p.Contains(port) != inA || union.Contains(port) != (inA || inB) || both.Contains(port) != (inA && inB) || less.Contains(port) != (inA && !inB) {
				t.Fatalf("%d of %v, %v: %v %v %v", port, a, b, union, both, less)
			}
		}
		for _, s := range []Ports{p, union, both, less} {
			mustBeNormal(t, s)
		}
	})
}

func mustBeNormal(t *rapid.T, p Ports) {
	if p.All() {
		return
	}
	for i, r := range p.Ranges() {
		if r.Min > r.Max || i > 0 && int(p.Ranges()[i-1].Max)+1 >= int(r.Min) {
			t.Fatalf("ranges %v", p.Ranges())
		}
	}
	if p.Empty() != (len(p.Ranges()) == 0) {
		t.Fatalf("%v: Empty is %v", p.Ranges(), p.Empty())
	}
}

func TestPortsEdges(t *testing.T) {
	if !(PortsOf(dataplane.PortRange{Max: 65535})).All() || !(PortsOf(dataplane.PortRange{Max: 99}, dataplane.PortRange{Min: 100, Max: 65535})).All() {
		t.Error("0 to 65535 is all")
	}
	if !(Ports{}).Minus(Ports{}).Empty() || !(Ports{}).Minus(PortsOf()).All() {
		t.Error("minus")
	}
	top := PortsOf(dataplane.PortRange{Min: 80, Max: 80})
	if diff := cmp.Diff([]dataplane.PortRange{{Min: 80, Max: 80}}, top.Intersect(top).Ranges()); diff != "" {
		t.Error(diff)
	}
}

func TestProtocols(t *testing.T) {
	if !(Protocols{}).All() || (Protocols{}).Empty() || !ProtocolsOf().Empty() || len(Protocols{}.Numbers()) != 256 {
		t.Error("all and none")
	}
	p := ProtocolsOf(6, 17, 255, 0)
	if diff := cmp.Diff([]uint8{0, 6, 17, 255}, p.Numbers()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]uint8{0, 17, 255}, p.Minus(ProtocolsOf(6, 7)).Numbers()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]uint8{6}, p.Intersect(ProtocolsOf(6, 7)).Numbers()); diff != "" {
		t.Error(diff)
	}
}
