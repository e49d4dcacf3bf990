package flatten

import (
	"cmp"
	"slices"

	"go4.org/netipx"

	"github.com/felid-net/felid/dataplane"
)

// ordered is a list whose rules stand, among neighbours that do the same, in the order of what they match.
func ordered(rules []Rule) []Rule {
	rules = slices.Clone(rules)
	for rest := rules; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].Action == rest[0].Action {
			n++
		}
		slices.SortStableFunc(rest[:n], compareRules)
		rest = rest[n:]
	}
	return rules
}

func compareRules(a, b Rule) int {
	if c := a.Match.compare(&b.Match); c != 0 {
		return c
	}
	return a.From.compare(b.From)
}

// compare is an order of matches: those that limit ports and protocols first, as they mostly are the narrower ones.
func (m *Match) compare(o *Match) int {
	for _, c := range []int{
		m.DstPorts.compare(o.DstPorts), m.SrcPorts.compare(o.SrcPorts), slices.Compare(m.Protocols.missing[:], o.Protocols.missing[:]),
		m.SrcSet.compare(o.SrcSet), m.DstSet.compare(o.DstSet),
	} {
		if c != 0 {
			return c
		}
	}
	if c := m.Src.compare(o.Src); c != 0 {
		return c
	}
	return m.Dst.compare(o.Dst)
}

func (p Ports) compare(q Ports) int {
	if p.limited != q.limited {
		return limitedFirst(p.limited)
	}
	return slices.CompareFunc(p.ranges, q.ranges, func(a, b dataplane.PortRange) int {
		return cmp.Or(cmp.Compare(a.Min, b.Min), cmp.Compare(a.Max, b.Max))
	})
}

func (a Addrs) compare(b Addrs) int {
	if a.limited != b.limited {
		return limitedFirst(a.limited)
	}
	return slices.CompareFunc(a.ranges, b.ranges, func(a, b netipx.IPRange) int {
		if c := a.From().Compare(b.From()); c != 0 {
			return c
		}
		return a.To().Compare(b.To())
	})
}

func limitedFirst(limited bool) int {
	if limited {
		return -1
	}
	return 1
}

func (y *Symbol) compare(o *Symbol) int {
	if y == nil || o == nil {
		if y == o {
			return 0
		}
		return limitedFirst(y != nil)
	}
	return cmp.Compare(y.ID, o.ID)
}

func (o Origin) compare(p Origin) int {
	return cmp.Or(cmp.Compare(o.Policy.Kind, p.Policy.Kind), cmp.Compare(o.Policy.Namespace, p.Policy.Namespace), cmp.Compare(o.Policy.Name, p.Policy.Name),
		cmp.Compare(o.Tier, p.Tier), cmp.Compare(o.Index, p.Index))
}
