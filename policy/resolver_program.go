package policy

import (
	"reflect"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
)

// program is that of a policy or profile; one without users is made.
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

// touchProgram notes that the object has changed, come or gone from which a program is compiled. Where nothing uses it, it is nobody's concern.
func (r *Resolver) touchProgram(id dataplane.PolicyID) {
	if prog := r.programs[id]; prog != nil {
		prog.stale = true
		r.dirtyPrograms[prog] = struct{}{}
	}
}

// wanted is what the State should hold of a program; nil for nothing.
func (r *Resolver) wanted(prog *program) *compiled {
	switch {
	case prog.users == 0:
		return nil
	case prog.installed != nil && !prog.stale:
		return prog.installed
	}
	prog.stale = false
	if prog.id.Kind == string(v3.KindProfile) {
		if p := r.profiles[prog.id.Name]; p != nil && p.decides() {
			return compileProfile(p)
		}
		return nil
	}
	if p := r.policies[keyOf(prog.id)]; p != nil {
		return compilePolicy(p.policy)
	}
	return nil
}

// install compiles the programs that have users now, and takes out those that have none. Sets are filled before any is dropped, so
// that those which stay in use stay as they are.
func (r *Resolver) install() {
	var former []*compiled
	for prog := range r.dirtyPrograms {
		old, next := prog.installed, r.wanted(prog)
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
		if prog.users == 0 {
			delete(r.programs, prog.id)
		}
	}
	r.dirtyPrograms = emptied(r.dirtyPrograms)
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
