package windows

import (
	"net/netip"
	"slices"
	"time"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane_windows/hns"
)

// endpoint is one of the State, and the list that it is to have. Its object is the search for its ports.
type endpoint struct {
	object
	host      bool   // of the host itself: it has no ports
	id        string // of HNS; "": it goes by its addresses
	addresses []netip.Addr
	list      List
	effects   map[SetRef]effect
	ports     []*port
}

// effect is what an address in a set comes to, by the rules of a list that name it.
type effect uint8

const (
	allows effect = 1 << iota
	blocks
)

// effectsOf are those of the sets that a list names.
func effectsOf(l *List) map[SetRef]effect {
	if len(l.Sets) == 0 {
		return nil
	}
	out := make(map[SetRef]effect, len(l.Sets))
	for i := range l.ACLs {
		a := &l.ACLs[i]
		does := allows
		if a.Action != hns.Allow {
			does = blocks
		}
		for _, text := range [...]string{a.LocalAddresses, a.RemoteAddresses} {
			if ref, ok := OwnSet(text); ok {
				out[ref] |= does
			}
		}
	}
	return out
}

// wanted is what the State makes of the node, as copies: no part of the State is kept.
type wanted struct {
	index    *Index
	renderer *Renderer    // with what it made of sets
	host     []netip.Addr // the host's own addresses that lists were made with
	sets     map[SetRef]*hns.Set
	later    map[SetRef]time.Time // when sets are to be written that have other members by now, which only let more through
	// unsupported are those of all endpoints, and moved says that they are to be gathered anew.
	unsupported []dataplane.Unsupported
	moved       bool
}

func newWanted() wanted {
	return wanted{index: NewIndex(), sets: map[SetRef]*hns.Set{}, later: map[SetRef]time.Time{}}
}

// render makes the lists anew that changes may concern, and the sets. Nil changes may concern all.
func (d *Driver) render(s *dataplane.State, changes *dataplane.Changes) {
	host := d.hostAddresses()
	r := d.wanted.renderer.Next(s, Options{Form: d.cfg.Form, HostAddresses: host}, changes)
	d.wanted.renderer = r
	if changes == nil {
		changes = d.everything(s)
	}
	affected := changes
	if !slices.Equal(host, d.wanted.host) {
		affected = nil
	}
	d.wanted.host = host
	for _, id := range d.wanted.index.Affected(s, affected) {
		d.renderEndpoint(r, s.Endpoints[id], id)
		d.wanted.moved = true
	}
	d.changeSets(r, s, changes)
	d.forgetSets()
}

func (d *Driver) renderEndpoint(r *Renderer, ep *dataplane.Endpoint, id dataplane.EndpointID) {
	e := d.endpoints[id]
	if ep == nil {
		d.wanted.index.Remove(id)
		d.seen.unbound = d.seen.unbound || e != nil
		delete(d.endpoints, id)
		return
	}
	if e == nil {
		e = &endpoint{object: object{name: string(id)}}
		d.endpoints[id] = e
		d.seen.unbound = true
	}
	hnsID := hnsID(ep.Interface)
	if e.host != (ep.Host != nil) || e.id != hnsID || !slices.Equal(e.addresses, ep.Addresses) {
		e.host, e.id, e.addresses = ep.Host != nil, hnsID, slices.Clone(ep.Addresses)
		e.worked() // what was not found is another's now
		// A port with its address may be another's that is gone by now.
		d.seen.unbound, d.seen.stale = true, d.seen.stale || hnsID == "" && !e.host
	}
	list := r.List(id)
	if e.list.ACLs != nil && sameText(list.ACLs, e.list.ACLs) && slices.Equal(list.Sets, e.list.Sets) {
		list.ACLs = e.list.ACLs
	}
	e.list, e.effects = list, effectsOf(&list)
	d.wanted.index.Put(ep, &e.list)
	for _, ref := range list.Sets {
		if d.wanted.sets[ref] == nil {
			set := r.Set(ref)
			d.wanted.sets[ref] = &set
		}
	}
	for _, p := range e.ports {
		d.aim(p)
	}
}

// changeSets makes the sets anew that moved and are in use, but for those that may wait.
func (d *Driver) changeSets(r *Renderer, s *dataplane.State, changes *dataplane.Changes) {
	now := time.Now()
	for ref, old := range d.wanted.sets {
		delta, moved := changes.IPSets[ref.Set]
		due, waits := d.wanted.later[ref]
		if !moved && !waits || s.IPSets[ref.Set] == nil { // gone: no list will name it
			continue
		}
		if !waits {
			due = d.dueSet(ref)
		}
		if now.Before(due) && len(d.pending) == 0 && (!moved || d.onlyOpensSet(ref, delta)) {
			d.wanted.later[ref] = due
			d.wake(due)
			continue
		}
		delete(d.wanted.later, ref)
		set := r.Set(ref)
		if len(set.Members) == 0 || old.Equal(set) { // an empty one is not written: no list will name it
			continue
		}
		d.wanted.sets[ref] = &set
		d.setMoved(ref)
	}
}

// dueSet is when a change of a set that may wait is to be written: so long after the last write to each of its networks. Where it does not stand yet, or
// lists are to be written, that is at once.
func (d *Driver) dueSet(ref SetRef) time.Time {
	var due time.Time
	for _, n := range d.networks {
		if n.need[ref] == 0 {
			continue
		}
		if !n.read || n.stands[ref] == nil || len(n.moved) > 0 {
			return time.Time{}
		}
		if at := n.written.Add(d.cfg.Coalesce); due.IsZero() || at.Before(due) {
			due = at
		}
	}
	return due
}

// onlyOpensSet tells whether a change of members only lets more through, by what lists do with those in the set.
func (d *Driver) onlyOpensSet(ref SetRef, delta *dataplane.SetDelta) bool {
	if delta == nil {
		return false
	}
	does := effect(0)
	for _, id := range d.wanted.index.Users(ref) {
		does |= d.endpoints[id].effects[ref]
	}
	return does == allows && len(delta.Removed) == 0 || does == blocks && len(delta.Added) == 0
}

// forgetSets drops the sets that no list names any more.
func (d *Driver) forgetSets() {
	for ref := range d.wanted.sets {
		if len(d.wanted.index.named[ref]) == 0 {
			delete(d.wanted.sets, ref)
			delete(d.wanted.later, ref)
		}
	}
}
