package iptables

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Result of an Apply.
type Result struct {
	// Failed holds what does not stand as desired: chains of ours, which drop instead, and kernel chains, whose hooks stay as they were.
	Failed  map[string]error
	Writes  int // calls that changed the kernel
	Repairs int // objects found changed by others and put right
}

// errStale says that the kernel does not hold what was believed.
var errStale = errors.New("the table has been changed by somebody else")

// Apply makes the table hold what is desired, by one call; by none where it already does. What the kernel refuses is named in Result, the
// rest goes in. An error says that nothing can be said of the table: it is read again before the next write.
func (t *Table) Apply(ctx context.Context) (Result, error) {
	var res Result
	err := t.apply(ctx, &res)
	if errors.Is(err, errStale) { // once more, with fresh knowledge
		t.known = false
		err = t.apply(ctx, &res)
	}
	if err != nil {
		t.known = false
		return res, t.wrap(err)
	}
	res.Failed = t.failed()
	res.Repairs, t.repairs = t.repairs, 0
	return res, nil
}

func (t *Table) apply(ctx context.Context, res *Result) error {
	t.whole = false
	if !t.known {
		if err := t.know(ctx); err != nil {
			return err
		}
	}
	for {
		p, err := t.next()
		if err != nil || p.empty() {
			return err
		}
		refusal, err := t.write(ctx, p, res)
		switch {
		case err != nil:
			return err
		case refusal == nil:
			return nil
		}
		if err := t.judge(ctx, p, refusal, res); err != nil {
			return err
		}
	}
}

// know reads the table, or takes what was read when the driver was opened, if nobody can have written since.
func (t *Table) know(ctx context.Context) error {
	rb := t.driver.takeFirst(t)
	if rb == nil {
		var err error
		if rb, err = t.ReadBack(ctx); err != nil {
			return err
		}
	}
	if !t.Reconcile(rb) {
		panic("iptables: written while being read by the same goroutine")
	}
	return nil
}

// judge finds what of a refused plan was at fault, so that the next plan is without it.
func (t *Table) judge(ctx context.Context, p *plan, refusal *Refusal, res *Result) error {
	if len(p.edits) > 0 { // whole chains are easier to judge, and need not be as they were believed to be
		t.whole = true
		return nil
	}
	if names := p.using(refusal.missing()); len(names) > 0 {
		for _, name := range names {
			if err := t.refuse(name, refusal); err != nil {
				return err
			}
		}
		return nil
	}
	// Only the first line that is named: where the rules go round in a loop, nft goes on to name every line after it.
	if len(refusal.Lines) > 0 {
		_, parts := p.text()
		switch part := at(parts, refusal.Lines[0]); part.kind {
		case partChain, partHookNew:
			return t.refuse(part.name, refusal)
		case partHookOld:
			return fmt.Errorf("%w: %w", errStale, refusal)
		case partRemove:
			if t.keep[part.name] != nil {
				return refusal
			}
			t.keep[part.name] = fmt.Errorf("chain can't be removed: %w", refusal)
			return nil
		}
	}
	return t.bisect(ctx, p, refusal, res)
}

// using names the chains and hooks of a plan with a rule that uses an IP set or chain.
func (p *plan) using(name string) []string {
	if name == "" {
		return nil
	}
	uses := func(body string) bool {
		for _, option := range []string{"--match-set ", "-j ", "-g "} {
			if strings.Contains(body, option+name+" ") || strings.Contains(body, option+name+"\n") {
				return true
			}
		}
		return false
	}
	var out []string
	for _, c := range p.write {
		if uses(c.body) {
			out = append(out, c.name)
		}
	}
	for _, h := range p.hooks {
		if uses(h.body) {
			out = append(out, h.chain)
		}
	}
	return out
}

// refuse gives up the real content of a chain or the hooks of a kernel chain.
func (t *Table) refuse(name string, why error) error {
	if t.refused[name] != nil {
		return fmt.Errorf("chain %s: not even a drop is taken: %w", name, why)
	}
	t.refused[name] = why
	if t.chains[name] != nil {
		t.sums.SetDesired(name, t.drop(name).sum)
	}
	return nil
}

// dropBody stands in for a refused chain. Table nat has no drop; nothing is let through there that policy does not judge elsewhere.
func (t *Table) dropBody() string {
	if t.name == "nat" {
		return ""
	}
	return "-j DROP\n"
}

// text of a chain as it goes to the kernel.
func (t *Table) chainText(name string) chainText {
	if t.refused[name] != nil {
		return t.drop(name)
	}
	c := t.chains[name]
	return chainText{name, c.body, c.sum}
}

// drop is what stands in for a chain.
func (t *Table) drop(name string) chainText {
	body := t.dropBody()
	return chainText{name, body, sumOf(name, body)}
}

// next is what is to be written. Chains are edited only where nobody else has written since they were last known.
func (t *Table) next() (*plan, error) {
	p := t.plan(t.whole)
	if len(p.edits) == 0 {
		return p, nil
	}
	now, err := t.readSign()
	if err == nil && now != t.sign {
		p = t.plan(true)
	}
	return p, err
}

// plan is all that differs, in whole chains or by edits.
func (t *Table) plan(whole bool) *plan {
	p := &plan{table: t.name}
	for name := range t.sums.Updates() {
		if e, ok := t.edit(name); ok && !whole {
			p.edits = append(p.edits, e)
			continue
		}
		p.write = append(p.write, t.chainText(name))
	}
	for name := range t.sums.Removals() {
		if t.keep[name] == nil {
			p.removes = append(p.removes, name)
		}
	}
	for name := range t.hookSums.Updates() {
		if t.refused[name] == nil {
			p.hooks = append(p.hooks, hookText{name, t.hookOld[name], t.hooks[name].body})
		}
	}
	for name := range t.hookSums.Removals() {
		p.hooks = append(p.hooks, hookText{name, t.hookOld[name], ""})
	}
	slices.SortFunc(p.write, func(a, b chainText) int { return strings.Compare(a.name, b.name) })
	slices.SortFunc(p.edits, func(a, b chainEdit) int { return strings.Compare(a.name, b.name) })
	slices.SortFunc(p.hooks, func(a, b hookText) int { return strings.Compare(a.chain, b.chain) })
	slices.Sort(p.removes)
	return p
}

func (p *plan) empty() bool { return len(p.write)+len(p.edits)+len(p.hooks)+len(p.removes) == 0 }

// write makes one call. It returns a refusal apart from other errors, after which nothing is known of the table.
func (t *Table) write(ctx context.Context, p *plan, res *Result) (*Refusal, error) {
	before, err := t.readSign()
	if err != nil {
		return nil, err
	}
	text, _ := p.text()
	t.epoch.Add(1)
	var refusal *Refusal
	if err := t.driver.restore(ctx, t.family, text); errors.As(err, &refusal) {
		return refusal, nil
	} else if err != nil {
		return nil, err
	}
	res.Writes++
	t.wrote(p)
	return nil, t.driver.signAfter(t, before)
}

// wrote takes a written plan as what the kernel holds.
func (t *Table) wrote(p *plan) {
	for _, c := range p.write {
		t.sums.SetActual(c.name, c.sum)
	}
	for i := range p.edits {
		t.sums.SetActual(p.edits[i].name, p.edits[i].sum)
	}
	clear(t.held)
	for _, name := range p.removes {
		t.sums.RemoveActual(name)
	}
	for _, h := range p.hooks {
		if h.body == "" {
			delete(t.hookOld, h.chain)
			t.hookSums.RemoveActual(h.chain)
			continue
		}
		t.hookOld[h.chain] = markedRules(h.chain, h.body)
		t.hookSums.SetActual(h.chain, sumOf(h.chain, h.body))
	}
}

// failed names everything refused so far.
func (t *Table) failed() map[string]error {
	out := maps.Clone(t.keep)
	maps.Copy(out, t.refused)
	return out
}
