package iptables

import (
	"fmt"
	"maps"
	"strings"
	"sync/atomic"

	"github.com/felid-net/felid/dataplane/delta"
)

// Table is one table of one address family, and what it should hold.
type Table struct {
	driver *Driver
	family Family
	name   string

	chains map[string]*chain // desired
	sums   *delta.Map[string, Sum]
	hooks  map[string]*chain // desired, by chain of the kernel's
	// hookSums compares hooks; rules that stand but not first have the sum misplaced.
	hookSums *delta.Map[string, Sum]
	hookOld  map[string][]string // rules of ours that stand in the kernel's chains

	known   bool              // what the kernel holds is known, as far as nobody else writes
	epoch   atomic.Uint64     // writes so far
	sign    uint64            // of the table when it was last known
	repairs int               // not yet reported
	keep    map[string]error  // chains that the kernel does not let go
	refused map[string]error  // chains and hooks whose content the kernel does not take
	held    map[string]*chain // chains whose content is to change, as the kernel holds them
	whole   bool              // chains are written whole for now
	rules   int               // desired, hooks included
}

// chain is a list of rules as desired.
type chain struct {
	body string // rules, each ended by a newline
	sum  Sum    // of body
}

// misplaced is the sum of rules of ours that others stand before.
var misplaced = Sum{Rules: -1}

// Table is the table with this name. It starts with nothing desired: an Apply would remove all that is ours.
func (d *Driver) Table(f Family, name string) *Table {
	t := &Table{
		driver: d, family: f, name: name,
		chains: map[string]*chain{}, sums: delta.New[string, Sum](),
		hooks: map[string]*chain{}, hookSums: delta.New[string, Sum](), hookOld: map[string][]string{},
		keep: map[string]error{}, refused: map[string]error{}, held: map[string]*chain{},
	}
	d.tables = append(d.tables, t)
	return t
}

// Family is the table's address family.
func (t *Table) Family() Family { return t.family }

// Name is the table's name: "filter".
func (t *Table) Name() string { return t.name }

// String is "ipv4 table filter".
func (t *Table) String() string { return t.family.String() + " table " + t.name }

func (t *Table) wrap(err error) error { return fmt.Errorf("%s: %w", t, err) }

// SetChain says that the chain should hold exactly these rules, each as iptables-save prints it without "-A CHAIN". It keeps no reference to
// them. A name without Prefix or longer than MaxName, and a rule of several lines, are broken invariants: it panics.
func (t *Table) SetChain(name string, rules []string) {
	if !isOurs([]byte(name)) || len(name) > MaxName || strings.ContainsAny(name, " \n") {
		panic(fmt.Sprintf("iptables: chain name %q", name))
	}
	delete(t.keep, name)
	if c := newChain(name, rules, t.chains[name]); c != nil {
		t.hold(name)
		t.put(t.chains, name, c)
		t.sums.SetDesired(name, c.sum)
	}
}

// RemoveChain says that the chain should not be there.
func (t *Table) RemoveChain(name string) {
	t.hold(name)
	t.put(t.chains, name, nil)
	t.sums.RemoveDesired(name)
}

// SetHooks says that these rules should stand first in one of the kernel's own chains, in this order; none: no rule of ours should.
func (t *Table) SetHooks(kernelChain string, rules []string) {
	if len(rules) == 0 {
		t.put(t.hooks, kernelChain, nil)
		t.hookSums.RemoveDesired(kernelChain)
		return
	}
	if c := newChain(kernelChain, rules, t.hooks[kernelChain]); c != nil {
		t.put(t.hooks, kernelChain, c)
		t.hookSums.SetDesired(kernelChain, c.sum)
	}
}

// hold remembers the content of a chain that is about to change, where the kernel holds that.
func (t *Table) hold(name string) {
	actual, there := t.sums.Actual(name)
	if c := t.chains[name]; there && c != nil && c.sum == actual {
		t.held[name] = c
	}
}

// put replaces what is desired of a chain, nil: nothing. What the kernel said of the old content does not matter for the new.
func (t *Table) put(chains map[string]*chain, name string, c *chain) {
	delete(t.refused, name)
	if old := chains[name]; old != nil {
		t.rules -= old.sum.Rules
		delete(chains, name)
	}
	if c != nil {
		t.rules += c.sum.Rules
		chains[name] = c
	}
}

// newChain is nil where the chain is as before.
func newChain(name string, rules []string, before *chain) *chain {
	var s Sum
	size, seed := 0, chainSeed(name)
	for _, rule := range rules {
		if strings.IndexByte(rule, '\n') >= 0 {
			panic(fmt.Sprintf("iptables: rule of several lines in chain %s: %q", name, rule))
		}
		s.add(ruleHash(seed, rule))
		size += len(rule) + 1
	}
	if before != nil && before.sum == s && sameBody(before.body, rules) {
		return nil
	}
	var b strings.Builder
	b.Grow(size)
	for _, rule := range rules {
		b.WriteString(rule)
		b.WriteByte('\n')
	}
	return &chain{body: b.String(), sum: s}
}

func sameBody(body string, rules []string) bool {
	for _, rule := range rules {
		if len(body) <= len(rule) || body[:len(rule)] != rule || body[len(rule)] != '\n' {
			return false
		}
		body = body[len(rule)+1:]
	}
	return body == ""
}

// Rules of a chain as desired, for people and tests; nil where it is not desired.
func (t *Table) Rules(name string) []string {
	c := t.chains[name]
	if c == nil {
		c = t.hooks[name]
	}
	if c == nil {
		return nil
	}
	return strings.Split(strings.TrimSuffix(c.body, "\n"), "\n")
}

// Count is the number of chains and rules desired, rules of hooks included.
func (t *Table) Count() (chains, rules int) { return len(t.chains), t.rules }

// Pending tells whether Apply would write, as far as is known. What is refused and has not changed since does not count.
func (t *Table) Pending() bool { return !t.known || !t.plan(true).empty() }

// Retry makes the next Apply try again what was refused, with its real content.
func (t *Table) Retry() {
	for name := range t.refused {
		if c := t.chains[name]; c != nil {
			t.sums.SetDesired(name, c.sum)
		}
	}
	clear(t.refused)
	clear(t.keep)
}

// Forget makes the next Apply read the table first.
func (t *Table) Forget() { t.known = false }

// Reconcile takes in what was read. It is false, and nothing is taken in, where the table was written meanwhile. Objects that are no longer
// as they were written are put right, and counted as repairs, by the next Apply.
func (t *Table) Reconcile(rb *ReadBack) bool {
	if rb.epoch != t.epoch.Load() {
		return false
	}
	if t.known {
		t.repairs += t.drift(rb)
	}
	t.sums.ReplaceActual(maps.All(rb.Chains))
	clear(t.keep)
	clear(t.hookOld)
	sums := make(map[string]Sum, len(rb.Hooks))
	for name, h := range rb.Hooks {
		t.hookOld[name] = h.Rules
		sums[name] = h.Sum
		if !h.First {
			sums[name] = misplaced
		}
	}
	t.hookSums.ReplaceActual(maps.All(sums))
	t.known, t.sign = true, rb.sign
	return true
}

// drift counts what is not as it was last known.
func (t *Table) drift(rb *ReadBack) int {
	n := 0
	for name, was := range t.sums.AllActual() {
		if is, ok := rb.Chains[name]; !ok || is != was {
			n++
		}
	}
	for name := range rb.Chains {
		if _, ok := t.sums.Actual(name); !ok {
			n++
		}
	}
	for name, was := range t.hookSums.AllActual() {
		if is := rb.Hooks[name]; is.Sum != was || !is.First {
			n++
		}
	}
	for name := range rb.Hooks {
		if _, ok := t.hookSums.Actual(name); !ok {
			n++
		}
	}
	return n
}
