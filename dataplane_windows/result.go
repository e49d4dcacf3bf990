package windows

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/felid-net/felid/dataplane"
)

// result says what does not hold on the host, though the State says so. A change that only allows more and waits for others is not named.
func (d *Driver) result() dataplane.Result {
	r := dataplane.Result{
		Endpoints: map[dataplane.EndpointID]error{}, Policies: map[dataplane.PolicyID]error{}, Others: map[string]error{},
	}
	now := time.Now()
	for id, e := range d.endpoints {
		if err := d.endpointFault(id, e, now); err != nil {
			r.Endpoints[id] = err
		}
	}
	for p := range d.pending {
		if err := p.fault(now); err != nil && len(p.owners) == 0 {
			r.Others[p.name] = err
		}
	}
	for _, n := range d.networks {
		if err := errors.Join(n.fault(now), n.sweeping.fault(now)); err != nil {
			r.Others["sets on "+n.name] = err
		}
	}
	for _, o := range []*object{&d.seen.endpoints, &d.seen.networks} {
		if err := o.fault(now); err != nil {
			r.Others["HNS "+o.name] = err
			d.wake(o.retryAt)
		}
	}
	if d.mistrust != nil {
		r.Others["HNS"] = d.mistrust
	}
	if d.cfg.Form.Closed {
		r.Others["policy"] = fmt.Errorf("everything is denied on this node: %s", d.cfg.Reason)
	}
	if d.nameless {
		r.Others["HNS, of ACLs"] = errNameless
	}
	r.Unsupported = d.unsupported()
	r.Stats = d.count()
	return r
}

// manyDrifts in a row are a fight.
const manyDrifts = 3

// endpointFault is what keeps an endpoint from being enforced as the State says.
func (d *Driver) endpointFault(id dataplane.EndpointID, e *endpoint, now time.Time) error {
	if e.host {
		return nil
	}
	if len(e.ports) == 0 {
		d.wake(e.retryAt)
		return cmp.Or(e.fault(now), errNotAttached)
	}
	var errs []error
	for _, p := range e.ports {
		switch {
		case len(p.owners) > 1:
			errs = append(errs, fmt.Errorf("%s is of several endpoints (%v): everything is denied there", p.name, p.owners))
		case p.fault(now) != nil:
			errs = append(errs, p.fault(now))
		case d.setsFault(p, now) != nil:
			errs = append(errs, d.setsFault(p, now))
		case p.drifts >= manyDrifts:
			errs = append(errs, fmt.Errorf("somebody else changes the ACLs of %s again and again: found %d times in a row", p.name, p.drifts))
		}
	}
	return errors.Join(errs...)
}

// setsFault says why sets that the port's list names do not have the members that they should.
func (d *Driver) setsFault(p *port, now time.Time) error {
	if len(p.sets) == 0 {
		return nil
	}
	n := d.network(p.network)
	err := n.fault(now)
	if err == nil || !slices.ContainsFunc(p.sets, func(ref SetRef) bool { _, moved := n.moved[ref]; return moved || !n.read }) {
		return nil
	}
	return fmt.Errorf("its sets are not up to date: %w", err)
}

// unsupported is what lists could not express, each rule once, and which ACLs of others do not do what they did.
func (d *Driver) unsupported() []dataplane.Unsupported {
	out := d.wanted.unsupported
	if d.wanted.moved {
		once := map[dataplane.Unsupported]struct{}{}
		for _, e := range d.endpoints {
			for _, u := range e.list.Unsupported {
				once[u] = struct{}{}
			}
		}
		out = slices.SortedFunc(maps.Keys(once), func(a, b dataplane.Unsupported) int {
			return cmp.Or(cmp.Compare(a.Policy.String(), b.Policy.String()), cmp.Compare(a.Direction, b.Direction), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Reason, b.Reason))
		})
		d.wanted.unsupported, d.wanted.moved = out, false
	}
	out = slices.Clone(out)
	for _, id := range slices.Sorted(maps.Keys(d.ports)) {
		p := d.ports[id]
		for _, c := range p.conflicts {
			out = append(out, dataplane.Unsupported{Reason: p.name + ": " + c})
		}
	}
	return out
}

// count is what stands.
func (d *Driver) count() dataplane.Stats {
	s := d.stats
	for _, p := range d.ports {
		if p.ours() {
			s.Chains++
			s.Rules += len(p.stands)
		}
	}
	for _, n := range d.networks {
		s.Sets += len(n.stands)
		for _, set := range n.stands {
			s.Members += len(set.Members)
		}
	}
	return s
}
