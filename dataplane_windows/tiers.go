package windows

import (
	"net/netip"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/flatten"
)

// Names of rules that are no policy's.
const (
	nameNoFamily   = "no-address-family"
	nameNeighbours = "neighbour-discovery"
	nameOwnNode    = "own-node"
	nameProbePort  = "probe-port"
	nameSpoofed    = "spoofed-source"
	nameToHost     = "to-host"
	nameNoProfile  = "no-profile"
	nameEndOfTier  = "end-of-tier/"
)

// tiers are the endpoint's in one direction, and after them each profile as a tier of its own whose end is Pass, as a profile in
// which no rule matches leaves the packet to the next.
func (r *renderer) tiers(dir dataplane.Direction) [][]flatten.Rule {
	var tiers [][]flatten.Rule
	for i := range r.ep.Tiers {
		t := &r.ep.Tiers[i]
		policies := t.Ingress
		if dir == dataplane.Egress {
			policies = t.Egress
		}
		if len(policies) == 0 {
			continue
		}
		rules := r.policies(dir, policies)
		end := dataplane.Deny
		if t.Default == dataplane.Pass {
			end = dataplane.Pass
		}
		tiers = append(tiers, append(rules, flatten.Rule{Action: end, From: flatten.Origin{Tier: nameEndOfTier + t.Name}}))
	}
	for i := range r.ep.Profiles {
		rules := r.policies(dir, r.ep.Profiles[i:i+1])
		tiers = append(tiers, append(rules, flatten.Rule{Action: dataplane.Pass}))
	}
	return append(tiers, []flatten.Rule{{Action: dataplane.Deny, From: flatten.Origin{Tier: nameNoProfile}}})
}

func (r *renderer) policies(dir dataplane.Direction, ids []dataplane.PolicyID) []flatten.Rule {
	var out []flatten.Rule
	for _, id := range ids {
		p := r.state.Policies[id]
		if p == nil {
			panic("windows: endpoint " + string(r.ep.ID) + " names " + id.String() + ", which is not in the state")
		}
		rules := p.Ingress
		if dir == dataplane.Egress {
			rules = p.Egress
		}
		for i := range rules {
			out = append(out, r.rule(dir, id, &rules[i])...)
		}
	}
	return out
}

// rule writes a rule as matches, and reports what it can't write.
func (r *renderer) rule(dir dataplane.Direction, id dataplane.PolicyID, rule *dataplane.Rule) []flatten.Rule {
	from := flatten.Origin{Policy: id, Index: rule.Index}
	if rule.Action == dataplane.Log {
		r.report(dir, from, "HNS does not log: Log has no effect")
		return nil
	}
	exact, over := r.symbols.Matches(rule)
	exact, over = r.reachable(dir, exact), r.reachable(dir, over)
	action, matches := rule.Action, over
	if (rule.ICMP != nil || rule.NotICMP != nil) && len(over) > 0 {
		if action == dataplane.Allow {
			matches = exact
			r.report(dir, from, "HNS does not match types of ICMP: for ICMP this Allow is left out")
		} else {
			r.report(dir, from, "HNS does not match types of ICMP: all that this "+action.String()+" might cover is denied")
			action = dataplane.Deny
		}
	}
	out := make([]flatten.Rule, 0, len(matches))
	for _, m := range matches {
		if r.hasMembers(&m) {
			out = append(out, flatten.Rule{Match: m, Action: action, From: from})
		}
	}
	return out
}

// hasMembers tells whether the sets of a match have members in a family of the endpoint's. It notes which have and which have not: the list
// may be another when that changes.
func (r *renderer) hasMembers(m *flatten.Match) bool {
	has := true
	for _, set := range []*flatten.Symbol{m.SrcSet, m.DstSet} {
		if set == nil {
			continue
		}
		some := false
		for _, family := range r.families {
			ref := SetRef{set.ID, family}
			if r.filled(ref) {
				some = true
				r.refer(refPresent, ref)
			} else {
				r.refer(refAbsent, ref)
			}
		}
		has = has && some
	}
	return has
}

// shared are addresses that packets to an endpoint may have besides its own.
var shared = []netip.Prefix{netip.MustParsePrefix("224.0.0.0/4"), netip.MustParsePrefix("255.255.255.255/32"), netip.MustParsePrefix("ff00::/8")}

// reachable narrows matches to those that packets of this endpoint can be in: on its own side, only its own addresses count
// (whatever else it sends is blocked before), and inbound those that many share.
func (r *renderer) reachable(dir dataplane.Direction, matches []flatten.Match) []flatten.Match {
	var out []flatten.Match
	for _, m := range matches {
		local, remote := &m.Src, m.DstSet
		if dir == dataplane.Ingress {
			m = m.ExpandDst()
			local, remote = &m.Dst, m.SrcSet
		} else {
			m = m.ExpandSrc()
		}
		if !local.All() && !(remote != nil && local.Whole()) { // an ACL that names a set has no room for addresses
			*local = local.Intersect(r.localAddrs(dir))
			r.local = true
			if remote != nil {
				*local = r.widened(dir, *local, m.Protocols)
			}
		}
		if !m.Empty() {
			out = append(out, m)
		}
	}
	return out
}

func (r *renderer) localAddrs(dir dataplane.Direction) flatten.Addrs {
	if dir == dataplane.Egress {
		return r.own
	}
	return flatten.Addrs{}.Minus(flatten.Addrs{}.Minus(r.own).Minus(flatten.AddrsOf(shared...)))
}

// widened has all addresses of a family in the place of all of the endpoint's own, where that is the same: nothing else goes out, and no TCP
// connection goes to an address that many share (RFC 9293, 3.9.2.3).
func (r *renderer) widened(dir dataplane.Direction, local flatten.Addrs, protocols flatten.Protocols) flatten.Addrs {
	if dir == dataplane.Ingress && !protocols.Minus(flatten.ProtocolsOf(dataplane.ProtoTCP)).Empty() {
		return local
	}
	for _, version := range []uint8{4, 6} {
		family := flatten.Family(version)
		if own := r.own.Intersect(family); !own.Empty() && own.Minus(local).Empty() {
			local = local.Union(family)
		}
	}
	return local
}
