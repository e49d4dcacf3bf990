package flatten

import (
	"slices"

	"github.com/felid-net/felid/dataplane"
)

// CoveredBy tells whether every packet that r may ever match is matched by one of the earlier rules, and by which of them, by index: none
// of these can be left out. It holds whoever the members of IP sets are: a set is only known to be within itself. Log rules cover
// nothing. A rule that nothing matches is not covered.
func (s *Sets) CoveredBy(r *dataplane.Rule, earlier []*dataplane.Rule) ([]int, bool) {
	plain, _ := withoutSets(*r, false)
	rest := sameFamily(s.exactOf(&plain))
	if len(rest) == 0 {
		return nil, false
	}
	var by []int
	var parts [][]Match
	for i, e := range earlier {
		if e.Action == dataplane.Log || !s.within(r, e) {
			continue
		}
		if known := s.known(e); len(known) > 0 {
			by, parts = append(by, i), append(parts, known)
		}
	}
	if !coveredBy(rest, parts) {
		return nil, false
	}
	for i := len(by) - 1; i >= 0; i-- { // the last ones are the least likely to be meant
		if others := slices.Delete(slices.Clone(parts), i, i+1); coveredBy(rest, others) {
			by, parts = slices.Delete(by, i, i+1), others
		}
	}
	return by, true
}

// known are the packets that a rule matches where all that it asks by sets of addresses is given.
func (s *Sets) known(r *dataplane.Rule) []Match {
	m, ok := s.narrow[r]
	if !ok {
		if plain, some := withoutSets(*r, true); some {
			m = s.exactOf(&plain)
		}
		s.narrow[r] = m
	}
	return m
}

func coveredBy(rest []Match, parts [][]Match) bool {
	for _, p := range parts {
		rest = minusAll(rest, p)
	}
	return len(sameFamily(rest)) == 0
}

// within tells whether what e asks of addresses by IP sets is what r asks, too.
func (s *Sets) within(r, e *dataplane.Rule) bool {
	sides := [][2]*dataplane.Side{{&r.Src, &e.Src}, {&r.Dst, &e.Dst}}
	return !slices.ContainsFunc(sides, func(side [2]*dataplane.Side) bool {
		in, of := side[0], side[1]
		return !s.subset(of.IPSets, in.IPSets, e.Action != dataplane.Allow) ||
			!s.subset(of.NotIPSets, in.NotIPSets, false) || !s.subset(of.NotPortSets, in.NotPortSets, false)
	})
}

// subset tells whether each of ids is among others. With byText, a set that means the same will do: in a rule that does not allow, it has
// whatever such a set has in one that does.
func (s *Sets) subset(ids, others []dataplane.IPSetID, byText bool) bool {
	return !slices.ContainsFunc(ids, func(id dataplane.IPSetID) bool {
		return !slices.ContainsFunc(others, func(o dataplane.IPSetID) bool {
			return o == id || byText && s.sets[o].Text == s.sets[id].Text
		})
	})
}

// withoutSets is a rule without what it asks by IP sets. Where it names ports by sets, too, these may be any, or (narrow) none but those
// that it gives by number: false where there are none.
func withoutSets(r dataplane.Rule, narrow bool) (dataplane.Rule, bool) {
	ok := true
	for _, side := range []*dataplane.Side{&r.Src, &r.Dst} {
		if len(side.PortSets) > 0 && !narrow {
			side.Ports = []dataplane.PortRange{{Max: 65535}}
		}
		ok = ok && (len(side.PortSets) == 0 || len(side.Ports) > 0)
		side.IPSets, side.NotIPSets, side.PortSets, side.NotPortSets = nil, nil, nil, nil
	}
	return r, ok
}
