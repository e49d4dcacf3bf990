package iptables

import (
	"slices"
	"strconv"
	"strings"
)

// chainEdit changes some rules of a chain that is in the kernel: from the rule number at on (the first is 1), so many are replaced by others.
type chainEdit struct {
	name string
	at   int
	gone int      // how many rules go
	put  []string // rules that come in their place
	sum  Sum      // of the chain after it
}

// edit is how a chain gets from what the kernel holds to what is desired. It is false where that is not known, and where the chain is about as
// cheaply written whole: for a line with a number the program reads the chain first.
func (t *Table) edit(name string) (chainEdit, bool) {
	held, c := t.held[name], t.chains[name]
	if actual, there := t.sums.Actual(name); held == nil || c == nil || !there || held.sum != actual || t.refused[name] != nil {
		return chainEdit{}, false
	}
	e := newEdit(name, slices.Collect(strings.Lines(held.body)), slices.Collect(strings.Lines(c.body)))
	e.sum = c.sum
	return e, 2*e.lines() <= c.sum.Rules
}

// newEdit leaves the rules with which both begin, and those with which both end.
func newEdit(name string, old, now []string) chainEdit {
	from := 0
	for from < len(old) && from < len(now) && old[from] == now[from] {
		from++
	}
	for len(old) > from && len(now) > from && old[len(old)-1] == now[len(now)-1] {
		old, now = old[:len(old)-1], now[:len(now)-1]
	}
	return chainEdit{name: name, at: from + 1, gone: len(old) - from, put: now[from:]}
}

// lines is how many it takes.
func (e *chainEdit) lines() int { return max(e.gone, len(e.put)) }

func (e *chainEdit) size() int {
	n := e.lines() * (ruleOverhead + len(e.name) + len(" 99999"))
	for _, rule := range e.put {
		n += len(rule)
	}
	return n
}

// append writes it: rules are replaced as far as there are both old and new ones, then inserted or deleted.
func (e *chainEdit) append(b []byte) []byte {
	seed := chainSeed(e.name)
	line := func(verb string, number int) {
		b = append(append(append(b, verb...), e.name...), ' ')
		b = strconv.AppendInt(b, int64(number), 10)
	}
	for i, rule := range e.put {
		verb := "-R "
		if i >= e.gone {
			verb = "-I "
		}
		line(verb, e.at+i)
		rule = rule[:len(rule)-1]
		b = append(appendMarked(append(b, ' '), rule, ruleHash(seed, rule)), '\n')
	}
	for range e.gone - len(e.put) {
		line("-D ", e.at+len(e.put))
		b = append(b, '\n')
	}
	return b
}
