package flatten

import (
	"maps"
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"github.com/felid-net/felid/dataplane"
)

// TestNextIsNew: what is kept of sets over changes is what is read from them anew.
func TestNextIsNew(t *testing.T) {
	nets := prefixes("10.0.0.1/32", "10.0.0.2/32", "10.0.0.3/32", "10.0.0.0/30", "10.0.0.0/24", "0.0.0.0/0", "::/0", "fd00::1/128", "fd00::2/128", "fd00::/64", "10.0.1.0/32")
	kept := 0
	rapid.Check(t, func(t *rapid.T) {
		set := &dataplane.IPSet{ID: "x", Members: map[dataplane.Member]struct{}{}}
		for i := range 60 { // so that changes are few in comparison
			set.Members[dataplane.Member{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 9, 0, byte(2 * i)}), 32)}] = struct{}{}
		}
		sets := map[dataplane.IPSetID]*dataplane.IPSet{"x": set}
		s := NewSets(sets)
		for range rapid.IntRange(1, 6).Draw(t, "changes") {
			if rapid.Bool().Draw(t, "read before") {
				s.nets("x")
			}
			c := dataplane.NewChanges()
			delta := &dataplane.SetDelta{}
			for _, m := range rapid.SliceOfNDistinct(rapid.SampledFrom(nets), 0, 4, rapid.ID).Draw(t, "members") {
				member := dataplane.Member{Prefix: m}
				if _, ok := set.Members[member]; ok {
					delete(set.Members, member)
					delta.Removed = append(delta.Removed, member)
				} else {
					set.Members[member] = struct{}{}
					delta.Added = append(delta.Added, member)
				}
			}
			if c.IPSets["x"] = delta; rapid.IntRange(0, 9).Draw(t, "as a whole") == 0 {
				c.IPSets["x"] = nil
			}
			s = s.Next(sets, c)
			if _, ok := s.addrs["x"]; ok {
				kept++
			}
			if got, want := s.nets("x"), NewSets(sets).nets("x"); !got.Equal(want) {
				t.Fatalf("%v of %v: %v, want %v", delta, set.Members, got, want)
			}
		}
	})
	if kept < 20 {
		t.Errorf("%d sets were kept: too few to mean anything", kept)
	}
}

func BenchmarkNext(b *testing.B) {
	set := &dataplane.IPSet{ID: "x", Members: map[dataplane.Member]struct{}{}}
	for i := range 50000 {
		set.Members[dataplane.Member{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 14), byte(i >> 7), byte(2 * i)}), 32)}] = struct{}{}
	}
	sets := map[dataplane.IPSetID]*dataplane.IPSet{"x": set}
	one := dataplane.Member{Prefix: netip.MustParsePrefix("10.200.0.1/32")}
	added := maps.Clone(set.Members)
	added[one] = struct{}{}
	for name, changes := range map[string]*dataplane.Changes{"one member": {IPSets: map[dataplane.IPSetID]*dataplane.SetDelta{"x": {Added: []dataplane.Member{one}}}}, "anew": nil} {
		b.Run(name, func(b *testing.B) {
			s := NewSets(sets)
			s.nets("x")
			base := s.addrs["x"]
			set.Members = added
			b.ReportAllocs()
			for b.Loop() {
				s.addrs["x"] = base
				s = s.Next(sets, changes)
				s.nets("x")
			}
		})
	}
}
