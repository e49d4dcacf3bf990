package selector

import (
	"slices"
	"strings"
)

// Restriction is what a label of every match must be like: it must be there, and have one of Values where that is not nil. Empty
// and not nil: nothing matches at all. Values are sorted.
type Restriction struct {
	Key    string
	Values []string
}

// Restrictions say what every match must have: by key, each key once. They are sound, not complete: labels that break one are never
// matched, labels that keep all of them may still not be. An index looks candidates up by them.
func (s *Selector) Restrictions() []Restriction { return s.root.restrictions() }

func (n *node) restrictions() []Restriction {
	switch n.op {
	case opHas, opContains, opStartsWith, opEndsWith:
		return []Restriction{{Key: n.key}}
	case opEquals:
		return []Restriction{{Key: n.key, Values: []string{n.value}}}
	case opIn:
		return []Restriction{{Key: n.key, Values: append([]string{}, n.values...)}}
	case opAnd:
		return foldRestrictions(n.kids, bothHold)
	case opOr:
		return foldRestrictions(n.kids, eitherHolds)
	}
	return nil
}

func foldRestrictions(kids []*node, fold func(a, b []Restriction) []Restriction) []Restriction {
	sum := kids[0].restrictions()
	for _, k := range kids[1:] {
		sum = fold(sum, k.restrictions())
	}
	return sum
}

// bothHold takes a over.
func bothHold(a, b []Restriction) []Restriction {
	for _, rb := range b {
		i, found := findKey(a, rb.Key)
		if !found {
			a = slices.Insert(a, i, rb)
			continue
		}
		a[i].Values = commonValues(a[i].Values, rb.Values)
	}
	return a
}

func findKey(list []Restriction, key string) (i int, found bool) {
	return slices.BinarySearchFunc(list, key, func(r Restriction, key string) int { return strings.Compare(r.Key, key) })
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

// eitherHolds takes a over.
func eitherHolds(a, b []Restriction) []Restriction {
	kept := a[:0]
	for _, ra := range a {
		if i, found := findKey(b, ra.Key); found {
			kept = append(kept, Restriction{ra.Key, allValues(ra.Values, b[i].Values)})
		}
	}
	return kept
}

func allValues(a, b []string) []string {
	if a == nil || b == nil {
		return nil
	}
	sum := append(a, b...)
	slices.Sort(sum)
	return slices.Compact(sum)
}
