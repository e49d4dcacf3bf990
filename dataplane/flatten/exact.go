package flatten

import (
	"github.com/felid-net/felid/dataplane"
)

// Exact are, as a union, the packets that a rule matches, types of ICMP included: of a packet of its family's own ICMP, DstPorts has
// ICMPPort of type and code. No rule asks for ports of such a packet, so that the numbers do not meet.
func (s *Sets) Exact(r *dataplane.Rule) []Match {
	if m, ok := s.exact[r]; ok {
		return m
	}
	matches := s.exactOf(r)
	s.exact[r] = matches
	return matches
}

func (s *Sets) exactOf(r *dataplane.Rule) []Match {
	plain := *r
	plain.ICMP, plain.NotICMP = nil, nil
	matches, _ := s.Matches(&plain)
	if r.ICMP != nil {
		wanted := ofICMP(r.ICMP)
		matches = each(matches, func(m Match) []Match { return intersections(m, wanted) })
	}
	if r.NotICMP != nil {
		matches = minusAll(matches, ofICMP(r.NotICMP))
	}
	return matches
}

// ICMPPort is where DstPorts has a type and code of ICMP.
func ICMPPort(icmpType, code uint8) uint16 { return uint16(icmpType)<<8 | uint16(code) }

func ofICMP(i *dataplane.ICMP) []Match {
	ports := dataplane.PortRange{Min: ICMPPort(i.Type, 0), Max: ICMPPort(i.Type, 255)}
	if i.Code >= 0 {
		ports.Min = ICMPPort(i.Type, uint8(i.Code))
		ports.Max = ports.Min
	}
	out := make([]Match, len(ownICMP))
	for n, m := range ownICMP {
		m.DstPorts = PortsOf(ports)
		out[n] = m
	}
	return out
}

// Walk is what tiers and profiles do with packets in one direction.
type Walk struct {
	State     *dataplane.State
	Sets      *Sets // of State
	Direction dataplane.Direction
	// overlapping: what is allowed need not be disjoint. That is much cheaper: what one rule allows need not be kept from the next.
	overlapping bool
}

// Allowed is the part of within that the tiers, then the profiles, of an endpoint allow. The result is disjoint where within is. What is
// decided before policy is asked (a spoofed source, the endpoint's own node) is not looked at.
func (w *Walk) Allowed(tiers []dataplane.EndpointTier, profiles []dataplane.PolicyID, within []Match) []Match {
	var allowed []Match
	rest := within
	for i := range tiers {
		policies := ofDirection(&tiers[i], w.Direction)
		if len(policies) == 0 || len(rest) == 0 {
			continue
		}
		var out fates
		undecided := w.policies(policies, rest, &out)
		allowed = append(allowed, out.allowed...)
		rest = out.passed
		if tiers[i].Default == dataplane.Pass {
			rest = append(rest, undecided...)
		}
	}
	for i := range profiles {
		var out fates
		undecided := w.policies(profiles[i:i+1], rest, &out)
		allowed = append(allowed, out.allowed...)
		rest = append(undecided, out.passed...)
	}
	return allowed
}

func ofDirection(t *dataplane.EndpointTier, dir dataplane.Direction) []dataplane.PolicyID {
	if dir == dataplane.Egress {
		return t.Egress
	}
	return t.Ingress
}

// fates is what becomes of packets in a tier.
type fates struct {
	allowed, passed, denied []Match
}

// policies gives what no rule decides.
func (w *Walk) policies(ids []dataplane.PolicyID, within []Match, out *fates) []Match {
	for _, id := range ids {
		p := w.State.Policies[id]
		rules := p.Ingress
		if w.Direction == dataplane.Egress {
			rules = p.Egress
		}
		for i := range rules {
			if len(within) == 0 {
				return nil
			}
			if rules[i].Action != dataplane.Log {
				within = w.rule(&rules[i], within, out)
			}
		}
	}
	return within
}

func (w *Walk) rule(r *dataplane.Rule, within []Match, out *fates) []Match {
	if w.overlapping && r.Action == dataplane.Allow {
		for _, m := range within {
			out.allowed = append(out.allowed, intersections(m, w.Sets.Exact(r))...)
		}
		return within
	}
	for _, m := range w.Sets.Exact(r) {
		var rest []Match
		for _, in := range within {
			both, ok := in.Intersect(m)
			if !ok {
				rest = append(rest, in)
				continue
			}
			switch r.Action {
			case dataplane.Allow:
				out.allowed = append(out.allowed, both)
			case dataplane.Pass:
				out.passed = append(out.passed, both)
			default:
				out.denied = append(out.denied, both)
			}
			rest = append(rest, in.Minus(m)...)
		}
		within = rest
	}
	return within
}
