package ipset

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/bits"
	"slices"
	"strconv"
	"syscall"
)

// Result of ApplyAdds or ApplyRemoves.
type Result struct {
	Failed  map[string]error // sets that are not as desired
	Writes  int              // commands that changed the kernel
	Repairs int              // sets found changed by others and put right
	Unused  int              // sets that are still to be destroyed, by ApplyRemoves
}

// job is the commands that put one set right, and what is known afterwards.
type job struct {
	name     string
	set      *set
	commands []Command
	temp     string // filled and swapped in; "" where members move in place
	header   Header // afterwards
}

// ApplyAdds makes every desired set exist and hold its members; what is a member no longer may still be in. An error says that nothing can be
// said of the sets: they are read again before the next write.
func (s *Sets) ApplyAdds(ctx context.Context) (Result, error) { return s.apply(ctx, (*Sets).planAdds) }

// ApplyDeletes takes out of the sets what is a member no longer. It comes after ApplyAdds and after the rules: who goes from what one rule
// denies to what another does is in both for a moment, and never in none. Errors are as of ApplyAdds.
func (s *Sets) ApplyDeletes(ctx context.Context) (Result, error) {
	return s.apply(ctx, (*Sets).planDeletes)
}

// apply runs the commands that plan makes for each set that is not as desired.
func (s *Sets) apply(ctx context.Context, plan func(*Sets, string, *set) job) (Result, error) {
	res := Result{Failed: map[string]error{}}
	err := s.attempt(ctx, plan, &res)
	if err == nil && !s.known { // somebody else has made or destroyed a set: once more, with fresh knowledge
		clear(res.Failed)
		err = s.attempt(ctx, plan, &res)
	}
	if err != nil {
		s.known = false
		return res, err
	}
	res.Repairs, s.repairs = s.repairs, 0
	res.Unused = len(s.unused)
	return res, nil
}

func (s *Sets) attempt(ctx context.Context, plan func(*Sets, string, *set) job, res *Result) error {
	if err := s.know(ctx); err != nil {
		return err
	}
	names := slices.Sorted(maps.Keys(s.dirty))
	jobs, commands := s.jobs[:0], s.commands[:0]
	defer func() { s.jobs, s.commands = emptied(jobs), emptied(commands) }()
	for _, name := range names {
		if j := plan(s, name, s.sets[name]); len(j.commands) > 0 {
			jobs = append(jobs, j)
			commands = append(commands, j.commands...)
		}
	}
	if len(commands) == 0 {
		return nil
	}
	s.epoch.Add(1)
	errs, err := s.cfg.Kernel.Do(ctx, commands)
	if err != nil {
		return fmt.Errorf("write ip sets: %w", err)
	}
	res.Writes += len(commands) - len(errs)
	first := 0
	for _, j := range jobs {
		if err := s.done(j, errs, first); err != nil {
			res.Failed[j.name] = err
		}
		first += len(j.commands)
	}
	return nil
}

// emptied is the room of a slice, to be used again: without what it pointed to, and nil where it is more than a change needs.
func emptied[T any](s []T) []T {
	const kept = 256
	if cap(s) > kept {
		return nil
	}
	clear(s)
	return s[:0]
}

// know reads the sets, where they are not known.
func (s *Sets) know(ctx context.Context) error {
	if s.known {
		return nil
	}
	rb, err := s.ReadBack(ctx)
	if err != nil {
		return err
	}
	if !s.Reconcile(rb) {
		panic("ipset: written while being read by the same goroutine")
	}
	return nil
}

// minMaxElem is the least limit of members: the kernel's default. It costs nothing.
const minMaxElem = 65536

// headerFor is for a set of this many members: a limit with room to grow, and a table that need not be enlarged while it is filled.
func headerFor(h Header, members int) Header {
	h.MaxElem = max(minMaxElem, pow2(members+members/4))
	h.HashSize = max(64, pow2(members/4))
	return h
}

func pow2(n int) uint32 { return 1 << bits.Len32(uint32(max(n, 1)-1)) }

// inPlace tells whether members move one by one, and not by a set that is made anew.
func (x *set) inPlace() bool {
	return x.exists && !x.foreign && !x.rewrite && x.members.LenActual()+x.members.PendingUpdates() <= int(x.header.MaxElem)
}

// planDeletes says what to take out of a set.
func (s *Sets) planDeletes(name string, x *set) job {
	j := job{name: name, set: x, header: x.header}
	if x.inPlace() {
		j.addMembers(OpDelete, name, keys(x.members.Removals()))
	}
	return j
}

// planAdds says how to put one set right, but for what is to be taken out.
func (s *Sets) planAdds(name string, x *set) job {
	j := job{name: name, set: x, header: x.header}
	fill := func(into string) {
		j.header = headerFor(x.header, x.members.LenDesired())
		j.add(Command{Op: OpCreate, Set: into, Header: j.header})
		j.addMembers(OpAdd, into, keys(x.members.AllDesired()))
	}
	switch {
	case x.foreign: // it can't be swapped for one of another type
		j.add(Command{Op: OpDestroy, Set: name})
		fill(name)
	case !x.exists:
		fill(name)
	case !x.inPlace():
		j.temp = tempName(x.header.Family, s.temps)
		s.temps++
		fill(j.temp)
		j.add(Command{Op: OpSwap, Set: j.temp, Other: name})
		j.add(Command{Op: OpDestroy, Set: j.temp})
	default:
		j.addMembers(OpAdd, name, keys(x.members.Updates()))
	}
	return j
}

// tempName can't be the name of a desired set: identifiers have no tilde. One that is left over is ours, and destroyed as unused.
func tempName(f Family, n int) string {
	prefix := Prefix4
	if f == IPv6 {
		prefix = Prefix6
	}
	return prefix + "~" + strconv.Itoa(n)
}

func (j *job) add(c Command) { j.commands = append(j.commands, c) }

func (j *job) addMembers(op Op, name string, elements []element) {
	if len(elements) > 0 {
		j.add(Command{Op: op, Set: name, Header: j.header, elements: elements})
	}
}

func keys(seq iter.Seq2[element, struct{}]) []element {
	var out []element
	for e := range seq {
		out = append(out, e)
	}
	return out
}

// done takes in what became of a job, whose first command has the index first.
func (s *Sets) done(j job, errs map[int]error, first int) error {
	var all []error
	for i, c := range j.commands {
		err := errs[first+i]
		var e *Error
		switch {
		case err == nil:
		case !errors.As(err, &e):
			panic(fmt.Sprintf("ipset: the kernel gave an error of type %T", err))
		case j.temp != "" && c.Op == OpDestroy:
			s.unused[j.temp] = nil // later
			continue
		case c.Op == OpDestroy && e.Errno == syscall.ENOENT || c.Op == OpCreate && e.Errno == syscall.EEXIST ||
			c.Op != OpCreate && e.Errno == syscall.ENOENT:
			s.known = false
		}
		if err != nil {
			all = append(all, fmt.Errorf("%s: %w", c.Op, err))
		}
	}
	s.settle(j, errs, first, len(all) == 0)
	return errors.Join(all...)
}

// settle updates what is known of a job's set.
func (s *Sets) settle(j job, errs map[int]error, first int, good bool) {
	x := j.set
	switch {
	case j.temp != "" && good || !x.exists && good:
		x.header, x.exists, x.foreign, x.rewrite = j.header, true, false, false
		for _, e := range keys(x.members.Updates()) {
			x.members.SetActual(e, struct{}{})
		}
		for _, e := range keys(x.members.Removals()) {
			x.members.RemoveActual(e)
		}
	case j.temp != "":
		s.unused[j.temp] = nil // half filled
	case !x.exists: // created, perhaps, and partly filled
		s.known = false
	default:
		for i, c := range j.commands {
			x.moved(c, errs[first+i])
		}
	}
	s.touch(j.name, x)
}

// moved takes in one Add or Delete.
func (x *set) moved(c Command, err error) {
	refused := map[element]bool{}
	var e *Error
	if errors.As(err, &e) {
		for _, r := range e.refused {
			refused[r] = true
		}
	}
	for _, el := range c.elements {
		switch {
		case refused[el]:
		case c.Op == OpAdd:
			x.members.SetActual(el, struct{}{})
		case c.Op == OpDelete:
			x.members.RemoveActual(el)
		}
	}
}

// ApplyRemoves destroys sets of ours that are not desired, a bounded number of them, once no rule uses them: Result.Unused says how many are
// left. One that is still in use is named in Result.Failed.
func (s *Sets) ApplyRemoves(ctx context.Context) (Result, error) {
	res := Result{Failed: map[string]error{}}
	if err := s.know(ctx); err != nil {
		return res, err
	}
	if len(s.unused) == 0 {
		return res, nil
	}
	var names []string
	var commands []Command
	for name := range s.unused { // in no order, so that some which stay in use do not keep the others from their turn
		if len(names) == s.cfg.MaxDestroys {
			break
		}
		names = append(names, name)
		commands = append(commands, Command{Op: OpDestroy, Set: name})
	}
	s.epoch.Add(1)
	errs, err := s.cfg.Kernel.Do(ctx, commands)
	if err != nil {
		s.known = false
		return res, fmt.Errorf("destroy ip sets: %w", err)
	}
	for i, name := range names {
		if errs[i] != nil && !errors.Is(errs[i], syscall.ENOENT) {
			res.Failed[name] = errs[i]
			continue
		}
		delete(s.unused, name)
		res.Writes++
	}
	res.Unused = len(s.unused)
	return res, nil
}

// String is the command as ipset writes it.
func (o Op) String() string {
	switch o {
	case OpCreate:
		return "create"
	case OpDestroy:
		return "destroy"
	case OpSwap:
		return "swap"
	case OpAdd:
		return "add"
	case OpDelete:
		return "del"
	}
	return "op " + strconv.Itoa(int(o))
}
