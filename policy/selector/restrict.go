package selector

import "slices"

// Restriction is what a label of every match must be like.
type Restriction struct {
	// Present: the label must be there.
	Present bool
	// Values: where not nil, the label must have one of these; empty and not nil: nothing matches at all. Sorted.
	Values []string
}

// Restrictions say, by label key, what every match must have. They are sound, not complete: labels that break one are never
// matched, labels that keep all of them may still not be. An index looks candidates up by them.
func (s *Selector) Restrictions() map[string]Restriction { return s.root.restrictions() }

func (n *node) restrictions() map[string]Restriction {
	switch n.op {
	case opHas, opContains, opStartsWith, opEndsWith:
		return map[string]Restriction{n.key: {Present: true}}
	case opEquals:
		return map[string]Restriction{n.key: {Present: true, Values: []string{n.value}}}
	case opIn:
		return map[string]Restriction{n.key: {Present: true, Values: append([]string{}, n.values...)}}
	case opAnd:
		return foldRestrictions(n.kids, bothHold)
	case opOr:
		return foldRestrictions(n.kids, eitherHolds)
	}
	return nil
}

func foldRestrictions(kids []*node, fold func(a, b map[string]Restriction) map[string]Restriction) map[string]Restriction {
	sum := kids[0].restrictions()
	for _, k := range kids[1:] {
		sum = fold(sum, k.restrictions())
	}
	return sum
}

func bothHold(a, b map[string]Restriction) map[string]Restriction {
	if a == nil {
		return b
	}
	for key, rb := range b {
		ra := a[key]
		a[key] = Restriction{Present: true, Values: commonValues(ra.Values, rb.Values)}
	}
	return a
}

func commonValues(a, b []string) []string {
	if a == nil {
		return b
	}
	if b == nil {
		return a
	}
	return slices.DeleteFunc(a, func(v string) bool {
		_, found := slices.BinarySearch(b, v)
		return !found
	})
}

func eitherHolds(a, b map[string]Restriction) map[string]Restriction {
	for key, ra := range a {
		rb, ok := b[key]
		if !ok {
			delete(a, key)
			continue
		}
		a[key] = Restriction{Present: true, Values: allValues(ra.Values, rb.Values)}
	}
	return a
}

func allValues(a, b []string) []string {
	if a == nil || b == nil {
		return nil
	}
	sum := append(a, b...)
	slices.Sort(sum)
	return slices.Compact(sum)
}
