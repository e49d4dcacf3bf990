package flatten

import (
	"net/netip"
	"slices"

	"go4.org/netipx"
)

// Addrs is an immutable set of addresses of both families. The zero value has all of them.
type Addrs struct {
	limited bool
	ranges  []netipx.IPRange // sorted, IPv4 first, not touching one another
}

// families are the ranges of everything.
var families = []netipx.IPRange{
	netipx.RangeOfPrefix(netip.MustParsePrefix("0.0.0.0/0")),
	netipx.RangeOfPrefix(netip.MustParsePrefix("::/0")),
}

// AddrsOf is the union of prefixes; of none, the empty set.
func AddrsOf(prefixes ...netip.Prefix) Addrs {
	sorted := make([]netipx.IPRange, len(prefixes))
	for i, p := range prefixes {
		sorted[i] = netipx.RangeOfPrefix(p)
	}
	return addrsOfRanges(sorted)
}

// addrsOfRanges is the union of ranges, which it takes over.
func addrsOfRanges(ranges []netipx.IPRange) Addrs {
	slices.SortFunc(ranges, func(a, b netipx.IPRange) int { return a.From().Compare(b.From()) })
	out := ranges[:0]
	for _, r := range ranges {
		out = appendRange(out, r)
	}
	return addrsOf(out)
}

// appendRange adds a range that does not begin before the last.
func appendRange(ranges []netipx.IPRange, r netipx.IPRange) []netipx.IPRange {
	last := len(ranges) - 1
	if last < 0 || !touches(ranges[last], r) {
		return append(ranges, r)
	}
	if r.To().Compare(ranges[last].To()) > 0 {
		ranges[last] = netipx.IPRangeFrom(ranges[last].From(), r.To())
	}
	return ranges
}

// addrsOf takes normal ranges over.
func addrsOf(ranges []netipx.IPRange) Addrs {
	if slices.Equal(ranges, families) {
		return Addrs{}
	}
	return Addrs{limited: true, ranges: ranges}
}

// touches tells whether b, which does not begin before a, overlaps it or follows at once.
func touches(a, b netipx.IPRange) bool {
	return b.From().Compare(a.To()) <= 0 || a.To().Next() == b.From()
}

// Family is all addresses of family 4 or 6, and for 0 those of both.
func Family(version uint8) Addrs {
	switch version {
	case 4:
		return addrsOf(families[:1])
	case 6:
		return addrsOf(families[1:])
	}
	return Addrs{}
}

// All tells whether every address of both families is in a.
func (a Addrs) All() bool { return !a.limited }

// Empty tells whether none is.
func (a Addrs) Empty() bool { return a.limited && len(a.ranges) == 0 }

func (a Addrs) hasIPv4() bool { return a.All() || len(a.ranges) > 0 && a.ranges[0].From().Is4() }

func (a Addrs) hasIPv6() bool {
	return a.All() || len(a.ranges) > 0 && a.ranges[len(a.ranges)-1].From().Is6()
}

// AddrsKey is comparable. Equal keys are of equal sets; equal sets that were made apart have other keys.
type AddrsKey struct {
	first *netipx.IPRange
	n     int
}

// Key is that of a set that has not all addresses.
func (a Addrs) Key() AddrsKey {
	if len(a.ranges) == 0 {
		return AddrsKey{}
	}
	return AddrsKey{&a.ranges[0], len(a.ranges)}
}

// Contains tells whether ip is in a.
func (a Addrs) Contains(ip netip.Addr) bool {
	if a.All() {
		return true
	}
	_, found := slices.BinarySearchFunc(a.ranges, ip, func(r netipx.IPRange, ip netip.Addr) int {
		switch {
		case r.To().Compare(ip) < 0:
			return -1
		case r.From().Compare(ip) > 0:
			return 1
		}
		return 0
	})
	return found
}

// Intersect is what is in both.
func (a Addrs) Intersect(b Addrs) Addrs {
	if a.All() {
		return b
	}
	if b.All() {
		return a
	}
	var out []netipx.IPRange
	a.common(b, func(r netipx.IPRange) bool { out = append(out, r); return true })
	return Addrs{limited: true, ranges: out}
}

// common yields the ranges that are in both of two limited sets, in order, until yield is false. The work is for the smaller one, where it is
// much smaller.
func (a Addrs) common(b Addrs, yield func(netipx.IPRange) bool) {
	x, y := a.ranges, b.ranges
	for len(x) > 0 && len(y) > 0 {
		r, s := x[0], y[0]
		low, high := r.From(), r.To()
		switch {
		case high.Compare(s.From()) < 0:
			x = from(x, s.From())
			continue
		case s.To().Compare(low) < 0:
			y = from(y, low)
			continue
		}
		if low.Compare(s.From()) < 0 {
			low = s.From()
		}
		if high.Compare(s.To()) < 0 {
			x = x[1:]
		} else {
			high = s.To()
			y = y[1:]
		}
		if !yield(netipx.IPRangeFrom(low, high)) {
			return
		}
	}
}

// from leaves out ranges that end before an address, as the first one does.
func from(ranges []netipx.IPRange, ip netip.Addr) []netipx.IPRange {
	low, high := 0, 1 // the range at low ends before
	for high < len(ranges) && ranges[high].To().Compare(ip) < 0 {
		low, high = high, 2*high
	}
	high = min(high, len(ranges))
	n, _ := slices.BinarySearchFunc(ranges[low+1:high], ip, func(r netipx.IPRange, ip netip.Addr) int {
		if r.To().Compare(ip) < 0 {
			return -1
		}
		return 1
	})
	return ranges[low+1+n:]
}

// overlaps tells whether anything is in both; it is cheaper than an intersection.
func (a Addrs) overlaps(b Addrs) bool {
	if a.All() || b.All() {
		return !a.Empty() && !b.Empty()
	}
	found := false
	a.common(b, func(netipx.IPRange) bool { found = true; return false })
	return found
}

// within tells whether all of a is in b.
func (a Addrs) within(b Addrs) bool {
	switch {
	case b.All():
		return true
	case a.All():
		return false
	}
	rest := b.ranges
	for _, r := range a.ranges {
		for len(rest) > 0 && rest[0].To().Compare(r.From()) < 0 {
			rest = from(rest, r.From())
		}
		if len(rest) == 0 || r.From().Compare(rest[0].From()) < 0 || rest[0].To().Compare(r.To()) < 0 {
			return false
		}
	}
	return true
}

// Minus is what is in a and not in b.
func (a Addrs) Minus(b Addrs) Addrs { return a.Intersect(b.complement()) }

func (a Addrs) complement() Addrs {
	if a.All() {
		return AddrsOf()
	}
	out := make([]netipx.IPRange, 0, len(a.ranges)+2)
	rest := a.ranges
	for _, family := range families {
		next := family.From() // the first address that is not looked at yet; invalid after the last of a family
		for ; len(rest) > 0 && family.Contains(rest[0].From()); rest = rest[1:] {
			if next.Less(rest[0].From()) {
				out = append(out, netipx.IPRangeFrom(next, rest[0].From().Prev()))
			}
			next = rest[0].To().Next()
		}
		if next.IsValid() {
			out = append(out, netipx.IPRangeFrom(next, family.To()))
		}
	}
	return addrsOf(out)
}

// Prefixes of one family that make up a, sorted, as few as possible.
func (a Addrs) Prefixes(version uint8) []netip.Prefix {
	if a.All() {
		a.ranges = families
	}
	var out []netip.Prefix
	for _, r := range a.ranges {
		if r.From().Is4() == (version == 4) {
			out = r.AppendPrefixes(out)
		}
	}
	return out
}
