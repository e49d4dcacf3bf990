package windows

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/felid-net/felid/dataplane_windows/hns"
)

// CheckDrift tells whether an Apply is wanted, since HNS holds something else than it was given. It is meant to be called every few seconds: it then reads
// one endpoint, another each time, by which it notices that the service is down, or has forgotten; and everything where the last time is longer ago than
// Config.FullCheck. What an Apply changes meanwhile does not count.
func (d *Driver) CheckDrift(ctx context.Context) (needsApply bool, err error) {
	d.mu.Lock()
	if !d.applied {
		d.mu.Unlock()
		return false, nil // the first Apply will read everything
	}
	check := &driftCheck{d: d, writes: map[*port]int{}, lists: d.seen.lists}
	for _, p := range d.ports {
		check.writes[p] = p.writes
	}
	full := time.Since(d.lastFull) >= d.cfg.FullCheck
	jobs := check.sample()
	if full {
		d.lastFull = time.Now()
		jobs = check.everything()
	}
	d.mu.Unlock()
	d.run(ctx, jobs)
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, j := range jobs {
		if j.on.busy {
			check.err = errors.Join(check.err, j.on.fault(time.Now()))
		}
	}
	if full && check.err == nil && !check.odd {
		d.mistrust = nil
	}
	if check.drifted {
		d.log.Warn("ACLs or sets of felid were changed by somebody else, or endpoints of HNS came or went")
	}
	return check.drifted || check.back, check.err
}

// driftCheck is one look.
type driftCheck struct {
	d       *Driver
	writes  map[*port]int // when it began
	lists   int           // of endpoints that had been read
	drifted bool
	odd     bool // there is something else than was written, as there always is
	back    bool // HNS answers again
	err     error
}

// sample reads one port, or the version where there is none.
func (c *driftCheck) sample() []job {
	d := c.d
	if d.down != nil {
		return c.ask()
	}
	ids := slices.Sorted(maps.Keys(d.ports))
	for range ids {
		d.turnOf = (d.turnOf + 1) % len(ids)
		if p := d.ports[ids[d.turnOf]]; !p.busy && p.ours() {
			return []job{c.read(p)}
		}
	}
	return c.ask()
}

// ask asks for the version, to see whether HNS is there.
func (c *driftCheck) ask() []job {
	d := c.d
	if d.service.busy {
		c.err = d.service.fault(time.Now())
		return nil
	}
	call := func() error { _, err := d.cfg.HNS.Version(); return err }
	return []job{{on: &d.service, call: call, looks: true, note: func(err error) {
		if c.err = err; err == nil && d.down != nil {
			d.down, d.whole, c.back = nil, true, true
		}
	}}}
}

func (c *driftCheck) read(p *port) job {
	var got hns.Endpoint
	call := func() (err error) { got, err = c.d.cfg.HNS.Endpoint(p.id); return err }
	return job{on: &p.object, call: call, looks: true, note: func(err error) {
		switch {
		case hns.NotFound(err) && len(p.owners) == 0:
			c.d.drop(p)
		case hns.NotFound(err):
			c.d.vanished(p)
			c.d.seen.nets, c.drifted = true, true
		case err != nil:
			c.err = errors.Join(c.err, err)
			if hns.Unavailable(err) {
				c.d.down = err
			}
		case c.compare(p, &got) && p.stands == nil:
			c.d.seen.stale, c.d.seen.nets = true, true // more may be forgotten
		}
	}}
}

// compare takes what was read of a port, unless an Apply has written there meanwhile, and tells whether it is not what was there.
func (c *driftCheck) compare(p *port, e *hns.Endpoint) bool {
	if !p.read || !c.untouched(p) {
		return false
	}
	now := *p
	now.take(e, c.d.own)
	if sameACLs(now.stands, p.stands) && slices.EqualFunc(now.foreign, p.foreign, sameRaw) {
		p.drifts = 0
		return false
	}
	if c.odd = c.d.mistrust != nil; c.odd {
		return false
	}
	c.d.tookPort(e)
	p.drifts++
	p.drifted, c.drifted = true, true
	return true
}

func sameRaw(a, b json.RawMessage) bool { return bytes.Equal(a, b) }

// everything reads all that there is.
func (c *driftCheck) everything() []job {
	d := c.d
	var jobs []job
	for _, look := range []struct {
		on   *object
		list func() job
	}{{&d.seen.endpoints, c.listEndpoints}, {&d.seen.networks, c.listNetworks}} {
		if look.on.busy {
			c.err = errors.Join(c.err, look.on.fault(time.Now()))
		} else {
			jobs = append(jobs, look.list())
		}
	}
	for _, id := range slices.Sorted(maps.Keys(d.ports)) {
		if p := d.ports[id]; !p.attached && !p.busy {
			jobs = append(jobs, c.read(p))
		}
	}
	return jobs
}

func (c *driftCheck) listEndpoints() job {
	var list []hns.Endpoint
	call := func() (err error) { list, err = c.d.cfg.HNS.Endpoints(); return err }
	return job{on: &c.d.seen.endpoints, call: call, looks: true, note: func(err error) {
		if err != nil {
			c.err = errors.Join(c.err, err)
			return
		}
		seen, moved := map[string]bool{}, false
		for i := range list {
			seen[list[i].ID] = true
			if p := c.d.ports[list[i].ID]; p != nil {
				c.compare(p, &list[i])
			} else {
				moved = moved || c.d.mayBeOurs(&list[i])
			}
		}
		for p := range c.writes {
			switch {
			case !p.attached || seen[p.id] || c.d.ports[p.id] != p:
			case len(p.owners) == 0 && !p.busy:
				c.d.drop(p)
			default:
				moved = true
			}
		}
		if c.drifted = c.drifted || moved; moved && c.lists == c.d.seen.lists {
			c.d.tookEndpoints(list, c.untouched)
			c.d.bind()
		} else if moved {
			c.d.seen.stale = true
		}
	}}
}

// untouched tells whether no Apply has written at the port meanwhile.
func (c *driftCheck) untouched(p *port) bool { return !p.busy && p.writes == c.writes[p] }

// mayBeOurs tells whether an endpoint that has come carries our mark, or an address of an endpoint that has no port.
func (d *Driver) mayBeOurs(e *hns.Endpoint) bool {
	if slices.ContainsFunc(e.ACLs, d.own) {
		return true
	}
	for _, known := range d.endpoints {
		for _, a := range e.Addresses {
			if known.id == "" && !known.host && slices.Contains(known.addresses, a) {
				return true
			}
		}
	}
	return false
}

func (c *driftCheck) listNetworks() job {
	var list []hns.Network
	call := func() (err error) { list, err = c.d.cfg.HNS.Networks(); return err }
	return job{on: &c.d.seen.networks, call: call, looks: true, note: func(err error) {
		if err != nil {
			c.err = errors.Join(c.err, err)
			return
		}
		byID := map[string]*hns.Network{}
		for i := range list {
			byID[list[i].ID] = &list[i]
		}
		for id, n := range c.d.networks {
			if !n.busy && !n.sweeping.busy && n.read && !n.same(byID[id]) {
				n.drifted = true
				c.d.seen.nets, c.drifted = true, true
			}
		}
	}}
}

// same tells whether a network holds the sets of ours that it should.
func (n *network) same(is *hns.Network) bool {
	if is == nil {
		return len(n.stands) == 0
	}
	found := 0
	for i := range is.Sets {
		ref, ours := OwnSet(is.Sets[i].ID)
		if !ours {
			continue
		}
		if n.stands[ref] == nil || !n.stands[ref].Equal(is.Sets[i]) {
			return false
		}
		found++
	}
	return found == len(n.stands)
}

// verify reads back the first list that was written where there was none of ours, and the first that was written over one, to see whether HNS does what is
// taken for granted (H23, H24, H28).
func (d *Driver) verify(ctx context.Context) {
	d.mu.Lock()
	var jobs []job
	for _, id := range slices.Sorted(maps.Keys(d.ports)) {
		p := d.ports[id]
		if level := p.level(); level > d.verified && len(jobs) == 0 && d.down == nil && !p.busy && p.read {
			jobs = append(jobs, d.readBack(p, level))
		}
	}
	d.mu.Unlock()
	d.run(ctx, jobs)
}

// level is what reading the port back can show: that HNS takes a list, and that it replaces one.
func (p *port) level() int {
	switch {
	case p.over:
		return 2
	case p.writes > 0:
		return 1
	}
	return 0
}

func (d *Driver) readBack(p *port, level int) job {
	var got hns.Endpoint
	call := d.asking(func() (err error) { got, err = d.cfg.HNS.Endpoint(p.id); return err })
	return job{on: &p.object, call: call, looks: true, note: func(err error) {
		if err != nil {
			return // another time
		}
		now := *p
		now.busy = false
		now.take(&got, d.own)
		ours := sameACLs(now.stands, p.stands) && slices.Equal(now.types, p.types)
		if ours && len(now.foreign) != len(p.foreign) { // others have written meanwhile: to be composed anew, and read back then
			d.tookPort(&got)
			p.drifted = true
			d.pulse()
			return
		}
		switch d.verified = level; {
		case ours:
		case len(now.stands) == 0 && len(now.foreign) == len(p.foreign)+len(p.stands):
			d.nameless, d.seen.stale = true, true
			d.pulse()
		default:
			d.mistrust = errOtherList
		}
	}}
}

var (
	errNameless  = errors.New("HNS does not give back the Ids of ACLs: those without one at the priorities that felid uses are taken for felid's")
	errOtherList = errors.New("HNS does not hold the policies that it was given, and no others: policy may not be in force as written, and lists are not repaired")
)

// own tells whether an ACL is one of ours.
func (d *Driver) own(a hns.ACL) bool {
	if Own(a) {
		return true
	}
	ours := a.RuleType == hns.Host || a.Priority >= firstPriority && a.Priority <= lastPriority
	return d.nameless && a.ID == "" && ours
}
