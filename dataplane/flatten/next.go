package flatten

import (
	"net/netip"

	"github.com/felid-net/felid/dataplane"
)

// Next reads from sets as they are after changes, and keeps what s made of those that did not move; s must not be used any more. Nil changes
// may concern every set.
func (s *Sets) Next(sets map[dataplane.IPSetID]*dataplane.IPSet, c *dataplane.Changes) *Sets {
	out := NewSets(sets)
	if c == nil {
		return out
	}
	out.addrs, out.groups = s.addrs, s.groups
	for id, delta := range c.IPSets {
		delete(out.groups, id)
		before, known := out.addrs[id]
		delete(out.addrs, id)
		if set := sets[id]; known && set != nil && delta != nil && set.Type == dataplane.SetNets {
			if after, ok := before.moved(delta, set.Members); ok {
				out.addrs[id] = after
			}
		}
	}
	return out
}

// moved is a with what a delta added, and without what it removed, as long as single addresses were; members are all there are now. False where
// it is not worth the while.
func (a Addrs) moved(delta *dataplane.SetDelta, members map[dataplane.Member]struct{}) (Addrs, bool) {
	if a.All() || len(delta.Added)+len(delta.Removed) > len(members)/8 {
		return a, false
	}
	var added, gone []netip.Prefix
	for _, m := range delta.Added {
		added = append(added, m.Prefix)
	}
	for _, m := range delta.Removed {
		if !m.Prefix.IsSingleIP() {
			return a, false // part of it may be there still
		}
		if !coveredStill(m.Prefix.Addr(), members) {
			gone = append(gone, m.Prefix)
		}
	}
	if len(gone) > 0 {
		a = a.Minus(AddrsOf(gone...))
	}
	if len(added) > 0 {
		a = a.Union(AddrsOf(added...))
	}
	return a, true
}

// coveredStill tells whether a prefix among members has an address.
func coveredStill(a netip.Addr, members map[dataplane.Member]struct{}) bool {
	for bits := range a.BitLen() + 1 {
		p, err := a.Prefix(bits)
		if err != nil {
			panic(err) // an address without a zone has a prefix of every length
		}
		if _, ok := members[dataplane.Member{Prefix: p}]; ok {
			return true
		}
	}
	return false
}
