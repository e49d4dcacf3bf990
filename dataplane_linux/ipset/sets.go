package ipset

import (
	"fmt"
	"iter"
	"maps"
	"sync/atomic"

	"github.com/felid-net/felid/dataplane/delta"
)

// Config of Sets.
type Config struct {
	Kernel Kernel // required: Dial, or a Twin
	// MaxDestroys is how many sets one ApplyRemoves destroys; 0: 64. The kernel takes its time over each.
	MaxDestroys int
}

// Sets is what the IP sets should hold, and what they are known to hold.
type Sets struct {
	cfg     Config
	sets    map[string]*set     // desired
	dirty   map[string]struct{} // desired, and not as desired
	unused  map[string]*set     // in the kernel, ours, and not desired; nil: not one that was desired before
	known   bool                // what the kernel holds is known, as far as nobody else writes
	epoch   atomic.Uint64       // writes so far
	repairs int                 // not yet reported
	temps   int                 // temporary names given
	members int                 // desired, of all sets

	jobs     []job // room for those of the next attempt
	commands []Command
}

// set is one that is desired.
type set struct {
	header  Header // Type and Family as desired; MaxElem and HashSize as in the kernel
	members *delta.Map[element, struct{}]
	halves  uint8 // which of whole, lower half, upper half are desired; HashNet only
	exists  bool  // in the kernel, with this type and family
	foreign bool  // in the kernel, with another type or family
	rewrite bool  // in the kernel, but to be made anew
	counted int   // what Sets.members counts of it
}

// bits of set.halves
const (
	wholeBit = 1 << iota
	lowerBit
	upperBit
)

// New is Sets that desires nothing yet: ApplyRemoves would remove all that is ours.
func New(cfg Config) *Sets {
	if cfg.MaxDestroys == 0 {
		cfg.MaxDestroys = 64
	}
	return &Sets{
		cfg: cfg, sets: map[string]*set{}, dirty: map[string]struct{}{}, unused: map[string]*set{},
	}
}

// SetDesired says that the set should hold exactly these members. Members are of the set's family and masked; others are broken invariants.
func (s *Sets) SetDesired(name string, t Type, f Family, members iter.Seq[Member]) {
	if !ours(name) || len(name) > MaxName || (t != HashNet && t != HashIPPort) {
		panic(fmt.Sprintf("ipset: set %q of type %q", name, t))
	}
	x := s.sets[name]
	if x == nil || x.header.Type != t || x.header.Family != f {
		x = s.replace(name, t, f, x)
	}
	want := make(map[element]struct{})
	x.halves = 0
	for m := range members {
		if bit, ok := halfBit(m); ok {
			x.halves |= bit
			continue
		}
		want[newElement(f, m)] = struct{}{}
	}
	for e := range x.members.AllDesired() {
		if _, half := e.isHalf(); !half {
			if _, ok := want[e]; !ok {
				x.members.RemoveDesired(e)
			}
		}
	}
	for e := range want {
		x.members.SetDesired(e, struct{}{})
	}
	x.setHalves()
	s.touch(name, x)
}

// replace makes room for a set under a name that was free, or had another type.
func (s *Sets) replace(name string, t Type, f Family, old *set) *set {
	unused, there := s.unused[name]
	delete(s.unused, name)
	x := unused
	if x == nil || x.header.Type != t || x.header.Family != f {
		x = &set{header: Header{Type: t, Family: f}, members: delta.New[element, struct{}]()}
		if there || old != nil && (old.exists || old.foreign) {
			s.known = false // the kernel holds a set of which nothing is remembered
		}
	}
	if old != nil {
		s.count(old, 0)
	}
	s.sets[name] = x
	return x
}

// AddMembers adds to what a set should hold. The set must have been desired.
func (s *Sets) AddMembers(name string, members iter.Seq[Member]) {
	s.move(name, members, func(x *set, e element) { x.members.SetDesired(e, struct{}{}) }, func(x *set, bit uint8) { x.halves |= bit })
}

// RemoveMembers takes from what a set should hold. The set must have been desired.
func (s *Sets) RemoveMembers(name string, members iter.Seq[Member]) {
	s.move(name, members, func(x *set, e element) { x.members.RemoveDesired(e) }, func(x *set, bit uint8) { x.halves &^= bit })
}

func (s *Sets) move(name string, members iter.Seq[Member], element func(*set, element), half func(*set, uint8)) {
	x := s.sets[name]
	if x == nil {
		panic(fmt.Sprintf("ipset: members for set %q, which is not desired", name))
	}
	for m := range members {
		if bit, ok := halfBit(m); ok {
			half(x, bit)
			continue
		}
		element(x, newElement(x.header.Family, m))
	}
	x.setHalves()
	s.touch(name, x)
}

// Remove says that the set should not be there. It goes with ApplyRemoves.
func (s *Sets) Remove(name string) {
	x := s.sets[name]
	if x == nil {
		return
	}
	s.count(x, 0)
	if x.exists || x.foreign {
		for e := range x.members.AllDesired() {
			x.members.RemoveDesired(e)
		}
		s.unused[name] = x
	}
	delete(s.sets, name)
	delete(s.dirty, name)
}

// Has tells whether the set is desired.
func (s *Sets) Has(name string) bool { return s.sets[name] != nil }

// Names are those of all desired sets.
func (s *Sets) Names() iter.Seq[string] { return maps.Keys(s.sets) }

// Count is the number of sets and members desired.
func (s *Sets) Count() (sets, members int) { return len(s.sets), s.members }

// count brings the number of members in line with a set, of which n are desired.
func (s *Sets) count(x *set, n int) {
	s.members += n - x.counted
	x.counted = n
}

// Pending tells whether ApplyAdds or ApplyRemoves would write, as far as is known.
func (s *Sets) Pending() bool { return !s.known || len(s.dirty) > 0 || len(s.unused) > 0 }

// Forget makes the next Apply read the kernel's sets first.
func (s *Sets) Forget() { s.known = false }

// halfBit finds the prefixes that have to do with one of length 0.
func halfBit(m Member) (uint8, bool) {
	a := m.Prefix.Addr()
	switch {
	case m.Prefix.Bits() == 0:
		return wholeBit, true
	case m.Prefix.Bits() == 1 && a.AsSlice()[0]&0x80 == 0:
		return lowerBit, true
	case m.Prefix.Bits() == 1:
		return upperBit, true
	}
	return 0, false
}

// setHalves desires each half that is a member itself, or by the whole.
func (x *set) setHalves() {
	x.setHalf(half(false), x.halves&(wholeBit|lowerBit) != 0)
	x.setHalf(half(true), x.halves&(wholeBit|upperBit) != 0)
}

func (x *set) setHalf(e element, desired bool) {
	if desired {
		x.members.SetDesired(e, struct{}{})
	} else {
		x.members.RemoveDesired(e)
	}
}

func (x *set) inOrder() bool {
	return x.exists && !x.foreign && !x.rewrite && !x.members.Pending()
}

// touch files a set by whether there is something to do.
func (s *Sets) touch(name string, x *set) {
	s.count(x, x.members.LenDesired())
	if x.inOrder() {
		delete(s.dirty, name)
	} else {
		s.dirty[name] = struct{}{}
	}
}
