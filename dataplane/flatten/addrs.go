package flatten

import (
	"net/netip"

	"go4.org/netipx"
)

// Addrs is an immutable set of addresses of both families. The zero value has all of them.
type Addrs struct {
	set *netipx.IPSet // nil: all
}

var (
	everywhere = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	allAddrs   = build(func(b *netipx.IPSetBuilder) { addPrefixes(b, everywhere) })
)

func build(fill func(*netipx.IPSetBuilder)) *netipx.IPSet {
	var b netipx.IPSetBuilder
	fill(&b)
	set, err := b.IPSet()
	if err != nil {
		panic("flatten: " + err.Error()) // prefixes of a State are valid
	}
	return set
}

func addPrefixes(b *netipx.IPSetBuilder, prefixes []netip.Prefix) {
	for _, p := range prefixes {
		b.AddPrefix(p)
	}
}

func addrsOf(set *netipx.IPSet) Addrs {
	if set.Equal(allAddrs) {
		return Addrs{}
	}
	return Addrs{set}
}

// AddrsOf is the union of prefixes; of none, the empty set.
func AddrsOf(prefixes ...netip.Prefix) Addrs {
	return addrsOf(build(func(b *netipx.IPSetBuilder) { addPrefixes(b, prefixes) }))
}

// Family is all addresses of family 4 or 6, and for 0 those of both.
func Family(version uint8) Addrs {
	switch version {
	case 4:
		return AddrsOf(everywhere[0])
	case 6:
		return AddrsOf(everywhere[1])
	}
	return Addrs{}
}

// All tells whether every address of both families is in a.
func (a Addrs) All() bool { return a.set == nil }

// Empty tells whether none is.
func (a Addrs) Empty() bool { return a.set != nil && len(a.set.Ranges()) == 0 }

// Contains tells whether ip is in a.
func (a Addrs) Contains(ip netip.Addr) bool { return a.set == nil || a.set.Contains(ip) }

// Intersect is what is in both.
func (a Addrs) Intersect(b Addrs) Addrs {
	if a.All() {
		return b
	}
	if b.All() {
		return a
	}
	return Addrs{build(func(s *netipx.IPSetBuilder) { s.AddSet(a.set); s.Intersect(b.set) })}
}

// Minus is what is in a and not in b.
func (a Addrs) Minus(b Addrs) Addrs {
	if b.All() {
		return AddrsOf()
	}
	from := a.set
	if a.All() {
		from = allAddrs
	}
	return addrsOf(build(func(s *netipx.IPSetBuilder) { s.AddSet(from); s.RemoveSet(b.set) }))
}

// overlaps is cheaper than an intersection.
func (a Addrs) overlaps(b Addrs) bool {
	if a.All() || b.All() {
		return !a.Empty() && !b.Empty()
	}
	return a.set.Overlaps(b.set)
}

// Prefixes of one family that make up a, sorted, as few as possible.
func (a Addrs) Prefixes(version uint8) []netip.Prefix {
	if a.All() {
		a.set = allAddrs
	}
	var out []netip.Prefix
	for _, p := range a.set.Prefixes() {
		if p.Addr().Is4() == (version == 4) {
			out = append(out, p)
		}
	}
	return out
}
