package iptables

import (
	"context"
)

// bisect finds what the kernel refuses where it names no line, by writing the plan in ever smaller pieces. New chains drop until their
// piece is in; others stay as they were. What is refused on its own is given up. Removals are left to the next plan.
func (t *Table) bisect(ctx context.Context, p *plan, refusal *Refusal, res *Result) error {
	placeholders := &plan{table: p.table}
	for _, c := range p.write {
		if _, there := t.sums.Actual(c.name); !there {
			placeholders.write = append(placeholders.write, t.drop(c.name))
		}
	}
	if refused, err := t.write(ctx, placeholders, res); err != nil {
		return err
	} else if refused != nil { // it is not about any chain's content
		return refused
	}
	pieces := make([]*plan, 0, len(p.write)+len(p.hooks))
	for _, c := range p.write {
		pieces = append(pieces, &plan{table: p.table, write: []chainText{c}})
	}
	for _, h := range p.hooks {
		pieces = append(pieces, &plan{table: p.table, hooks: []hookText{h}})
	}
	if len(pieces) == 0 {
		return refusal
	}
	return t.halves(ctx, pieces, refusal, res)
}

// halves writes pieces of which the whole was refused.
func (t *Table) halves(ctx context.Context, pieces []*plan, refusal *Refusal, res *Result) error {
	if len(pieces) == 1 {
		return t.refuse(pieces[0].name(), refusal)
	}
	middle := len(pieces) / 2
	for _, half := range [][]*plan{pieces[:middle], pieces[middle:]} {
		whole := &plan{table: t.name}
		for _, piece := range half {
			whole.write = append(whole.write, piece.write...)
			whole.hooks = append(whole.hooks, piece.hooks...)
		}
		refused, err := t.write(ctx, whole, res)
		if err == nil && refused != nil {
			err = t.halves(ctx, half, refused, res)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// name of the only object in a piece.
func (p *plan) name() string {
	if len(p.write) > 0 {
		return p.write[0].name
	}
	return p.hooks[0].chain
}
