package linux

import (
	"github.com/felid-net/felid/dataplane"
)

// effect is what the chain of a policy may do to a packet of one family in one direction.
type effect uint8

const (
	effectRules  effect = 1 << iota // it has rules at all, and so a chain
	effectAccept                    // it may allow
	effectPass                      // it may pass
	effectWide                      // it may match any packet of TCP or UDP
)

// effectOf reads it off the rules. An endpoint's chain depends on a policy by this alone.
func effectOf(f Family, ruleList []dataplane.Rule) effect {
	var e effect
	for i := range ruleList {
		rule := &ruleList[i]
		if never(f, rule) {
			continue
		}
		e |= effectRules
		if wide(f, rule) {
			e |= effectWide
		}
		switch rule.Action {
		case dataplane.Allow:
			e |= effectAccept
		case dataplane.Pass:
			e |= effectPass
		}
	}
	return e
}

// wide tells that a rule, as far as its cover goes, matches all packets of TCP or UDP.
func wide(f Family, rule *dataplane.Rule) bool {
	p, _ := protocolOf(f, rule)
	return narrowedBy(f, p, rule) == byNothing && (p == 0 || p == dataplane.ProtoTCP || p == dataplane.ProtoUDP || rule.Action == dataplane.Log)
}

// rulesOf are the rules of one direction.
func rulesOf(p *dataplane.Policy, d dataplane.Direction) []dataplane.Rule {
	if d == dataplane.Egress {
		return p.Egress
	}
	return p.Ingress
}

// policyChain renders one direction of a policy or profile, false where it has no rule for the family. Sets that stand for several
// nets of a rule are given to the caller. The chain leaves a packet that no rule decided as it is.
func (r *renderer) policyChain(f Family, p *dataplane.Policy, st stage, d dataplane.Direction, derived func(Set)) (Chain, bool) {
	ruleList := rulesOf(p, d)
	for i := range ruleList {
		m, ok := compile(f, &ruleList[i])
		if !ok {
			continue
		}
		for j := range m.sets {
			derived(m.sets[j])
		}
		r.rule(&m, p.ID, st, d, &ruleList[i])
	}
	if len(r.w.ends) == 0 {
		return Chain{}, false
	}
	return r.w.chain(policyChain(st, d, p.ID), p.ID.String()+", "+d.String()), true
}

// rule writes the lines for one rule. Lines of a terminal action may overlap: the first that matches acts, and the others never see the
// packet. Log goes on, so that several lines of it first set a bit, and one line logs.
func (r *renderer) rule(m *match, id dataplane.PolicyID, st stage, d dataplane.Direction, rule *dataplane.Rule) {
	w := &r.w
	if len(m.excluded) > 0 {
		w.s("-j MARK --set-xmark ").bits(0, r.marks.excluded).end()
		for _, x := range m.excluded {
			w.s(x, " -j MARK --set-xmark ").bits(r.marks.excluded, r.marks.excluded).end()
		}
	}
	if rule.Action == dataplane.Log && m.lines() > 1 {
		w.s("-j MARK --set-xmark ").bits(0, r.marks.matched).end()
		m.each(w, func() {
			r.unlessExcluded(m)
			w.s("-j MARK --set-xmark ").bits(r.marks.matched, r.marks.matched).end()
		})
		w.s("-m mark --mark ").bits(r.marks.matched, r.marks.matched).s(" ")
		r.target(id, st, d, rule)
		return
	}
	act := func() {
		r.unlessExcluded(m)
		r.target(id, st, d, rule)
	}
	notes := r.notes(Logged{rule.Action, d, id, rule.Index})
	if len(notes) == 0 {
		m.each(w, act)
		return
	}
	var ends []func()
	for _, note := range notes {
		ends = append(ends, func() {
			r.unlessExcluded(m)
			note()
		})
	}
	m.each(w, append(ends, act)...)
}

func (r *renderer) unlessExcluded(m *match) {
	if len(m.excluded) > 0 {
		r.w.s("-m mark --mark ").bits(0, r.marks.excluded).s(" ")
	}
}

// target ends a rule with what its action does. Where an allowed packet is not accepted at once, the chain felid-allow, entered by goto, marks
// it and takes it back to the endpoint's chain.
func (r *renderer) target(id dataplane.PolicyID, st stage, d dataplane.Direction, rule *dataplane.Rule) {
	switch rule.Action {
	case dataplane.Allow:
		if r.accepts(st, d) {
			r.w.add("-j ACCEPT")
			return
		}
		r.w.add("-g " + chainAllow)
	case dataplane.Pass:
		r.w.add("-g " + chainPass)
	case dataplane.Log:
		r.nflog(Logged{dataplane.Log, d, id, rule.Index})
	default:
		r.w.add("-j DROP")
	}
}
