package selector

import (
	"slices"
	"strings"
)

// Labels that say where an endpoint belongs.
const (
	LabelNamespace      = "projectcalico.org/namespace"
	LabelServiceAccount = "projectcalico.org/serviceaccount"
)

// Prefixes under which an endpoint carries the labels of its namespace and of its service account.
const (
	NamespacePrefix      = "pcns."
	ServiceAccountPrefix = "pcsa."
)

// Labels are what a selector is evaluated on.
type Labels interface {
	// Get is the value of a label, and whether it is there.
	Get(key string) (value string, ok bool)
}

// Map is the simplest Labels.
type Map map[string]string

// Get is the value of a label, and whether it is there.
func (m Map) Get(key string) (string, bool) {
	v, ok := m[key]
	return v, ok
}

// Selector is a parsed selector. It is immutable; the zero value is not valid.
type Selector struct {
	root *node
	text string
}

func selectorOf(n *node) *Selector {
	var b strings.Builder
	n.print(&b)
	return &Selector{root: n, text: b.String()}
}

// String is the canonical text: two selectors with equal texts are the same.
func (s *Selector) String() string { return s.text }

// Evaluate tells whether s matches the labels.
func (s *Selector) Evaluate(labels Labels) bool { return s.root.evaluate(labels) }

// MatchesAll tells whether s is all(). A selector that happens to be true of everything, such as "!has(a) || has(a)", is not.
func (s *Selector) MatchesAll() bool { return s.root.op == opAll }

// UsesGlobal tells whether global() occurs in s. It is of use in namespace selectors only.
func (s *Selector) UsesGlobal() bool { return s.root.uses(opGlobal) }

// All matches everything.
func All() *Selector { return selectorOf(nodeAll) }

// And matches what both match. all() on either side is left out.
func And(a, b *Selector) *Selector {
	if a.MatchesAll() {
		return b
	}
	if b.MatchesAll() {
		return a
	}
	return selectorOf(newGroup(opAnd, []*node{a.root, b.root}))
}

// Not matches what s does not.
func Not(s *Selector) *Selector { return selectorOf(newNot(s.root)) }

// Has matches what has the label, whatever its value.
func Has(key string) *Selector { return selectorOf(&node{op: opHas, key: intern(key)}) }

// Equals matches what has the label with this value. No valid label value has both kinds of quote, so one that does matches
// nothing.
func Equals(key, value string) *Selector { return In(key, []string{value}) }

// In matches what has the label with one of these values; with none of them, nothing. Values with both kinds of quote are left
// out, as in Equals.
func In(key string, values []string) *Selector {
	values = slices.DeleteFunc(slices.Clone(values), func(v string) bool { return !literal(v) })
	return selectorOf(newSet(opIn, key, values))
}

// ForNamespaces turns a selector over the labels of namespaces into one over those of endpoints: keys get NamespacePrefix, all()
// becomes has(projectcalico.org/namespace) and global() its opposite. Negative terms also match what is in no namespace, unless
// joined with all().
func (s *Selector) ForNamespaces() *Selector {
	return selectorOf(s.root.rewrite(prefixed(NamespacePrefix, LabelNamespace)))
}

// ForServiceAccounts does the same for the labels of service accounts.
func (s *Selector) ForServiceAccounts() *Selector {
	return selectorOf(s.root.rewrite(prefixed(ServiceAccountPrefix, LabelServiceAccount)))
}

// prefixed rewrites leaves: keys by prefix, all() and global() to whether an endpoint belongs to any owner of such labels.
func prefixed(prefix, owner string) func(*node) *node {
	owned := &node{op: opHas, key: owner}
	return func(n *node) *node {
		switch n.op {
		case opAll:
			return owned
		case opGlobal:
			return newNot(owned)
		}
		renamed := *n
		renamed.key = intern(prefix + n.key)
		return &renamed
	}
}
