package policy

import (
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/policy/selector"
)

// livePeer is a peer that Resolver follows.
type livePeer struct {
	*peer
	sets []*liveSet // that it contributes to
	// policies that select it, if it is elected: the local endpoint that the State holds.
	policies []*livePolicy
	elected  bool
	dirty    bool // elected, and to be looked at by the next Flush
}

// livePolicy is a policy that Resolver follows.
type livePolicy struct {
	*policy
	peers []*livePeer // elected endpoints that it selects
}

// program is a policy's or a profile's rules, in the State while they have users.
type program struct {
	id dataplane.PolicyID
	// users are one for a policy that selects an elected endpoint, and each elected endpoint that names the profile.
	users int
	// stale: the object has changed since it was compiled.
	stale bool
	// installed is what the State holds; nil where it holds nothing, as of a profile without rules.
	installed *compiled
}

// liveSet is an IP set in the State.
type liveSet struct {
	*setSpec
	users int // programs that refer to it
	set   *dataplane.IPSet
	// repeats counts, for members that more than one contribution has, those beyond the first.
	repeats map[dataplane.Member]int
	// moved since the last Flush: true for added, false for removed. Not kept while fresh.
	moved map[dataplane.Member]bool
	fresh bool // made since the last Flush
	peers *selector.Selector
}

func newLiveSet(spec *setSpec) *liveSet {
	return &liveSet{setSpec: spec, set: newIPSet(spec), fresh: true, repeats: map[dataplane.Member]int{}, moved: map[dataplane.Member]bool{}}
}

func (s *liveSet) add(m dataplane.Member) {
	if _, ok := s.set.Members[m]; ok {
		s.repeats[m]++
		return
	}
	s.set.Members[m] = struct{}{}
	s.note(m, true)
}

func (s *liveSet) remove(m dataplane.Member) {
	switch n := s.repeats[m]; {
	case n > 1:
		s.repeats[m] = n - 1
	case n == 1:
		delete(s.repeats, m)
	default:
		delete(s.set.Members, m)
		s.note(m, false)
	}
}

// note keeps track of what moved; there and back is nothing.
func (s *liveSet) note(m dataplane.Member, added bool) {
	if s.fresh {
		return
	}
	if _, ok := s.moved[m]; ok {
		delete(s.moved, m)
		return
	}
	s.moved[m] = added
}

// delta is what moved since the last Flush; nil where nothing did.
func (s *liveSet) delta() *dataplane.SetDelta {
	if len(s.moved) == 0 {
		return nil
	}
	d := &dataplane.SetDelta{}
	for m, added := range s.moved {
		if added {
			d.Added = append(d.Added, m)
		} else {
			d.Removed = append(d.Removed, m)
		}
	}
	clear(s.moved)
	return d
}
