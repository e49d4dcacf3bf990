package selector

import (
	"cmp"
	"slices"
	"strings"
	"unique"
)

type op uint8

// The order of the operators is the order in which operands with the same key are printed.
const (
	opAll op = iota
	opGlobal
	opHas
	opEquals
	opNotEquals
	opIn
	opNotIn
	opContains
	opStartsWith
	opEndsWith
	opNot
	opAnd
	opOr
)

// node is one term of the syntax tree. Nodes are never changed once built, and so may be shared between selectors.
type node struct {
	op     op
	key    string   // of has and the comparisons
	value  string   // of the comparisons with one value
	values []string // of in and not in: sorted, no duplicates
	kids   []*node  // one of not; two or more of and, or: sorted, no duplicates, none with the parent's op
}

var (
	nodeAll    = &node{op: opAll}
	nodeGlobal = &node{op: opGlobal}
)

// opposite of a comparison; opNot where there is none.
func (o op) opposite() op {
	switch o {
	case opEquals:
		return opNotEquals
	case opNotEquals:
		return opEquals
	case opIn:
		return opNotIn
	case opNotIn:
		return opIn
	}
	return opNot
}

// intern makes equal strings share one copy: the same few keys and values occur in thousands of selectors.
func intern(s string) string {
	return unique.Make(s).Value()
}

func newComparison(o op, key, value string) *node {
	return &node{op: o, key: intern(key), value: intern(value)}
}

// newSet is in or not in; a set of one becomes == or !=. It takes values over.
func newSet(o op, key string, values []string) *node {
	slices.Sort(values)
	values = slices.Compact(values)
	if len(values) == 1 {
		single := opEquals
		if o == opNotIn {
			single = opNotEquals
		}
		return newComparison(single, key, values[0])
	}
	for i, v := range values {
		values[i] = intern(v)
	}
	return &node{op: o, key: intern(key), values: slices.Clip(values)}
}

func newNot(n *node) *node {
	if n.op == opNot {
		return n.kids[0]
	}
	if o := n.op.opposite(); o != opNot {
		return &node{op: o, key: n.key, value: n.value, values: n.values}
	}
	return &node{op: opNot, kids: []*node{n}}
}

// newGroup is the and, or the or, of kids.
func newGroup(o op, kids []*node) *node {
	flat := make([]*node, 0, len(kids))
	for _, k := range kids {
		if k.op == o {
			flat = append(flat, k.kids...)
		} else {
			flat = append(flat, k)
		}
	}
	slices.SortFunc(flat, compare)
	flat = slices.CompactFunc(flat, func(a, b *node) bool { return compare(a, b) == 0 })
	if len(flat) == 1 {
		return flat[0]
	}
	return &node{op: o, kids: slices.Clip(flat)}
}

// compare is a total order of nodes; 0 means the same term.
func compare(a, b *node) int {
	if a == b {
		return 0
	}
	return cmp.Or(
		strings.Compare(a.key, b.key),
		cmp.Compare(a.op, b.op),
		strings.Compare(a.value, b.value),
		slices.Compare(a.values, b.values),
		slices.CompareFunc(a.kids, b.kids, compare),
	)
}

func (n *node) evaluate(labels Labels) bool {
	switch n.op {
	case opAll:
		return true
	case opNot:
		return !n.kids[0].evaluate(labels)
	case opAnd:
		for _, k := range n.kids {
			if !k.evaluate(labels) {
				return false
			}
		}
		return true
	case opOr:
		for _, k := range n.kids {
			if k.evaluate(labels) {
				return true
			}
		}
		return false
	case opGlobal:
		_, namespaced := labels.Get(LabelNamespace)
		return !namespaced
	}
	value, ok := labels.Get(n.key)
	return n.compareValue(value, ok)
}

// compareValue evaluates has and the comparisons.
func (n *node) compareValue(value string, ok bool) bool {
	switch n.op {
	case opHas:
		return ok
	case opEquals:
		return ok && value == n.value
	case opNotEquals:
		return !ok || value != n.value
	case opIn:
		return ok && n.contains(value)
	case opNotIn:
		return !ok || !n.contains(value)
	case opContains:
		return ok && strings.Contains(value, n.value)
	case opStartsWith:
		return ok && strings.HasPrefix(value, n.value)
	case opEndsWith:
		return ok && strings.HasSuffix(value, n.value)
	}
	panic("selector: unknown operator")
}

func (n *node) contains(value string) bool {
	_, found := slices.BinarySearch(n.values, value)
	return found
}

// rewrite replaces each leaf (what has no operands) and builds the tree anew around them.
func (n *node) rewrite(leaf func(*node) *node) *node {
	switch n.op {
	case opNot:
		return newNot(n.kids[0].rewrite(leaf))
	case opAnd, opOr:
		kids := make([]*node, len(n.kids))
		for i, k := range n.kids {
			kids[i] = k.rewrite(leaf)
		}
		return newGroup(n.op, kids)
	}
	return leaf(n)
}

// uses tells whether o occurs anywhere in the tree.
func (n *node) uses(o op) bool {
	return n.op == o || slices.ContainsFunc(n.kids, func(k *node) bool { return k.uses(o) })
}
