package windows

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane_windows/hns"
)

// rounds is how often an Apply looks again, where what it found was gone when it came to write, or a refused list has to be replaced.
const rounds = 3

// Apply makes the host match s: sets are written before the lists that name them, and removed after; closing lists go before those that only open. What
// fails is tried again by an Apply after a while, for which Drift asks.
func (d *Driver) Apply(ctx context.Context, s *dataplane.State, changes *dataplane.Changes) (dataplane.Result, error) {
	d.turn.Lock()
	defer d.turn.Unlock()
	if err := ctx.Err(); err != nil {
		d.mu.Lock()
		d.whole = true
		d.mu.Unlock()
		return dataplane.Result{}, err
	}
	d.prepare(s, changes)
	bounded, cancel := context.WithTimeout(ctx, longest*d.cfg.Patience)
	defer cancel()
	for range rounds {
		if err := d.look(bounded); err != nil {
			return dataplane.Result{}, err
		}
		d.putSets(bounded)
		if !d.putLists(bounded) {
			break
		}
	}
	d.verify(bounded)
	d.sweep(bounded)
	if err := ctx.Err(); err != nil {
		return dataplane.Result{}, err
	}
	return d.finish()
}

// prepare takes the State in.
func (d *Driver) prepare(s *dataplane.State, changes *dataplane.Changes) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.whole {
		changes = nil
	}
	if changes == nil {
		d.seen.stale, d.seen.nets = true, true
		for o := range d.objects {
			o.retryAt = time.Time{}
		}
	}
	for o := range d.objects {
		if o.err == errUntried {
			o.err = nil
		}
	}
	d.whole, d.down = true, nil
	d.render(s, changes)
}

// objects are all those that calls are made on.
func (d *Driver) objects(yield func(*object) bool) {
	more := yield(&d.seen.endpoints) && yield(&d.seen.networks)
	for _, e := range d.endpoints {
		more = more && yield(&e.object)
	}
	for _, p := range d.ports {
		more = more && yield(&p.object)
	}
	for _, n := range d.networks {
		more = more && yield(&n.object) && yield(&n.sweeping)
	}
}

// everything are changes that name all that there is, and all that there was.
func (d *Driver) everything(s *dataplane.State) *dataplane.Changes {
	c := dataplane.NewChanges()
	for id := range s.Endpoints {
		c.Endpoints[id] = struct{}{}
	}
	for id := range d.endpoints {
		c.Endpoints[id] = struct{}{}
	}
	for ref := range d.wanted.sets {
		c.IPSets[ref.Set] = nil
	}
	return c
}

// finish says what has come of it.
func (d *Driver) finish() (dataplane.Result, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down != nil {
		return dataplane.Result{}, unavailable(d.down)
	}
	if !d.applied {
		d.lastFull = time.Now() // the first Apply has read everything
	}
	d.whole, d.applied = false, true
	return d.result(), nil
}

// putLists writes the lists that are not as they should be, and tells whether there is to be another look in this Apply.
func (d *Driver) putLists(ctx context.Context) (again bool) {
	d.mu.Lock()
	var due []write
	now := time.Now()
	clear(d.covers)
	for p := range d.pending {
		if w, ok := d.plan(p, now); ok {
			due = append(due, w)
		}
	}
	slices.SortFunc(due, func(a, b write) int {
		return cmp.Or(cmp.Compare(a.hurry, b.hurry), cmp.Compare(a.port.id, b.port.id))
	})
	jobs := make([]job, len(due))
	for i := range due {
		jobs[i] = d.putACLs(&due[i])
	}
	d.mu.Unlock()
	d.run(ctx, jobs)
	return d.unsettled(ctx)
}

// unsettled tells whether something is to be looked for or read again at once.
func (d *Driver) unsettled(ctx context.Context) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if ctx.Err() != nil || d.down != nil {
		return false
	}
	now := time.Now()
	if d.seen.stale && d.seen.endpoints.ready(now) || d.seen.nets && d.seen.networks.ready(now) {
		return true
	}
	for p := range d.pending {
		if !p.busy && (p.closeNow || !p.read && (p.reread || p.ready(now))) {
			return true
		}
	}
	return false
}

// write is a list on its way.
type write struct {
	port   *port
	hurry  hurry
	target []hns.ACL // of which own was composed
	own    []hns.ACL
	all    []json.RawMessage // nil: not written out yet
	kept   []json.RawMessage // those of others
}

// hurry is the order in which lists are written.
type hurry int

const (
	first hurry = iota // nothing of ours stands: the endpoint may be open
	closes
	opens
)

// plan is what is to be written at a port now, if anything.
func (d *Driver) plan(p *port, now time.Time) (write, bool) {
	if p.busy || !p.read {
		d.wake(p.retryAt)
		return write{}, false
	}
	p.reread = false
	target := d.target(p, now)
	if target == nil {
		return write{}, false
	}
	w, err := compose(p, target)
	if err != nil {
		p.err = err
		return write{}, false
	}
	if len(w.kept) == len(p.foreign) && p.holds(w.own) {
		p.stands, p.asRead = w.own, false // one copy
		d.settled(p, target)
		return write{}, false
	}
	switch {
	case !p.ours():
		w.hurry = first
	case d.covers.onlyOpens(p.stands, w.own):
		w.hurry = opens
	default:
		w.hurry = closes
	}
	if due := p.written.Add(d.cfg.Coalesce); w.hurry == opens && now.Before(due) && !p.drifted && !p.shut {
		d.wake(due)
		return write{}, false
	}
	return w, true
}

// target is the list that is to stand at a port for now; nil: it stays as it is.
func (d *Driver) target(p *port, now time.Time) []hns.ACL {
	if p.want == nil {
		delete(d.pending, p)
		return nil
	}
	if !p.ready(now) {
		d.wake(p.retryAt)
		if p.closeNow {
			return d.denyAll(p)
		}
		return nil
	}
	err, hold := d.missingSets(p), d.refusedSets(p)
	switch {
	case err == nil && !hold:
		return p.want
	case err != nil:
		p.err = err
	}
	if p.ours() && !hold {
		return nil
	}
	return d.denyAll(p)
}

// settled notes that what was to stand at the port does.
func (d *Driver) settled(p *port, target []hns.ACL) {
	p.closeNow, p.drifted = false, false
	if sameSlice(target, p.want) {
		p.worked()
		delete(d.pending, p)
	}
}

// compose puts a list of ours among what others have at the port.
func compose(p *port, target []hns.ACL) (write, error) {
	w := write{port: p, target: target}
	if len(p.foreign) == 0 {
		w.own, p.conflicts = target, nil
		return w, nil
	}
	if c := &p.composed; !sameSlice(c.target, target) || !sameSlice(c.foreign, p.foreign) {
		*c = composed{target, p.foreign, Compose(target, p.foreign)}
	}
	c := &p.composed.Composition
	p.conflicts = c.Conflicts
	if c.Engine != "" {
		return w, fmt.Errorf("%s polices %s: felid does not write there", c.Engine, p.name)
	}
	w.own, w.kept, w.all = c.Own, c.ACLs[:c.Kept], c.ACLs
	return w, nil
}

// settings are the whole list.
func (w *write) settings() []json.RawMessage {
	if w.all == nil {
		for _, a := range w.own {
			w.all = append(w.all, a.Raw())
		}
	}
	return w.all
}

// putACLs writes one list.
func (d *Driver) putACLs(w *write) job {
	p := w.port
	p.closeNow = false
	before := p.trouble
	return job{on: &p.object, call: d.asking(func() error { return d.cfg.HNS.PutACLs(p.id, w.settings()) }), note: func(err error) {
		if err != nil {
			d.notWritten(w, err)
			return
		}
		d.stats.Writes++
		if p.drifted {
			d.stats.Repairs++
		}
		p.over = p.over || p.ours()
		p.stands, p.asRead, p.foreign, p.written = w.own, false, w.kept, time.Now()
		p.shut = sameSlice(w.target, d.denyAll(p))
		p.writes++
		if !sameSlice(w.target, p.want) {
			p.trouble = before // it is closed for want of something better
		}
		d.settled(p, w.target)
	}}
}

// notWritten notes that HNS did not take a list: what stands now is to be read. Where it is nothing of ours, or HNS will never take a list that closes
// more than what stands, everything is denied until the State has a list that it takes.
func (d *Driver) notWritten(w *write, err error) {
	p := w.port
	if hns.NotFound(err) {
		d.vanished(p)
		return
	}
	p.read, p.reread = false, true
	p.refused = w.hurry == closes && !hns.Retryable(err) && !hns.Unavailable(err)
}
