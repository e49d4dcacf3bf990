package linux

import (
	"net/netip"
	"slices"

	"github.com/felid-net/felid/dataplane"
)

// cover is what the rules of some policies may match, told in few cheap matches: more than they do match, never less. A packet outside it needs
// not cross them.
type cover struct {
	family  Family
	reaches []reach // by protocol
}

// reach is what of one protocol (0: of all) is covered.
type reach struct {
	protocol uint8
	all      bool // everything
	ports    []dataplane.PortRange
	src, dst []netip.Prefix
	sets     []string // matches
}

// maxReachNets is how many nets of a side are told apart.
const maxReachNets = 3

// narrowing is what keeps a rule from matching all packets of its protocol.
type narrowing uint8

const (
	byNothing narrowing = iota
	byPorts
	byDst
	bySrc
	byDstSet
	bySrcSet
)

// narrowedBy chooses what a rule with this protocol is known by. A Log rule is known by nothing: a packet must cross it once, and overlapping
// matches would lead it there twice.
func narrowedBy(f Family, protocol uint8, rule *dataplane.Rule) narrowing {
	limited := func(nets []netip.Prefix) bool {
		return slices.ContainsFunc(nets, hasFamily(f)) && !slices.ContainsFunc(nets, func(p netip.Prefix) bool { return p.Bits() == 0 })
	}
	switch {
	case rule.Action == dataplane.Log:
		return byNothing
	case hasPorts(protocol) && len(rule.Dst.Ports) > 0 && len(rule.Dst.PortSets) == 0:
		return byPorts
	case limited(rule.Dst.Nets):
		return byDst
	case limited(rule.Src.Nets):
		return bySrc
	case len(rule.Dst.IPSets) > 0:
		return byDstSet
	case len(rule.Src.IPSets) > 0:
		return bySrcSet
	}
	return byNothing
}

// coverOf is that of one direction of a policy.
func coverOf(f Family, ruleList []dataplane.Rule) *cover {
	c := &cover{family: f}
	for i := range ruleList {
		if rule := &ruleList[i]; !never(f, rule) {
			c.add(rule)
		}
	}
	return c
}

func (c *cover) add(rule *dataplane.Rule) {
	protocol, _ := protocolOf(c.family, rule)
	if rule.Action == dataplane.Log {
		protocol = 0
	}
	r := c.reach(protocol)
	switch narrowedBy(c.family, protocol, rule) {
	case byPorts:
		r.ports = append(r.ports, rule.Dst.Ports...)
	case byDst:
		r.dst = append(r.dst, familyNets(c.family, rule.Dst.Nets)...)
	case bySrc:
		r.src = append(r.src, familyNets(c.family, rule.Src.Nets)...)
	case byDstSet:
		r.addSet("-m set --match-set " + setName(c.family, string(rule.Dst.IPSets[0])) + destination.set)
	case bySrcSet:
		r.addSet("-m set --match-set " + setName(c.family, string(rule.Src.IPSets[0])) + source.set)
	default:
		r.all = true
	}
}

func (r *reach) addSet(match string) {
	if !slices.Contains(r.sets, match) {
		r.sets = append(r.sets, match)
	}
}

// reach finds that of a protocol, or makes one.
func (c *cover) reach(protocol uint8) *reach {
	i, found := slices.BinarySearchFunc(c.reaches, protocol, func(r reach, p uint8) int { return int(r.protocol) - int(p) })
	if !found {
		c.reaches = slices.Insert(c.reaches, i, reach{protocol: protocol})
	}
	return &c.reaches[i]
}

// join widens c by o.
func (c *cover) join(o *cover) {
	for i := range o.reaches {
		from := &o.reaches[i]
		r := c.reach(from.protocol)
		r.all = r.all || from.all
		r.ports, r.src, r.dst = append(r.ports, from.ports...), append(r.src, from.src...), append(r.dst, from.dst...)
		for _, match := range from.sets {
			r.addSet(match)
		}
	}
}

// matches are the beginnings of rules one of which at least matches each covered packet; one that is empty covers all.
func (c *cover) matches() []string {
	if r := c.reaches; len(r) > 0 && r[0].protocol == 0 && r[0].all {
		return anyMatch
	}
	var out []string
	for i := range c.reaches {
		r := &c.reaches[i]
		protocol := ""
		if r.protocol != 0 {
			protocol = "-p " + protocolName(r.protocol) + " "
		}
		if r.all {
			out = append(out, protocol)
			continue
		}
		for _, list := range multiport(mergePorts(r.ports)) {
			out = append(out, protocol+"-m multiport "+destination.ports+list+" ")
		}
		for _, n := range mergeNets(r.dst) {
			out = append(out, destination.addr+n.String()+" "+protocol)
		}
		for _, n := range mergeNets(r.src) {
			out = append(out, source.addr+n.String()+" "+protocol)
		}
		for _, match := range r.sets {
			out = append(out, protocol+match)
		}
	}
	return out
}

// mergePorts is the union of ranges, sorted, none touching another.
func mergePorts(ranges []dataplane.PortRange) []dataplane.PortRange {
	sorted := slices.SortedFunc(slices.Values(ranges), func(a, b dataplane.PortRange) int { return int(a.Min) - int(b.Min) })
	var out []dataplane.PortRange
	for _, r := range sorted {
		if n := len(out); n > 0 && int(r.Min) <= int(out[n-1].Max)+1 {
			out[n-1].Max = max(out[n-1].Max, r.Max)
			continue
		}
		out = append(out, r)
	}
	return out
}

// mergeNets are at most maxReachNets prefixes that cover all; neighbours that have most bits in common become one.
func mergeNets(nets []netip.Prefix) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range slices.SortedFunc(slices.Values(nets), netip.Prefix.Compare) {
		if n := len(out); n > 0 && out[n-1].Overlaps(p) { // sorted: the wider comes first
			continue
		}
		out = append(out, p)
	}
	for len(out) > maxReachNets {
		best, at := netip.Prefix{}, 0
		for i := range len(out) - 1 {
			if both := spanning(out[i], out[i+1]); !best.IsValid() || both.Bits() > best.Bits() {
				best, at = both, i
			}
		}
		out = slices.Replace(out, at, at+2, best)
	}
	return out
}

// spanning is the longest prefix that covers both, of one family.
func spanning(a, b netip.Prefix) netip.Prefix {
	for bits := min(a.Bits(), b.Bits()); ; bits-- {
		if p := netip.PrefixFrom(a.Addr(), bits).Masked(); p.Contains(b.Addr()) {
			return p
		}
	}
}
