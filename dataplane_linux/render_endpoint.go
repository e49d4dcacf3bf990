package linux

import (
	"net/netip"
	"slices"

	"github.com/felid-net/felid/dataplane"
)

// effects tells what the chain of a policy may do, 0 where it has none.
type effects func(dataplane.PolicyID, dataplane.Direction) effect

// guardsPerReturn: after so many policies of a tier an allowed packet leaves the chain, instead of being tested at each further one.
const guardsPerReturn = 5

// endpointChains renders an endpoint for one family: from it, to it, and where it has several addresses those it may send from. It
// has none for a family in which it has no address: dispatch then drops it. A chain returns when the packet is allowed (an owner's chain to
// the workload never returns: its policies accept), and drops it otherwise. The groups are those that the chains lead to.
func (r *renderer) endpointChains(f Family, ep *dataplane.Endpoint, eff effects) ([]Chain, []group) {
	sources := r.sources(f, ep)
	if len(sources) == 0 {
		return nil, nil
	}
	r.groups = nil
	var out []Chain
	if len(sources) > 1 {
		for _, p := range sources {
			r.w.add("-s ", p.String(), " -j RETURN")
		}
		r.w.add("-j DROP")
		out = append(out, r.w.chain(sourcesChain(ep.Interface), string(ep.ID)+", sources"))
		r.w.add("-j " + sourcesChain(ep.Interface))
	} else {
		r.w.add("! -s ", sources[0].String(), " -j DROP")
	}
	r.w.add("-m conntrack --ctstate RELATED,ESTABLISHED ", r.settled())
	r.decide(ep, dataplane.Egress, eff)
	out = append(out, r.w.chain(endpointChain(dataplane.Egress, ep.Interface), string(ep.ID)+", egress"))
	r.decide(ep, dataplane.Ingress, eff)
	return append(out, r.w.chain(endpointChain(dataplane.Ingress, ep.Interface), string(ep.ID)+", ingress")), r.groups
}

// sources are the prefixes that the endpoint may send from; none where it has no address of the family.
func (r *renderer) sources(f Family, ep *dataplane.Endpoint) []netip.Prefix {
	var out []netip.Prefix
	for _, a := range ep.Addresses {
		if f.of(a) {
			out = append(out, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	if len(out) == 0 {
		return nil
	}
	out = append(out, familyNets(f, ep.AllowedSources)...)
	slices.SortFunc(out, netip.Prefix.Compare)
	return slices.Compact(out)
}

// settled is what happens to a packet of a connection that was allowed before: the owner of the network accepts it.
func (r *renderer) settled() string {
	if r.host.Owner {
		return "-j ACCEPT"
	}
	return "-j RETURN"
}

// decide writes the part that both directions share: tiers in order, then profiles, then drop.
func (r *renderer) decide(ep *dataplane.Endpoint, d dataplane.Direction, eff effects) {
	r.invalid()
	r.clear()
	r.normal(ep, &way{stageLocal, d, "-j RETURN", true}, eff)
}

// invalid drops what belongs to no connection and begins none. Where connections are cut, a TCP packet in the middle of one that is not tracked is
// dropped too: the kernel would take it for the first, and what the other side sends, which policy may allow, would bring back what was cut.
func (r *renderer) invalid() {
	r.w.add("-m conntrack --ctstate INVALID -j DROP")
	if r.cfg.CutDenied {
		r.w.add("-p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN -j DROP")
	}
}

// clear takes from a packet what was marked before.
func (r *renderer) clear() {
	r.w.s("-j MARK --set-xmark ").bits(0, r.marks.accept|r.marks.pass).end()
}

// normal writes tiers in order, then profiles, then drop.
func (r *renderer) normal(ep *dataplane.Endpoint, by *way, eff effects) {
	if !r.tiers(ep.Tiers, by, eff) {
		return
	}
	r.policies(ep.Profiles, by, eff, r.marks.accept) // Pass in a profile goes on to the next
	r.verdict(func() {}, Logged{Action: dataplane.Deny, Direction: by.direction, Rule: -1})
	r.w.add("-j DROP")
}

// tiers writes them in order; false where none lets a packet go on to what follows.
func (r *renderer) tiers(tiers []dataplane.EndpointTier, by *way, eff effects) (goesOn bool) {
	w := &r.w
	passed := false
	for i := range tiers {
		list := by.of(&tiers[i])
		if len(list) == 0 {
			continue
		}
		if passed {
			w.s("-j MARK --set-xmark ").bits(0, r.marks.pass).end()
		}
		passed = r.tierPolicies(list, by, eff)
		if !r.endOfTier(&tiers[i], list[len(list)-1], by.direction, passed) {
			return false
		}
	}
	return true
}

// endOfTier writes what becomes of packets that no policy of a tier decided about; passed tells whether others may come here, who have
// the bit. It is false where the tier lets nobody go on.
func (r *renderer) endOfTier(t *dataplane.EndpointTier, last dataplane.PolicyID, d dataplane.Direction, passed bool) (goesOn bool) {
	undecided := func() {
		if passed {
			r.w.s("-m mark --mark ").bits(0, r.marks.pass).s(" ")
		}
	}
	if t.Default == dataplane.Pass {
		r.verdict(undecided, Logged{dataplane.Pass, d, last, -1})
		return true
	}
	r.verdict(undecided, Logged{dataplane.Deny, d, last, -1})
	undecided()
	r.w.add("-j DROP")
	return passed
}

// tierPolicies writes the way through the policies of a tier; passed tells whether one of them may pass.
func (r *renderer) tierPolicies(list []dataplane.PolicyID, by *way, eff effects) (passed bool) {
	var all effect
	var chained []dataplane.PolicyID // those with rules in this direction
	for _, id := range list {
		e := eff(id, by.direction)
		if all |= e; e != 0 {
			chained = append(chained, id)
		}
	}
	if !by.grouped || len(chained) < r.cfg.grouping.from {
		return r.policies(list, by, eff, r.marks.accept|r.marks.pass)
	}
	members := r.groupsOf(chained, by.direction, eff)
	r.groups = append(r.groups, members...)
	r.w.add("-j ", members[0].name)
	if all&effectAccept != 0 && !r.accepts(by.stage, by.direction) {
		r.w.s("-m mark --mark ").bits(r.marks.accept, r.marks.accept).s(" ", by.allowed).end()
	}
	return all&effectPass != 0
}

// policies writes the jumps of one tier, or of the profiles. A packet that has a bit of decided crosses no other; an allowed one leaves the
// endpoint's chain. passed tells whether one of them may pass.
func (r *renderer) policies(list []dataplane.PolicyID, by *way, eff effects, decided uint32) (passed bool) {
	w := &r.w
	var set uint32 // bits that may be set by now
	unreturned := 0
	returnAllowed := func() {
		if set&r.marks.accept != 0 && unreturned > 0 {
			w.s("-m mark --mark ").bits(r.marks.accept, r.marks.accept).s(" ", by.allowed).end()
		}
		unreturned = 0
	}
	for _, id := range list {
		e := eff(id, by.direction)
		if e == 0 {
			continue
		}
		if set&decided != 0 {
			w.s("-m mark --mark ").bits(0, decided).s(" ")
		}
		w.add("-j ", policyChain(by.stage, by.direction, id))
		if e&effectAccept != 0 && !r.accepts(by.stage, by.direction) {
			set |= r.marks.accept
		}
		if e&effectPass != 0 {
			set |= r.marks.pass
		}
		if unreturned++; unreturned == guardsPerReturn {
			returnAllowed()
		}
	}
	returnAllowed()
	return set&r.marks.pass != 0
}
