package flatten

import (
	"github.com/felid-net/felid/dataplane"
)

// Rule is what happens to the packets of a match; Action is Allow, Deny or Pass.
type Rule struct {
	Match
	Action dataplane.Action
	From   Origin
}

// Origin is where a rule comes from: rule Index of a policy, or, where Policy is the zero value, the end of tier Tier (Tier "": no
// profile matched).
type Origin struct {
	Policy dataplane.PolicyID
	Tier   string
	Index  int
}

// Tiers makes one list out of several, in which the first rule that matches decides, as it does when the tiers are walked in order
// and Pass goes on to the next. Every tier must end with a rule that matches everything, the last without Pass. The result has no
// Pass, and ends with a rule that matches everything.
//
// The rules of the later tiers stand, limited to what it matches, in the place of each Pass. Once the result has reached limit
// rules, a Pass denies what it matches instead; denied names those, in order.
func Tiers(tiers [][]Rule, limit int) (rules []Rule, denied []Origin) {
	var after []Rule
	for i := len(tiers) - 1; i >= 0; i-- {
		f := flattener{limit: limit}
		for _, r := range tiers[i] {
			f.add(r, after)
			if r.Everything() {
				break // what follows is never reached
			}
		}
		after = f.rules
		denied = append(f.denied, denied...)
	}
	return after, denied
}

type flattener struct {
	limit  int
	rules  []Rule
	denied []Origin
}

func (f *flattener) add(r Rule, after []Rule) {
	switch {
	case r.Action != dataplane.Pass:
		f.rules = append(f.rules, r)
	case len(after) == 0:
		panic("flatten: Pass in the last tier")
	default:
		f.pass(r, after)
	}
}

func (f *flattener) pass(r Rule, after []Rule) {
	mark := len(f.rules)
	for _, next := range after {
		both, ok := r.Match.Intersect(next.Match)
		if !ok {
			continue
		}
		if len(f.rules) >= f.limit {
			f.rules = append(f.rules[:mark], Rule{Match: r.Match, Action: dataplane.Deny, From: r.From})
			f.denied = append(f.denied, r.From)
			return
		}
		f.rules = append(f.rules, Rule{Match: both, Action: next.Action, From: next.From})
		if next.Everything() {
			return
		}
	}
}
