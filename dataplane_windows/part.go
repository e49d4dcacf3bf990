package windows

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/flatten"
	"github.com/felid-net/felid/dataplane_windows/hns"
)

// part is what an endpoint's policy comes to in one direction. Where it does not depend on the endpoint's addresses, all endpoints with the same
// policies share it.
type part struct {
	acls                   []hns.ACL
	full                   bool // there are more than can be
	named, present, absent []SetRef
	expanded               []dataplane.IPSetID
	unsupported            []dataplane.Unsupported

	refs  [3]map[SetRef]struct{} // of named, present and absent, while it is made
	local bool                   // it depends on the endpoint's addresses
}

const (
	refNamed = iota
	refPresent
	refAbsent
)

// policy is the part of the endpoint's tiers and profiles. Where they make too many ACLs, they get fewer rules, and Pass rules that do not fit
// deny what they match.
func (r *renderer) policy(dir dataplane.Direction) *part {
	key := r.key(dir)
	if p := r.parts[key]; p != nil {
		return p
	}
	p := r.flattened(dir, maxRules)
	for limit := maxRules / 4; p.full && limit >= minRules; limit /= 4 {
		before := p.expanded // that there were too many may be for their members
		p = r.flattened(dir, limit)
		p.expanded = merged(before, p.expanded, cmp.Compare)
	}
	if !p.local {
		r.parts[key] = p
	}
	return p
}

// minRules is the lowest limit that is tried. One that is too low for rules without Pass changes nothing.
const minRules = 100

// flattened is the part with at most limit rules, but for those that are no Pass.
func (r *renderer) flattened(dir dataplane.Direction, limit int) *part {
	p := &part{}
	r.part = p
	r.symbols.Noted() // of the one before
	rules, denied := r.symbols.Tiers(r.tiers(dir), limit)
	for _, from := range denied {
		r.report(dir, from, "its tiers would make too many rules without Pass: what it matches is denied")
	}
	w := writer{
		Renderer: r.Renderer, dir: dir, families: r.families, ipv4Only: r.ipv4Only, named: r.name, next: policyPriority, last: policyPriority + maxACLs - 1, count: map[string]int{},
	}
	for i := 0; i < len(rules) && !w.full; i++ {
		w.add(rules[i])
	}
	if n := len(w.acls); r.ipv4Only && (n == 0 || w.acls[n-1].Action == hns.Allow) {
		w.add(flatten.Rule{Action: dataplane.Deny, From: flatten.Origin{Tier: nameNoFamily}}) // no packet is left to HNS's default (H5)
	}
	p.acls, p.full, p.expanded = w.acls, w.full, r.symbols.Noted()
	for i, list := range []*[]SetRef{&p.named, &p.present, &p.absent} {
		*list = slices.SortedFunc(maps.Keys(p.refs[i]), compareRefs)
	}
	return p
}

// key is the same for endpoints whose policies and families are the same in a direction.
func (r *renderer) key(dir dataplane.Direction) string {
	var b strings.Builder
	put := func(fields ...string) {
		for _, f := range fields {
			b.WriteString(f)
			b.WriteByte(0)
		}
	}
	put(dir.String(), string(r.families))
	if r.ipv4Only {
		put("IPv4 only")
	}
	for i := range r.ep.Tiers {
		t := &r.ep.Tiers[i]
		put("tier", t.Name, t.Default.String())
		ids := t.Ingress
		if dir == dataplane.Egress {
			ids = t.Egress
		}
		for _, id := range ids {
			put(id.Kind, id.Namespace, id.Name)
		}
	}
	put("profiles")
	for _, id := range r.ep.Profiles {
		put(id.Kind, id.Namespace, id.Name)
	}
	return b.String()
}

// name is that of a set, and notes that the list needs it.
func (r *renderer) name(ref SetRef) (string, bool) {
	if !r.filled(ref) {
		return "", false
	}
	r.refer(refNamed, ref)
	return ref.ID(), true
}

func (p *part) refer(kind int, ref SetRef) {
	if p.refs[kind] == nil {
		p.refs[kind] = map[SetRef]struct{}{}
	}
	p.refs[kind][ref] = struct{}{}
}

func (p *part) report(dir dataplane.Direction, from flatten.Origin, reason string) {
	if from.Tier != "" {
		reason = from.Tier + ": " + reason
	}
	p.unsupported = append(p.unsupported, dataplane.Unsupported{Policy: from.Policy, Direction: dir, Rule: from.Index, Reason: reason})
}
