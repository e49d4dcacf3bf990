package policy

import (
	"reflect"

	"github.com/felid-net/felid/dataplane"
)

// program is that of a policy or profile; one without an object or users is made.
func (r *Resolver) program(id dataplane.PolicyID) *program {
	prog := r.programs[id]
	if prog == nil {
		prog = &program{id: id}
		r.programs[id] = prog
	}
	return prog
}

// use counts one more endpoint that a policy selects, or that names a profile; disuse one less.
func (r *Resolver) use(id dataplane.PolicyID) {
	prog := r.program(id)
	prog.users++
	if prog.users == 1 {
		r.dirtyPrograms[prog] = struct{}{}
	}
}

func (r *Resolver) disuse(id dataplane.PolicyID) {
	prog := r.program(id)
	prog.users--
	if prog.users == 0 {
		r.dirtyPrograms[prog] = struct{}{}
	}
}

// setSource replaces what a program is compiled from; nil where there is nothing.
func (r *Resolver) setSource(id dataplane.PolicyID, compile func() *compiled) {
	prog := r.program(id)
	prog.compile, prog.stale = compile, true
	r.dirtyPrograms[prog] = struct{}{}
}

// install compiles the programs that have users now, and takes out those that have none. Sets are filled before any is dropped, so
// that those which stay in use stay as they are.
func (r *Resolver) install() {
	var former []*compiled
	for prog := range r.dirtyPrograms {
		old, next := prog.installed, prog.wanted()
		if old != next {
			r.report = nil
			prog.installed = next
			r.installPolicy(prog.id, old, next)
		}
		if old != next && next != nil {
			r.useSets(next)
		}
		if old != next && old != nil {
			former = append(former, old)
		}
		if next == nil && prog.users == 0 && prog.compile == nil {
			delete(r.programs, prog.id)
		}
	}
	clear(r.dirtyPrograms)
	for _, old := range former {
		r.releaseSets(old)
	}
}

func (r *Resolver) installPolicy(id dataplane.PolicyID, old, next *compiled) {
	switch {
	case next == nil:
		delete(r.state.Policies, id)
	case old != nil && reflect.DeepEqual(old.policy, next.policy):
		return
	default:
		r.state.Policies[id] = next.policy
	}
	if old != nil || next != nil {
		r.changes.Policies[id] = struct{}{}
	}
}
