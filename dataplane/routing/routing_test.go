package routing

import (
	"fmt"
	"net/netip"
	"testing"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"
)

func nodeObject(name string, addrs ...string) *v3.Node {
	n := &v3.Node{TypeMeta: metav1.TypeMeta{Kind: "Node"}, ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, a := range addrs {
		n.Spec.Addresses = append(n.Spec.Addresses, v3.NodeAddress{Address: a, Type: "InternalIP"})
	}
	return n
}

func blockObject(cidr, owner string, borrowed map[int]string) *v3.IPAMBlock {
	b := &v3.IPAMBlock{ObjectMeta: metav1.ObjectMeta{Name: cidr}, Spec: v3.IPAMBlockSpec{CIDR: cidr}}
	if owner != "" {
		affinity := "host:" + owner
		b.Spec.Affinity = &affinity
	}
	b.Spec.Allocations = make([]*int, 8)
	for ordinal, borrower := range borrowed {
		i := len(b.Spec.Attributes)
		b.Spec.Allocations[ordinal] = &i
		b.Spec.Attributes = append(b.Spec.Attributes, v3.AllocationAttribute{Secondary: map[string]string{"node": borrower}})
	}
	return b
}

func poolObject(name, cidr string, set func(*v3.IPPoolSpec)) *v3.IPPool {
	p := &v3.IPPool{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v3.IPPoolSpec{CIDR: cidr}}
	if set != nil {
		set(&p.Spec)
	}
	return p
}

var compare = cmp.Options{cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmpopts.EquateEmpty()}

func resolved(objects ...v3.Object) *dataplane.State {
	s := dataplane.NewState()
	Resolve("n1", objects, s)
	return s
}

func TestRoutes(t *testing.T) {
	s := resolved(
		nodeObject("n1", "172.18.0.1", "fd18::1"), nodeObject("n2", "172.18.0.2", "fd18::2"), nodeObject("n3", "172.18.0.3"),
		poolObject("plain", "10.64.0.0/12", func(p *v3.IPPoolSpec) { p.NATOutgoing = true }),
		poolObject("tunnels", "10.80.0.0/16", func(p *v3.IPPoolSpec) { p.VXLANMode = v3.EncapAlways }),
		poolObject("lb", "203.0.113.0/24", func(p *v3.IPPoolSpec) { p.AllowedUses = []string{"LoadBalancer"}; p.NATOutgoing = true }),
		blockObject("10.65.0.0/26", "n1", map[int]string{3: "n2", 4: "n1"}),
		blockObject("10.65.0.64/26", "n2", map[int]string{0: "n1", 1: "n3", 2: "n2"}),
		blockObject("10.80.0.0/26", "n2", nil),
		blockObject("fd65::/122", "n2", map[int]string{5: "n3"}), // n3 has no IPv6 address
		blockObject("10.65.0.128/32", "n1", nil),                 // the endpoint's own route
		blockObject("10.65.1.0/26", "n9", nil),                   // a node that is not there
		blockObject("10.65.2.0/26", "", map[int]string{1: "n2"}),
	)
	want := ""
	for _, line := range []string{
		"10.65.0.0/26 blackhole", "10.65.0.3/32 n2 172.18.0.2 0", "10.65.0.64/26 n2 172.18.0.2 0", "10.65.0.65/32 n3 172.18.0.3 0",
		"10.65.2.1/32 n2 172.18.0.2 0", "10.80.0.0/26 n2 172.18.0.2 2", "fd65::/122 n2 fd18::2 0",
	} {
		want += line + "\n"
	}
	got := ""
	for _, p := range sorted(s.Routes) {
		if r := s.Routes[p]; r.Blackhole {
			got += p.String() + " blackhole\n"
		} else {
			got += fmt.Sprintf("%s %s %s %d\n", p, r.Node, r.Via, r.Encap)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	nat := dataplane.NAT{Masquerade: []netip.Prefix{netip.MustParsePrefix("10.64.0.0/12")},
		Exclude: []netip.Prefix{netip.MustParsePrefix("10.64.0.0/12"), netip.MustParsePrefix("10.80.0.0/16")}}
	if diff := cmp.Diff(nat, s.NAT, compare); diff != "" {
		t.Error(diff)
	}
}

func sorted(routes map[netip.Prefix]dataplane.Route) []netip.Prefix {
	var out []netip.Prefix
	for p := range routes {
		out = append(out, p)
	}
	for i := range out {
		for j := i; j > 0 && out[j].Compare(out[j-1]) < 0; j-- {
			out[j], out[j-1] = out[j-1], out[j]
		}
	}
	return out
}

// TestCrossSubnet: in one subnet there is no need of a tunnel.
func TestCrossSubnet(t *testing.T) {
	for subnet, want := range map[string]dataplane.Encap{"/24": dataplane.EncapNone, "/32": dataplane.EncapIPIP, "": dataplane.EncapIPIP} {
		a, b := nodeObject("n1"), nodeObject("n2")
		a.Spec.BGP, b.Spec.BGP = &v3.NodeBGPSpec{IPv4Address: "172.18.0.1" + subnet}, &v3.NodeBGPSpec{IPv4Address: "172.18.0.2" + subnet}
		s := resolved(a, b, blockObject("10.65.0.0/26", "n2", nil),
			poolObject("p", "10.65.0.0/16", func(p *v3.IPPoolSpec) { p.IPIPMode = v3.EncapCrossSubnet }))
		if got := s.Routes[netip.MustParsePrefix("10.65.0.0/26")].Encap; got != want {
			t.Errorf("subnet %q: encapsulation %d, want %d", subnet, got, want)
		}
	}
}

// draw is any object, or that one is gone.
func draw(t *rapid.T) (v3.Key, v3.Object) {
	nodes := []string{"n1", "n2", "n3"}
	gone := rapid.IntRange(0, 3).Draw(t, "gone") == 0
	var o v3.Object
	key := v3.Key{}
	switch rapid.IntRange(0, 2).Draw(t, "kind") {
	case 0:
		key = v3.Key{Kind: v3.KindNode, Name: rapid.SampledFrom(nodes).Draw(t, "node")}
		n := nodeObject(key.Name, rapid.SampledFrom([][]string{nil, {"172.18.0.1"}, {"172.18.0.2", "fd18::2"}}).Draw(t, "addresses")...)
		if rapid.Bool().Draw(t, "bgp") {
			n.Spec.BGP = &v3.NodeBGPSpec{IPv4Address: rapid.SampledFrom([]string{"172.18.0.7/24", "172.19.0.1/24", "junk"}).Draw(t, "bgp address")}
			n.Spec.IPv4VXLANTunnelAddr, n.Spec.VXLANTunnelMACAddr = "10.65.0.1", rapid.SampledFrom([]string{"", "66:00:00:00:00:01"}).Draw(t, "mac")
		}
		o = n
	case 1:
		key = v3.Key{Kind: v3.KindIPPool, Name: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "pool")}
		modes := rapid.SampledFrom([]v3.EncapMode{v3.EncapNever, v3.EncapAlways, v3.EncapCrossSubnet})
		o = poolObject(key.Name, rapid.SampledFrom([]string{"10.65.0.0/16", "10.65.0.0/24", "fd65::/64", "junk"}).Draw(t, "cidr"), func(p *v3.IPPoolSpec) {
			p.VXLANMode, p.IPIPMode, p.NATOutgoing = modes.Draw(t, "vxlan"), modes.Draw(t, "ipip"), rapid.Bool().Draw(t, "nat")
		})
	default:
		cidr := rapid.SampledFrom([]string{"10.65.0.0/26", "10.65.0.64/26", "10.65.0.1/32", "fd65::/122", "junk"}).Draw(t, "block")
		borrowed := map[int]string{}
		for range rapid.IntRange(0, 2).Draw(t, "borrowed") {
			borrowed[rapid.IntRange(0, 7).Draw(t, "ordinal")] = rapid.SampledFrom(nodes).Draw(t, "borrower")
		}
		o = blockObject(cidr, rapid.SampledFrom(append(nodes, "")).Draw(t, "owner"), borrowed)
		key = v3.Key{Kind: v3.KindIPAMBlock, Name: rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "name")}
		o.SetName(key.Name)
	}
	if gone {
		return key, nil
	}
	return key, o
}

// TestResolverEqualsResolve after any sequence of updates, and Changes name exactly what moved.
func TestResolverEqualsResolve(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, held, s := NewResolver("n1"), map[v3.Key]v3.Object{}, dataplane.NewState()
		for range rapid.IntRange(1, 15).Draw(t, "flushes") {
			before := s.Copy()
			for range rapid.IntRange(0, 4).Draw(t, "updates") {
				key, o := draw(t)
				r.Update(key, o)
				if o == nil {
					delete(held, key)
				} else {
					held[key] = o
				}
			}
			c := dataplane.NewChanges()
			r.Flush(s, c)
			var objects []v3.Object
			for _, o := range held {
				objects = append(objects, o)
			}
			want := dataplane.NewState()
			Resolve("n1", objects, want)
			if diff := cmp.Diff(want, s, compare); diff != "" {
				t.Fatalf("-from scratch +incremental:\n%s", diff)
			}
			if diff := cmp.Diff(dataplane.Diff(before, s), c, compare); diff != "" {
				t.Fatalf("changes: -what moved +what was named:\n%s", diff)
			}
		}
	})
}

func BenchmarkBlockUpdate(b *testing.B) {
	r, s := NewResolver("n1"), dataplane.NewState()
	for i := range 100 {
		name := fmt.Sprint("n", i)
		r.Update(v3.Key{Kind: v3.KindNode, Name: name}, nodeObject(name, fmt.Sprint("172.18.0.", i+1)))
		for j := range 10 {
			o := blockObject(fmt.Sprintf("10.%d.%d.0/26", i, j), name, nil)
			r.Update(v3.KeyOf(o), o)
		}
	}
	r.Flush(s, dataplane.NewChanges())
	o := [2]*v3.IPAMBlock{blockObject("10.5.5.0/26", "n5", map[int]string{1: "n6"}), blockObject("10.5.5.0/26", "n5", nil)}
	key := v3.Key{Kind: v3.KindIPAMBlock, Name: o[0].Name}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		r.Update(key, o[i%2])
		c := dataplane.NewChanges()
		r.Flush(s, c)
		if len(c.Routes) != 1 {
			b.Fatal("want one route to move")
		}
	}
}
