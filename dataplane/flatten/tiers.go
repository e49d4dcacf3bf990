package flatten

import (
	"slices"

	"github.com/felid-net/felid/dataplane"
)

// Rule is what happens to the packets of a match; Action is Allow, Deny or Pass.
type Rule struct {
	Match
	Action dataplane.Action
	// From is where the rule comes from; of several that became one, the first.
	From Origin
	also []Origin // the others
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
// Pass, ends with a rule that matches everything, and is small: the package comment says how, and how small.
//
// Where more than limit rules would be needed, Pass rules deny what they match instead once the list is full; denied names those, in order.
func Tiers(tiers [][]Rule, limit int) (rules []Rule, denied []Origin) {
	return (&Symbols{}).Tiers(tiers, limit)
}

// Tiers does the same for matches that may ask for Symbols of y. Where there is a form that takes no members of sets, it is chosen,
// though another may be shorter.
func (y *Symbols) Tiers(tiers [][]Rule, limit int) (rules []Rule, denied []Origin) {
	var after []Rule
	for i := len(tiers) - 1; i >= 0; i-- {
		c := composer{symbols: y, list: tidy(reached(tiers[i])), after: after, limit: limit}
		after = c.compose()
		denied = append(c.denied, denied...)
	}
	return after, denied
}

// reached leaves out what stands behind a rule for everything.
func reached(rules []Rule) []Rule {
	if n := slices.IndexFunc(rules, func(r Rule) bool { return r.Everything() }); n >= 0 {
		return rules[:n+1]
	}
	return rules
}

// composer puts one tier before the list that is made of all later ones.
type composer struct {
	symbols     *Symbols
	list, after []Rule
	limit       int
	parts       [][]Rule // by index of list: what stands in its place where it is substituted; nil once that is too much
	free        int      // how many of the first parts took no members of sets
	denied      []Origin
}

// compose writes the first rules of the tier with what the later tiers do in the place of each Pass, and the others by what they decide
// themselves, before the later tiers as a whole; where one form turns into the other is chosen so that the list is cheapest.
func (c *composer) compose() []Rule {
	if !slices.ContainsFunc(c.list, func(r Rule) bool { return r.Action == dataplane.Pass }) {
		return c.list
	}
	before := len(c.symbols.noted)
	c.substitute()
	all := c.parts
	c.parts = all[:c.free]
	if best := c.best(true); best != nil {
		c.symbols.noted = c.symbols.noted[:before]
		return best
	}
	if c.parts = all; len(c.symbols.noted) > before {
		if best := c.best(false); best != nil {
			return best
		}
	}
	return c.limited()
}

// best is the cheapest form within the limit, with free among those that take no members of sets; nil where there is none.
func (c *composer) best(free bool) []Rule {
	var best []Rule
	consider := func(list []Rule) {
		if list = tidy(list); len(list) <= c.limit && (best == nil || cost(list) < cost(best)) {
			best = list
		}
	}
	if c.complete() {
		consider(slices.Concat(c.parts...))
	}
	if cut, tail := c.cheapest(free); cut < len(c.list) {
		consider(slices.Concat(slices.Concat(c.parts[:cut]...), tail, c.after))
	}
	return best
}

// complete tells whether every rule has its part.
func (c *composer) complete() bool { return len(c.parts) == len(c.list) }

// substitute fills parts, as long as a list of them is not hopelessly long.
func (c *composer) substitute() {
	n, before := 0, len(c.symbols.noted)
	for _, r := range c.list {
		part := []Rule{r}
		if r.Action == dataplane.Pass {
			part = within(r.Match, c.after)
		}
		if n += len(part); n > 2*c.limit {
			return
		}
		c.parts = append(c.parts, part)
		if len(c.symbols.noted) == before {
			c.free = len(c.parts)
		}
	}
}

// within is what a list does with the packets of a match.
func within(m Match, list []Rule) []Rule {
	if len(list) == 0 {
		panic("flatten: Pass in the last tier")
	}
	if m.Everything() {
		return list
	}
	var out []Rule
	for _, r := range list {
		both, ok := m.Intersect(r.Match)
		if !ok {
			continue
		}
		done := r.Match.covers(m)
		r.Match = both
		if out = append(out, r); done {
			break
		}
	}
	return tidy(out)
}

// cheapest is the index of the Pass from which on the rules are better written by what they decide themselves, and that list: it has none
// of the packets that one of them passes; with free, without taking members of sets. It is len(c.list) where there is no such Pass.
func (c *composer) cheapest(free bool) (cut int, own []Rule) {
	before := make([]int, len(c.parts)+1) // what the parts up to an index cost
	for i, part := range c.parts {
		before[i+1] = before[i] + cost(part)
	}
	cut = len(c.list)
	best := 2 * perRule * c.limit
	if c.complete() {
		best = before[cut]
	}
	var decided []Rule
	noted := len(c.symbols.noted)
	for i, end := len(c.list)-1, len(c.list); i >= 0; i-- {
		if c.list[i].Action != dataplane.Pass {
			continue
		}
		decided = merge(without(slices.Concat(c.list[i+1:end], decided), c.list[i].Match))
		end = i
		more := cost(decided) + cost(c.after)
		if more > best || free && len(c.symbols.noted) > noted {
			break // it only grows
		}
		if i < len(before) && before[i]+more < best {
			cut, own, best = i, decided, before[i]+more
		}
	}
	return cut, own
}

// without is what a list does with packets that a match does not have.
func without(list []Rule, m Match) []Rule {
	out := make([]Rule, 0, len(list))
	for _, r := range list {
		for _, piece := range r.Match.Minus(m) {
			if piece.possible() {
				r.Match = piece
				out = append(out, r)
			}
		}
	}
	return out
}

// limited is the list where there is no room: what does not fit is denied.
func (c *composer) limited() []Rule {
	var out []Rule
	for _, r := range c.list {
		part := []Rule{r}
		if r.Action == dataplane.Pass {
			if part = within(r.Match, c.after); len(out)+len(part) > c.limit {
				r.Action = dataplane.Deny
				part, c.denied = []Rule{r}, append(append(c.denied, r.From), r.also...)
			}
		}
		out = append(out, part...)
	}
	return out
}
