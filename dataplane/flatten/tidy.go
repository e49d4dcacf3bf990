package flatten

import (
	"math/bits"
	"slices"

	"github.com/felid-net/felid/dataplane"
)

const (
	// reach is how far apart rules are looked at together, so that the work for a list grows with its length, not with its square.
	reach = 128
	// maxPieces is in how many pieces what is left of a rule is held to find that nothing is left.
	maxPieces = 32
)

// tidy is a list that does the same to every packet, with fewer rules: none that is never reached, none whose packets fare the same
// without it, and one in the place of two that differ in one set. Rules that may change places stand in one order, wherever they came from.
func tidy(rules []Rule) []Rule {
	for {
		before := len(rules)
		rules = merge(needed(ordered(rules)))
		if len(rules) == before {
			return ordered(rules)
		}
	}
}

// needed leaves out what makes no difference. Each is looked at in the list as it is without those left out before.
func needed(rules []Rule) []Rule {
	rules = slices.Clone(rules)
	out := make([]Rule, 0, len(rules))
	for i := range rules {
		r := &rules[i]
		if !r.possible() || shadowed(r.Match, out) {
			continue
		}
		heirs, alike := decidedAlike(r, rules[i+1:])
		if !alike {
			out = append(out, *r)
			continue
		}
		for _, n := range heirs {
			rules[i+1+n].standsFor(r)
		}
	}
	return out
}

// shadowed tells whether earlier rules have all of m.
func shadowed(m Match, earlier []Rule) bool {
	earlier = earlier[max(0, len(earlier)-reach):]
	example, ok := m.Example()
	if ok && !contained(earlier, &example) {
		return false
	}
	rest := []Match{m}
	for i := len(earlier) - 1; i >= 0 && len(rest) > 0 && len(rest) <= maxPieces; i-- {
		rest = left(rest, earlier[i].Match)
	}
	return len(rest) == 0
}

// contained tells whether any of rules has a packet.
func contained(rules []Rule, p *Packet) bool {
	for i := range rules {
		if rules[i].contains(p) {
			return true
		}
	}
	return false
}

// decidedAlike tells whether later rules do the same to all packets of r, and which.
func decidedAlike(r *Rule, later []Rule) (by []int, alike bool) {
	later = later[:min(len(later), reach)]
	rest := []Match{r.Match}
	for i := range later {
		next := &later[i]
		if !anyMeets(rest, &next.Match) {
			continue
		}
		if next.Action != r.Action {
			return nil, false
		}
		by = append(by, i)
		if rest = left(rest, next.Match); len(rest) == 0 || len(rest) > maxPieces {
			break
		}
	}
	return by, len(rest) == 0
}

// left is what is possible of matches without another, whoever the members of sets are.
func left(matches []Match, without Match) []Match {
	if !anyMeets(matches, &without) {
		return matches
	}
	rest := each(matches, func(m Match) []Match { return m.knownLess(without) })
	return slices.DeleteFunc(rest, func(m Match) bool { return !m.possible() })
}

// merge makes one rule of two with the same action that are equal but for one set, where the later one may stand in the place of the earlier:
// those between do the same, or have nothing of it.
func merge(rules []Rule) []Rule {
	out := make([]Rule, 0, len(rules))
	for _, r := range rules {
		if n := partner(out, &r); n >= 0 {
			out[n].take(&r)
		} else {
			out = append(out, r)
		}
	}
	return out
}

// partner is the index of the rule that r may be merged into; -1 for none.
func partner(rules []Rule, r *Rule) int {
	for i := len(rules) - 1; i >= max(0, len(rules)-reach); i-- {
		other := &rules[i]
		if other.Action != r.Action {
			if other.Match.meets(&r.Match) {
				return -1
			}
		} else if other.mergeable(&r.Match) {
			return i
		}
	}
	return -1
}

// mergeable tells whether two matches differ in one set at most, and ask for the same IP sets.
func (m *Match) mergeable(o *Match) bool {
	if m.SrcSet != o.SrcSet || m.DstSet != o.DstSet {
		return false
	}
	n := 0
	if m.Protocols != o.Protocols {
		n++
	}
	if !m.DstPorts.Equal(o.DstPorts) {
		n++
	}
	if n < 2 && !m.SrcPorts.Equal(o.SrcPorts) {
		n++
	}
	if n < 2 && !m.Src.Equal(o.Src) {
		n++
	}
	return n < 2 && (n == 0 || m.Dst.Equal(o.Dst)) // one set may differ
}

// take adds the packets of a rule that differs in one set.
func (r *Rule) take(o *Rule) {
	r.Match = Match{
		Protocols: r.Protocols.Union(o.Protocols), Src: r.Src.Union(o.Src), Dst: r.Dst.Union(o.Dst),
		SrcPorts: r.SrcPorts.Union(o.SrcPorts), DstPorts: r.DstPorts.Union(o.DstPorts),
		SrcSet: r.SrcSet, DstSet: r.DstSet,
	}
	r.standsFor(o)
}

// standsFor notes that packets of another Pass are this one's now.
func (r *Rule) standsFor(o *Rule) {
	if r.Action != dataplane.Pass {
		return
	}
	for _, from := range append([]Origin{o.From}, o.also...) {
		if from != r.From && !slices.Contains(r.also, from) {
			r.also = append(slices.Clip(r.also), from)
		}
	}
}

// cost is about what rules cost a dataplane that lists addresses as prefixes of one family: perRule for each rule, family, and protocol where these are
// few, and something for each item of a list.
func cost(rules []Rule) int {
	sum := 0
	for i := range rules {
		m := &rules[i].Match
		families := 1
		if !m.Src.All() || !m.Dst.All() || m.symbolic() {
			families = m.families()
		}
		protocols := 1
		if n := protocolCount(m.Protocols); n <= 4 {
			protocols = n // an ACL each
		}
		sum += protocols * (families*perRule + items(m.Src) + items(m.Dst) + len(m.SrcPorts.ranges) + len(m.DstPorts.ranges))
	}
	return sum
}

const perRule = 64

// items is about how many prefixes a set is.
func items(a Addrs) int {
	n := 0
	for _, r := range a.ranges {
		if n++; r.From() != r.To() {
			if _, one := r.Prefix(); !one {
				n += 15
			}
		}
	}
	return n
}

func protocolCount(p Protocols) int {
	n := 256
	for _, word := range p.missing {
		n -= bits.OnesCount64(word)
	}
	return n
}

// families is of how many families a packet can be in m: both of its addresses are of one.
func (m Match) families() int {
	n := 0
	if m.Src.hasIPv4() && m.Dst.hasIPv4() {
		n++
	}
	if m.Src.hasIPv6() && m.Dst.hasIPv6() {
		n++
	}
	return n
}

// possible tells whether there can be a packet in m.
func (m Match) possible() bool { return !m.Empty() && m.families() > 0 }
