package iptables

import (
	"bytes"
	"context"
	"errors"
	"fmt"
)

// ReadBack is what a table was found to hold. It is plain data.
type ReadBack struct {
	// Chains are those of ours, with the sum of their rules; a rule without a mark makes a sum that no desired chain has.
	Chains map[string]Sum
	// Hooks are the kernel's own chains in which rules of ours stand.
	Hooks map[string]Hook
	// OtherRules and OtherChains count what is not ours, without the kernel's own chains.
	OtherRules, OtherChains int
	// Rules of ours, in chains and hooks.
	Rules int

	// Unreadable: the table holds rules made by nft that the iptables programs can't show, so they show nothing of it.
	Unreadable bool

	epoch uint64 // writes of the table before it was read
	sign  uint64 // sign of the table before it was read
}

// Hook is the rules of ours in one of the kernel's own chains.
type Hook struct {
	Sum   Sum
	Rules []string // as printed, without the chain
	First bool     // they stand before all others
}

// ReadBack reads the whole table. It may run beside the goroutine that the Table belongs to: what it returns is handed to Reconcile.
func (t *Table) ReadBack(ctx context.Context) (*ReadBack, error) {
	epoch := t.epoch.Load()
	sign, err := t.driver.cfg.Sign(t.driver.cfg.Variant, t.family, t.name)
	if err != nil {
		return nil, t.wrap(err)
	}
	if sign == 0 && t.driver.cfg.Variant == Legacy { // nobody uses the table, and printing it would make it
		rb := newReadBack()
		rb.epoch = epoch
		return rb, nil
	}
	out, err := t.driver.save(ctx, t.family, t.name)
	if err != nil {
		return nil, t.wrap(err)
	}
	tables, err := Parse(out)
	if err != nil {
		return nil, t.wrap(err)
	}
	rb := tables[t.name]
	if rb == nil { // nobody has used the table yet
		rb = newReadBack()
	}
	if rb.Unreadable {
		return nil, t.wrap(errUnreadable)
	}
	rb.epoch, rb.sign = epoch, sign
	return rb, nil
}

var errUnreadable = errors.New("somebody has put rules into it with nft which iptables can't show: " +
	"want them in a table of their own (nft list table shows them)")

func newReadBack() *ReadBack {
	return &ReadBack{Chains: map[string]Sum{}, Hooks: map[string]Hook{}}
}

// reader goes through the lines of one table. Rules of a chain stand together, so the chain at hand is kept out of the map.
type reader struct {
	*ReadBack
	kernel map[string]bool // the kernel's own chains
	chain  []byte
	ours   bool // chain is ours
	hook   bool // chain is the kernel's own
	other  bool // a rule that is not ours has been seen in chain
	sum    Sum
	rules  []string
	first  bool
}

// Parse reads what iptables-save prints, by table. Lines it can't place are errors: a table half read must not be compared.
func Parse(save []byte) (map[string]*ReadBack, error) {
	tables := map[string]*ReadBack{}
	var r *reader
	for number := 1; len(save) > 0; number++ {
		var line []byte
		line, save, _ = bytes.Cut(save, []byte{'\n'})
		if len(line) == 0 {
			continue
		}
		switch {
		case line[0] == '#':
			if table := incompatible(line); table != "" {
				tables[table] = newReadBack()
				tables[table].Unreadable = true
			}
		case line[0] == '*' && r == nil:
			r = &reader{ReadBack: newReadBack(), kernel: map[string]bool{}}
			tables[string(line[1:])] = r.ReadBack
		case line[0] == ':' && r != nil && r.declare(line[1:]):
		case bytes.HasPrefix(line, []byte("-A ")) && r != nil && r.rule(line[3:]):
		case string(line) == "COMMIT" && r != nil:
			r.flush()
			r = nil
		default:
			return nil, fmt.Errorf("iptables-save line %d: can't read %.80q", number, line)
		}
	}
	if r != nil {
		return nil, fmt.Errorf("iptables-save: table without COMMIT")
	}
	return tables, nil
}

// incompatible is the name in "# Table `filter' is incompatible, use 'nft' tool."; "" in other comments.
func incompatible(line []byte) string {
	name, found := bytes.CutPrefix(line, []byte("# Table `"))
	name, rest, quoted := bytes.Cut(name, []byte{'\''})
	if !found || !quoted || !bytes.HasPrefix(rest, []byte(" is incompatible")) {
		return ""
	}
	return string(name)
}

// declare takes ":NAME POLICY [packets:bytes]"; the kernel's own chains have a policy, others "-".
func (r *reader) declare(line []byte) bool {
	name, rest, ok := bytes.Cut(line, []byte{' '})
	if !ok || len(name) == 0 {
		return false
	}
	switch {
	case !bytes.HasPrefix(rest, []byte("- ")):
		r.kernel[string(name)] = true
	case isOurs(name):
		r.Chains[string(name)] = Sum{}
	default:
		r.OtherChains++
	}
	return true
}

func isOurs(chain []byte) bool {
	return len(chain) > len(Prefix) && string(chain[:len(Prefix)]) == Prefix
}

// rule takes "CHAIN SPECIFICATION".
func (r *reader) rule(line []byte) bool {
	chain, spec, ok := bytes.Cut(line, []byte{' '})
	if !ok {
		chain, spec = line, nil // a rule that matches everything and does nothing
	}
	if len(chain) == 0 {
		return false
	}
	if !bytes.Equal(chain, r.chain) {
		r.flush()
		r.chain, r.ours, r.hook = chain, isOurs(chain), r.kernel[string(chain)]
	}
	hash, marked := markOf(spec)
	switch {
	case r.ours:
		r.Rules++
		r.sum.add(hash)
	case r.hook && marked:
		r.Rules++
		r.sum.add(hash)
		r.rules = append(r.rules, string(spec))
		r.first = r.first && !r.other
	default:
		r.OtherRules++
		r.other = true
	}
	return true
}

// flush files the chain at hand.
func (r *reader) flush() {
	switch {
	case r.ours && r.sum.Rules > 0:
		if before := r.Chains[string(r.chain)]; before.Rules > 0 { // in two places: never printed so, never equal
			r.sum.add(before.Hash)
		}
		r.Chains[string(r.chain)] = r.sum
	case r.hook && len(r.rules) > 0:
		r.Hooks[string(r.chain)] = Hook{Sum: r.sum, Rules: r.rules, First: r.first}
	}
	r.chain, r.sum, r.rules, r.other, r.first = nil, Sum{}, nil, false, true
}

// markOf finds our mark in the last comment of a rule, and the hash in it.
func markOf(spec []byte) (hash uint64, marked bool) {
	i := bytes.LastIndex(spec[:target(spec)], []byte(commentOption))
	if i < 0 {
		return 0, false
	}
	comment := spec[i+len(commentOption):]
	if len(comment) > 0 && comment[0] == '"' {
		comment = comment[1:]
	}
	if !bytes.HasPrefix(comment, []byte(Mark)) {
		return 0, false
	}
	comment = comment[len(Mark):]
	if end := bytes.IndexAny(comment, `" `); end >= 0 {
		comment = comment[:end]
	}
	return parseHash(comment), true
}
