package linux

import (
	"net/netip"
	"slices"
	"strconv"

	"github.com/felid-net/felid/dataplane"
)

// match is a rule of the state in terms of iptables matches, for one family. A packet matches when it matches one of the lines (each
// combination of protocols, source and destination), and none of excluded.
type match struct {
	before    string   // addresses: "-s 10.0.0.0/8 -d 10.1.0.1/32 "
	protocols []string // "-p tcp ", "! -p udp ", or ""
	src, dst  []string // alternatives for the ports of a side, or ""
	after     string   // ICMP, negated ports, sets
	// excluded are whole matches that iptables can't negate within a line, because what they negate is itself several conditions at once
	// ("TCP and port 80" where the rule is for any protocol).
	excluded []string
	sets     []Set // for several nets
}

// lines is how many each calls for.
func (m *match) lines() int { return len(m.protocols) * len(m.src) * len(m.dst) }

// each writes the matches of every line, and calls each of ends to end a rule with them.
func (m *match) each(w *rules, ends ...func()) {
	for _, p := range m.protocols {
		for _, s := range m.src {
			for _, d := range m.dst {
				for _, end := range ends {
					w.s(m.before, p, s, d, m.after)
					end()
				}
			}
		}
	}
}

// anyMatch is the list of alternatives that leaves a dimension open.
var anyMatch = []string{""}

// portProtocols are those whose ports a PortRange matches.
var portProtocols = [...]uint8{dataplane.ProtoTCP, dataplane.ProtoUDP, dataplane.ProtoSCTP, dataplane.ProtoUDPLite}

func hasPorts(protocol uint8) bool { return slices.Contains(portProtocols[:], protocol) }

// protocolOf is the one protocol that the rule is limited to, or 0; false when none can match.
func protocolOf(f Family, r *dataplane.Rule) (uint8, bool) {
	p := r.Protocol
	if r.ICMP != nil {
		if p != 0 && p != f.icmp() {
			return 0, false
		}
		p = f.icmp()
	}
	return p, p == 0 || p != r.NotProtocol
}

// never tells that no packet of the family can match.
func never(f Family, r *dataplane.Rule) bool {
	p, ok := protocolOf(f, r)
	return !ok || r.IPVersion != 0 && r.IPVersion != uint8(f) || sideNever(f, p, &r.Src) || sideNever(f, p, &r.Dst) || icmpNever(r)
}

func sideNever(f Family, protocol uint8, s *dataplane.Side) bool {
	inFamily := hasFamily(f)
	return len(s.Nets) > 0 && !slices.ContainsFunc(s.Nets, inFamily) ||
		slices.ContainsFunc(s.NotNets, func(p netip.Prefix) bool { return p.Bits() == 0 && inFamily(p) }) ||
		len(s.Ports) > 0 && len(s.PortSets) == 0 && protocol != 0 && !hasPorts(protocol)
}

// icmpNever: what is asked for is all excluded.
func icmpNever(r *dataplane.Rule) bool {
	return r.ICMP != nil && r.NotICMP != nil && r.ICMP.Type == r.NotICMP.Type &&
		(r.NotICMP.Code < 0 || r.NotICMP.Code == r.ICMP.Code)
}

// compile is the match of a rule in one family; false when no packet of the family can match it.
func compile(f Family, r *dataplane.Rule) (match, bool) {
	if never(f, r) {
		return match{}, false
	}
	protocol, _ := protocolOf(f, r)
	c := compiler{family: f, protocol: protocol}
	c.portLines = hasPorts(protocol) || protocol == 0 && len(r.Src.Ports)+len(r.Dst.Ports) > 0
	c.side(&r.Src, source)
	c.side(&r.Dst, destination)
	c.icmp(r)
	return match{
		before:    c.addresses,
		protocols: protocolMatches(r, protocol),
		src:       c.portAlternatives(&r.Src, source),
		dst:       c.portAlternatives(&r.Dst, destination),
		after:     c.ports + c.icmpMatch + c.sets,
		excluded:  c.excluded,
		sets:      c.netSets,
	}, true
}

// end is a side of the packet, in the words of iptables.
type end struct{ addr, ports, set, portSet string }

var (
	source      = end{"-s ", "--sports ", " src ", " src,src "}
	destination = end{"-d ", "--dports ", " dst ", " dst,dst "}
)

// protocolMatches limit the lines to one protocol, or where a line matches ports to each that has some.
func protocolMatches(r *dataplane.Rule, protocol uint8) []string {
	switch {
	case protocol != 0:
		return []string{"-p " + protocolName(protocol) + " "}
	case len(r.Src.Ports) > 0 || len(r.Dst.Ports) > 0:
		var out []string
		for _, p := range portProtocols {
			if p != r.NotProtocol {
				out = append(out, "-p "+protocolName(p)+" ")
			}
		}
		return out
	case r.NotProtocol != 0:
		return []string{"! -p " + protocolName(r.NotProtocol) + " "}
	}
	return anyMatch
}

// portAlternatives are the ways in which the ports of a side can match: some of the ranges (multiport takes 15 numbers), or one of
// the sets. Members of sets have protocols with ports only, so that limiting a line to those loses nothing.
func (c *compiler) portAlternatives(s *dataplane.Side, e end) []string {
	if len(s.Ports)+len(s.PortSets) == 0 {
		return anyMatch
	}
	var out []string
	if c.protocol == 0 || hasPorts(c.protocol) {
		for _, list := range multiport(s.Ports) {
			out = append(out, "-m multiport "+e.ports+list+" ")
		}
	}
	for _, id := range s.PortSets {
		out = append(out, "-m set --match-set "+setName(c.family, string(id))+e.portSet)
	}
	return out
}

// multiport writes ranges as lists of at most 15 numbers, where a range counts as two.
func multiport(ranges []dataplane.PortRange) []string {
	var out []string
	var buf []byte
	slots := 0
	for _, r := range ranges {
		n := 1
		if r.Min != r.Max {
			n = 2
		}
		if slots+n > 15 {
			out, buf, slots = append(out, string(buf)), buf[:0], 0
		}
		if slots > 0 {
			buf = append(buf, ',')
		}
		buf = strconv.AppendUint(buf, uint64(r.Min), 10)
		if n == 2 {
			buf = strconv.AppendUint(append(buf, ':'), uint64(r.Max), 10)
		}
		slots += n
	}
	if slots > 0 {
		out = append(out, string(buf))
	}
	return out
}
