package dataplane

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
)

// Fake is a Dataplane in memory. It holds a deep copy of what the last Apply said, as a host would, and refuses Changes that did not
// tell the truth. It can be told to fail objects. Its methods may be called from any goroutine.
type Fake struct {
	mu      sync.Mutex
	held    *State
	stats   Stats
	failing map[any]error // by EndpointID, PolicyID or name of another object
	down    error
	failed  bool // the last Apply returned an error, or nothing was applied yet: the next one compares everything
	closed  bool
}

// NewFake is a Fake on a host that holds something already, left by another (nil: nothing).
func NewFake(held *State) *Fake {
	if held == nil {
		held = NewState()
	}
	return &Fake{held: held.Copy(), failing: map[any]error{}, failed: true}
}

// FailEndpoint makes the endpoint fail from now on; a nil err makes it work again.
func (f *Fake) FailEndpoint(id EndpointID, err error) { f.fail(id, err) }

// FailPolicy makes the policy fail, and with it the endpoints that use it.
func (f *Fake) FailPolicy(id PolicyID, err error) { f.fail(id, err) }

// FailIPSet makes the set fail, and with it the policies and endpoints that use it.
func (f *Fake) FailIPSet(id IPSetID, err error) { f.fail(id, err) }

// FailAll makes Apply return err, until it is nil again.
func (f *Fake) FailAll(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = err
}

func (f *Fake) fail(id any, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil {
		delete(f.failing, id)
	} else {
		f.failing[id] = err
	}
}

// Held is a deep copy of what the host holds now.
func (f *Fake) Held() *State {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.held.Copy()
}

// Apply implements Dataplane. An error says that the Changes named less than moved: a broken invariant of the caller.
func (f *Fake) Apply(ctx context.Context, s *State, changes *Changes) (Result, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := firstError(ctx.Err(), f.down, f.closedErr()); err != nil {
		f.failed = true
		return Result{}, fmt.Errorf("apply: %w", err)
	}
	if err := dangling(s); err != nil {
		f.failed = true
		return Result{}, err
	}
	next := s.Copy()
	moved := Diff(f.held, next)
	if changes != nil && !f.failed {
		if err := moved.within(changes); err != nil {
			f.failed = true
			return Result{}, err
		}
	}
	f.failed = false
	if !moved.Empty() {
		f.stats.Writes++
	}
	f.held = next
	return f.result(), nil
}

// Close implements Dataplane: what is held stays.
func (f *Fake) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	return nil
}

func (f *Fake) closedErr() error {
	if f.closed {
		return errors.New("the dataplane is closed")
	}
	return nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// result says what fails, and who suffers from it.
func (f *Fake) result() Result {
	r := Result{Endpoints: map[EndpointID]error{}, Policies: map[PolicyID]error{}, Others: map[string]error{}, Stats: f.stats}
	for id := range f.held.IPSets {
		if err := f.failing[id]; err != nil {
			r.Others["ip set "+string(id)] = err
		}
	}
	for id, p := range f.held.Policies {
		if err := f.policyError(id, p); err != nil {
			r.Policies[id] = err
		}
	}
	for id, e := range f.held.Endpoints {
		if err := f.failing[id]; err != nil {
			r.Endpoints[id] = err
		}
		for p := range e.uses() {
			if err := r.Policies[p]; err != nil {
				r.Endpoints[id] = fmt.Errorf("%s: %w", p, err)
			}
		}
	}
	r.Stats.Sets = len(f.held.IPSets)
	for _, set := range f.held.IPSets {
		r.Stats.Members += len(set.Members)
	}
	return r
}

func (f *Fake) policyError(id PolicyID, p *Policy) error {
	if err := f.failing[id]; err != nil {
		return err
	}
	for set := range p.uses() {
		if err := f.failing[set]; err != nil {
			return fmt.Errorf("ip set %s: %w", set, err)
		}
	}
	return nil
}

// within checks that changes names everything that moved, with the members that did.
func (moved *Changes) within(changes *Changes) error {
	for _, err := range []error{
		named("endpoint", moved.Endpoints, changes.Endpoints), named("policy", moved.Policies, changes.Policies),
		named("node", moved.Nodes, changes.Nodes), named("route", moved.Routes, changes.Routes), named("VTEP", moved.VTEPs, changes.VTEPs),
	} {
		if err != nil {
			return err
		}
	}
	for id, delta := range moved.IPSets {
		said, ok := changes.IPSets[id]
		if !ok {
			return fmt.Errorf("changes do not name ip set %s, which moved", id)
		}
		if err := delta.equal(said); err != nil {
			return fmt.Errorf("changes of ip set %s: %w", id, err)
		}
	}
	for id, said := range changes.IPSets {
		if _, ok := moved.IPSets[id]; !ok && said != nil && len(said.Added)+len(said.Removed) > 0 {
			return fmt.Errorf("changes of ip set %s name members, but none moved", id)
		}
	}
	if moved.NAT && !changes.NAT || moved.Host && !changes.Host {
		return errors.New("changes do not name NAT or the host, which moved")
	}
	return nil
}

func named[K comparable](what string, moved, changes map[K]struct{}) error {
	for id := range moved {
		if _, ok := changes[id]; !ok {
			return fmt.Errorf("changes do not name %s %v, which moved", what, id)
		}
	}
	return nil
}

// equal compares what moved with what was said; nil said means "compare the whole set".
func (moved *SetDelta) equal(said *SetDelta) error {
	if said == nil {
		return nil
	}
	if moved == nil {
		return errors.New("the set is new, gone, or of another type, and yet a delta is given")
	}
	if !sameMembers(moved.Added, said.Added) || !sameMembers(moved.Removed, said.Removed) {
		return fmt.Errorf("said added %v removed %v, moved added %v removed %v", said.Added, said.Removed, moved.Added, moved.Removed)
	}
	return nil
}

func sameMembers(a, b []Member) bool {
	set := func(ms []Member) map[Member]struct{} {
		m := make(map[Member]struct{}, len(ms))
		for _, k := range ms {
			m[k] = struct{}{}
		}
		return m
	}
	return len(a) == len(b) && maps.Equal(set(a), set(b))
}

// dangling finds an id that is used and not there.
func dangling(s *State) error {
	for id, e := range s.Endpoints {
		for p := range e.uses() {
			if s.Policies[p] == nil {
				return fmt.Errorf("endpoint %s uses %s, which is not in the state", id, p)
			}
		}
	}
	for id, p := range s.Policies {
		for set := range p.uses() {
			if s.IPSets[set] == nil {
				return fmt.Errorf("%s uses ip set %s, which is not in the state", id, set)
			}
		}
	}
	return nil
}

// uses are the policies of all tiers and directions, and the profiles.
func (e *Endpoint) uses() map[PolicyID]struct{} {
	ids := map[PolicyID]struct{}{}
	tiers := e.Tiers
	if h := e.Host; h != nil {
		tiers = slices.Concat(tiers, h.Untracked, h.PreDNAT, h.Forward)
	}
	for _, t := range tiers {
		for _, id := range slices.Concat(t.Ingress, t.Egress) {
			ids[id] = struct{}{}
		}
	}
	for _, id := range e.Profiles {
		ids[id] = struct{}{}
	}
	return ids
}

// uses are the sets of all rules.
func (p *Policy) uses() map[IPSetID]struct{} {
	ids := map[IPSetID]struct{}{}
	for _, r := range slices.Concat(p.Ingress, p.Egress) {
		for _, s := range []Side{r.Src, r.Dst} {
			for _, id := range slices.Concat(s.IPSets, s.NotIPSets, s.PortSets, s.NotPortSets) {
				ids[id] = struct{}{}
			}
		}
	}
	return ids
}
