package cli

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/flatten"
	"github.com/felid-net/felid/policy"
)

// change are connections that open or close, all with the same ends, protocols and ports.
type change struct {
	From ends `json:"from"`
	To   ends `json:"to"`
	// IPVersion is 4 or 6; 0: both.
	IPVersion uint8 `json:"ipVersion,omitempty"`
	// Protocols are names or numbers; none: all but NotProtocols.
	Protocols    []string `json:"protocols,omitempty"`
	NotProtocols []string `json:"notProtocols,omitempty"`
	// SourcePorts and Ports are "80" or "8000:8010"; none: any.
	SourcePorts []string `json:"sourcePorts,omitempty"`
	Ports       []string `json:"ports,omitempty"`
	// ICMP are types, "8" or "0:7", or a type with codes, "3/1:4"; none: any.
	ICMP []string `json:"icmp,omitempty"`
}

// ends are where connections come from or go to: anywhere but some, or endpoints and addresses that no endpoint has.
type ends struct {
	Anywhere  bool                   `json:"anywhere,omitempty"`
	But       *ends                  `json:"but,omitempty"` // with Anywhere
	Endpoints []dataplane.EndpointID `json:"endpoints,omitempty"`
	// Outside: all addresses that no endpoint has.
	Outside bool `json:"outside,omitempty"`
	// Nets are addresses that no endpoint has, and single ones of an endpoint of which not all are meant.
	Nets []netip.Prefix `json:"nets,omitempty"`
}

// endNamer finds names for sets of addresses.
type endNamer struct {
	delta     *flatten.Delta
	ids       []dataplane.EndpointID
	endpoints flatten.Addrs // the endpoints' that are compared
	taken     flatten.Addrs // any endpoint's
}

func newEndNamer(d *flatten.Delta) *endNamer {
	n := &endNamer{delta: d, ids: slices.Sorted(maps.Keys(d.Endpoints)), taken: flatten.Addrs{}.Minus(d.Outside)}
	var all []netip.Addr
	for _, addrs := range d.Endpoints {
		all = append(all, addrs...)
	}
	n.endpoints = flatten.AddrsOfSingles(all...)
	return n
}

// changes describes matches, in a stable order.
func (n *endNamer) changes(matches []flatten.Match) []change {
	out := []change{}
	for _, m := range matches {
		for _, one := range byPorts(m) {
			out = append(out, n.change(one))
		}
	}
	slices.SortFunc(out, func(a, b change) int { return cmp.Compare(a.String(), b.String()) })
	return out
}

var (
	withPorts = flatten.ProtocolsOf(dataplane.ProtoTCP, dataplane.ProtoUDP, dataplane.ProtoSCTP, dataplane.ProtoUDPLite)
	icmps     = flatten.ProtocolsOf(dataplane.ProtoICMP, dataplane.ProtoICMPv6)
)

// byPorts takes a match whose destination ports are limited apart: they are types of ICMP, or ports.
func byPorts(m flatten.Match) []flatten.Match {
	if m.DstPorts.All() {
		return []flatten.Match{m}
	}
	var out []flatten.Match
	for _, protocols := range []flatten.Protocols{withPorts, icmps} {
		part := m
		part.Protocols = m.Protocols.Intersect(protocols)
		if !part.Empty() {
			out = append(out, part)
		}
	}
	return out
}

func (n *endNamer) change(m flatten.Match) change {
	c := change{From: n.ends(m.Src), To: n.ends(m.Dst)}
	v4, v6 := m.Src.Overlaps(flatten.Family(4)), m.Src.Overlaps(flatten.Family(6))
	if v4 != v6 {
		c.IPVersion = 6
		if v4 {
			c.IPVersion = 4
		}
	}
	if numbers := m.Protocols.Numbers(); len(numbers) > 128 {
		c.NotProtocols = protocolNames(flatten.Protocols{}.Minus(m.Protocols).Numbers())
	} else {
		c.Protocols = protocolNames(numbers)
	}
	if !m.SrcPorts.All() {
		c.SourcePorts = portTexts(m.SrcPorts.Ranges())
	}
	switch {
	case m.DstPorts.All():
	case m.Protocols.Minus(icmps).Empty():
		c.ICMP = icmpTexts(m.DstPorts.Ranges())
	default:
		c.Ports = portTexts(m.DstPorts.Ranges())
	}
	return c
}

// ends names a set of addresses, by what is in it or by what is not, whichever is shorter.
func (n *endNamer) ends(a flatten.Addrs) ends {
	families := flatten.AddrsOf()
	for _, version := range []uint8{4, 6} {
		if f := flatten.Family(version); a.Overlaps(f) {
			families = families.Union(f)
		}
	}
	compared := n.delta.Outside.Union(n.endpoints).Intersect(families)
	missing := compared.Minus(a)
	if missing.Empty() {
		return ends{Anywhere: true}
	}
	is, not := n.among(a, families), n.among(missing, families)
	if is.size() <= not.size()+1 {
		return is
	}
	return ends{Anywhere: true, But: &not}
}

func (n *endNamer) among(a, families flatten.Addrs) ends {
	var out ends
	for _, id := range n.ids {
		var in []netip.Prefix
		of := 0
		for _, addr := range n.delta.Endpoints[id] {
			if families.Contains(addr) {
				of++
				if a.Contains(addr) {
					in = append(in, netip.PrefixFrom(addr, addr.BitLen()))
				}
			}
		}
		if len(in) == of && of > 0 {
			out.Endpoints = append(out.Endpoints, id)
		} else {
			out.Nets = append(out.Nets, in...)
		}
	}
	outside := n.delta.Outside.Intersect(families)
	in := a.Intersect(outside)
	if outside.Minus(in).Empty() {
		out.Outside = true
		return out
	}
	// Endpoints within a net are named by themselves, if at all: they do not break it up.
	whole := in.Union(n.taken)
	for _, version := range []uint8{4, 6} {
		for _, p := range whole.Prefixes(version) {
			if in.Overlaps(flatten.AddrsOf(p)) {
				out.Nets = append(out.Nets, p)
			}
		}
	}
	return out
}

func (e *ends) size() int {
	n := len(e.Endpoints) + len(e.Nets)
	if e.Outside {
		n++
	}
	return n
}

func (e *ends) String() string {
	if e.Anywhere {
		if e.But != nil {
			return "anywhere but " + e.But.String()
		}
		return "anywhere"
	}
	var parts []string
	for _, id := range e.Endpoints {
		parts = append(parts, string(id))
	}
	if e.Outside {
		parts = append(parts, "all that is no endpoint")
	}
	for _, net := range e.Nets {
		parts = append(parts, net.String())
	}
	return strings.Join(parts, ", ")
}

// String is "pod/a/x to pod/b/y, IPv4, TCP, ports 80, 8000:8010".
func (c change) String() string {
	text := fmt.Sprintf("%s to %s", c.From.String(), c.To.String())
	if c.IPVersion != 0 {
		text += fmt.Sprintf(", IPv%d", c.IPVersion)
	}
	switch {
	case len(c.Protocols) > 0:
		text += ", " + strings.Join(c.Protocols, ", ")
	case len(c.NotProtocols) > 0:
		text += ", all protocols but " + strings.Join(c.NotProtocols, ", ")
	default:
		text += ", all protocols"
	}
	for _, list := range []struct {
		name   string
		values []string
	}{{"source ports", c.SourcePorts}, {"ports", c.Ports}, {"types", c.ICMP}} {
		if len(list.values) > 0 {
			text += ", " + list.name + " " + strings.Join(list.values, ", ")
		}
	}
	return text
}

func protocolNames(numbers []uint8) []string {
	var out []string
	for _, n := range numbers {
		out = append(out, policy.ProtocolName(n))
	}
	return out
}

func portTexts(ranges []dataplane.PortRange) []string {
	var out []string
	for _, r := range ranges {
		out = append(out, intervalText(r.Min, r.Max))
	}
	return out
}

func intervalText(low, high uint16) string {
	if low == high {
		return fmt.Sprint(low)
	}
	return fmt.Sprintf("%d:%d", low, high)
}

// icmpTexts writes ranges of flatten.ICMPPort: the codes of a first type, types in full, the codes of a last one.
func icmpTexts(ranges []dataplane.PortRange) []string {
	var out []string
	for _, r := range ranges {
		for low, end := int(r.Min), int(r.Max); low <= end; {
			high := min(low|255, end)
			if low&255 == 0 && high == low|255 {
				for high+256 <= end {
					high += 256
				}
				out = append(out, intervalText(uint16(low>>8), uint16(high>>8)))
			} else {
				out = append(out, fmt.Sprintf("%d/%s", low>>8, intervalText(uint16(low&255), uint16(high&255))))
			}
			low = high + 1
		}
	}
	return out
}
