package ipset

import (
	"context"
	"maps"
	"slices"
	"strings"
	"syscall"
)

// Twin is a Kernel in memory, with the semantics of the real one: limits, references, types that can't be swapped. Its zero value holds
// no sets.
type Twin struct {
	sets map[string]*twinSet
	// InUse names sets that rules use: they can't be destroyed.
	InUse map[string]bool
	// Refuse, where set, refuses commands with an errno other than 0.
	Refuse func(Command) syscall.Errno
	// Commands counts the commands that were run.
	Commands int
}

type twinSet struct {
	header  Header
	members map[element]struct{}
}

// Do implements Kernel.
func (w *Twin) Do(_ context.Context, commands []Command) (map[int]error, error) {
	if w.sets == nil {
		w.sets = map[string]*twinSet{}
	}
	o := &outcome{commands: commands}
	for i, c := range commands {
		w.Commands++
		if o.cancels(c) {
			o.refuse(piece{command: i}, syscall.ECANCELED)
			continue
		}
		if w.Refuse != nil {
			if errno := w.Refuse(c); errno != 0 {
				o.refuse(piece{i, c.elements}, errno)
				continue
			}
		}
		if c.Op == OpAdd || c.Op == OpDelete {
			for _, p := range (piece{i, c.elements}).singly() {
				if errno := w.move(c, p.elements[0]); errno != 0 {
					o.refuse(p, errno)
				}
			}
		} else if errno := w.do(c); errno != 0 {
			o.refuse(piece{command: i}, errno)
		}
	}
	return o.errs, nil
}

func (w *Twin) do(c Command) syscall.Errno {
	x := w.sets[c.Set]
	switch c.Op {
	case OpCreate:
		if x != nil {
			return syscall.EEXIST
		}
		w.sets[c.Set] = &twinSet{c.Header, map[element]struct{}{}}
	case OpDestroy:
		if x == nil {
			return syscall.ENOENT
		}
		if w.InUse[c.Set] {
			return errBusy
		}
		delete(w.sets, c.Set)
	case OpSwap:
		other := w.sets[c.Other]
		switch {
		case x == nil:
			return syscall.ENOENT
		case other == nil:
			return 4101
		case x.header.Type != other.header.Type || x.header.Family != other.header.Family:
			return 4102
		}
		w.sets[c.Set], w.sets[c.Other] = other, x
	}
	return 0
}

func (w *Twin) move(c Command, e element) syscall.Errno {
	x := w.sets[c.Set]
	if x == nil {
		return syscall.ENOENT
	}
	if x.header.Type == HashNet && e.bits == 0 {
		return 4104
	}
	if c.Op == OpDelete {
		delete(x.members, e)
		return 0
	}
	if _, there := x.members[e]; !there && len(x.members) >= int(x.header.MaxElem) {
		return errHashFull
	}
	x.members[e] = struct{}{}
	return 0
}

// List implements Kernel.
func (w *Twin) List(_ context.Context, members bool) ([]Listed, error) {
	var out []Listed
	for _, name := range slices.Sorted(maps.Keys(w.sets)) {
		x := w.sets[name]
		if !ours(name) {
			continue
		}
		l := Listed{Name: name, Header: x.header, Count: len(x.members)}
		if members {
			l.elements = slices.Collect(maps.Keys(x.members))
		}
		out = append(out, l)
	}
	return out, nil
}

// Close implements Kernel.
func (w *Twin) Close() error { return nil }

// Members is what a set holds, as text, sorted; nil where there is no such set.
func (w *Twin) Members(name string) []string {
	x := w.sets[name]
	if x == nil {
		return nil
	}
	out := make([]string, 0, len(x.members))
	for e := range x.members {
		out = append(out, e.member(x.header.Family).String())
	}
	slices.SortFunc(out, strings.Compare)
	return out
}

// Names of all sets, sorted.
func (w *Twin) Names() []string { return slices.Sorted(maps.Keys(w.sets)) }
