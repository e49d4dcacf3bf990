package windows

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/felid-net/felid/dataplane/flatten"
	"github.com/felid-net/felid/dataplane_windows/hns"
)

// network is one of HNS, with the sets of ours on it. Another network's endpoints can't name them.
type network struct {
	object
	id       string
	read     bool // stands is what HNS holds, as far as we know
	stands   map[SetRef]*hns.Set
	need     map[SetRef]int      // ports of the network whose lists name it
	moved    map[SetRef]struct{} // those that may not stand as they should
	written  time.Time
	extra    bool // sets may stand that nobody needs
	refused  bool // HNS does not take what closes, and never will
	drifted  bool // somebody else changed what is ours
	sweeping object
}

func (d *Driver) network(id string) *network {
	n := d.networks[id]
	if n == nil {
		n = &network{
			object: object{name: "HNS network " + id}, id: id, sweeping: object{name: "HNS network " + id},
			stands: map[SetRef]*hns.Set{}, need: map[SetRef]int{}, moved: map[SetRef]struct{}{},
		}
		d.networks[id] = n
	}
	return n
}

// needSets notes which sets a port's list names from now on.
func (d *Driver) needSets(p *port, sets []SetRef) {
	if len(p.sets) == 0 && len(sets) == 0 {
		return
	}
	n := d.network(p.network)
	for _, ref := range sets {
		if n.need[ref]++; n.need[ref] == 1 {
			n.moved[ref] = struct{}{}
		}
	}
	for _, ref := range p.sets {
		if n.need[ref]--; n.need[ref] == 0 {
			delete(n.need, ref)
			delete(n.moved, ref)
			n.extra = true
		}
	}
	if p.sets = sets; !n.read {
		d.seen.nets = true
	}
}

// setMoved notes that a set has other members.
func (d *Driver) setMoved(ref SetRef) {
	for _, n := range d.networks {
		if n.need[ref] > 0 {
			n.moved[ref] = struct{}{}
		}
	}
}

// allOpen tells whether changed sets only let more through than those that stand. While lists are to be written, it is not sure.
func (d *Driver) allOpen(n *network, changed []*hns.Set) bool {
	if len(d.pending) > 0 {
		return false
	}
	for _, set := range changed {
		ref, _ := OwnSet(set.ID)
		does := effect(0)
		for _, id := range d.wanted.index.Users(ref) {
			does |= d.endpoints[id].effects[ref]
		}
		old, now := flatten.AddrsOf(n.stands[ref].Members...), flatten.AddrsOf(set.Members...)
		if !(does == allows && old.Minus(now).Empty() || does == blocks && now.Minus(old).Empty()) {
			return false
		}
	}
	return true
}

func (d *Driver) listNetworks() job {
	var list []hns.Network
	return job{on: &d.seen.networks, call: d.asking(func() (err error) { list, err = d.cfg.HNS.Networks(); return err }), note: func(err error) {
		if err == nil {
			d.tookNetworks(list)
		}
	}}
}

// tookNetworks notes which networks there are, and the sets of ours on them.
func (d *Driver) tookNetworks(list []hns.Network) {
	d.seen.nets, d.seen.netsListed = false, true
	seen := map[string]bool{}
	for i := range list {
		seen[list[i].ID] = true
		n := d.network(list[i].ID)
		if n.busy || n.sweeping.busy {
			d.seen.nets = true
			continue
		}
		n.read, n.extra = true, false
		clear(n.stands)
		for j := range list[i].Sets {
			if ref, ok := OwnSet(list[i].Sets[j].ID); ok {
				n.stands[ref] = &list[i].Sets[j]
				n.extra = n.extra || n.need[ref] == 0
			}
		}
		for ref := range n.need {
			n.moved[ref] = struct{}{}
		}
	}
	for id, n := range d.networks {
		if !seen[id] && !n.busy && !n.sweeping.busy {
			d.lostNetwork(n)
		}
	}
}

// lostNetwork notes that HNS does not know a network any more: its endpoints went with it.
func (d *Driver) lostNetwork(n *network) {
	n.read, n.extra = true, false
	clear(n.stands)
	if len(n.need) == 0 {
		delete(d.networks, n.id)
		return
	}
	for ref := range n.need {
		n.moved[ref] = struct{}{}
	}
	d.seen.stale = true
}

// sortMoved parts the sets that are to be written into those that are not there and those that have other members.
func (n *network) sortMoved(wanted map[SetRef]*hns.Set) (added, changed []*hns.Set) {
	for ref := range n.moved {
		set, stands := wanted[ref], n.stands[ref]
		switch {
		case set == nil || n.need[ref] == 0:
			delete(n.moved, ref)
		case stands == nil:
			added = append(added, set)
		case stands == set || stands.Equal(*set):
			n.stands[ref] = set
			delete(n.moved, ref)
		default:
			changed = append(changed, set)
		}
	}
	byID := func(a, b *hns.Set) int { return cmp.Compare(a.ID, b.ID) }
	slices.SortFunc(added, byID)
	slices.SortFunc(changed, byID)
	return added, changed
}

// putSets writes the sets that lists are going to name, and those whose members moved.
func (d *Driver) putSets(ctx context.Context) {
	d.mu.Lock()
	var jobs []job
	now := time.Now()
	for _, id := range slices.Sorted(maps.Keys(d.networks)) {
		n := d.networks[id]
		if !n.read || n.busy {
			continue
		}
		added, changed := n.sortMoved(d.wanted.sets)
		if len(n.moved) == 0 {
			n.worked()
			n.refused = false
			continue
		}
		due := n.written.Add(d.cfg.Coalesce)
		switch {
		case !n.ready(now):
			d.wake(n.retryAt)
		case now.Before(due) && len(added) == 0 && d.allOpen(n, changed):
			d.wake(due)
		default:
			jobs = append(jobs, d.putSetsOn(n, added, changed))
		}
	}
	d.mu.Unlock()
	d.run(ctx, jobs)
}

func (d *Driver) putSetsOn(n *network, added, changed []*hns.Set) job {
	a, c := copiesOf(added), copiesOf(changed)
	return job{on: &n.object, call: d.asking(func() error { return d.cfg.HNS.PutSets(n.id, a, c) }), note: func(err error) {
		if err != nil {
			n.read = false // what was written of it is not known
			d.seen.nets = true
			switch {
			case hns.NotFound(err):
				d.lostNetwork(n)
			case !hns.Retryable(err) && !hns.Unavailable(err):
				d.refuse(n)
			}
			return
		}
		n.refused = false
		n.written = time.Now()
		d.stats.Writes += min(len(added), 1) + min(len(changed), 1)
		d.repaired(n)
		for _, set := range slices.Concat(added, changed) {
			ref, _ := OwnSet(set.ID)
			if n.stands[ref] = set; d.wanted.sets[ref] == set {
				delete(n.moved, ref)
			}
		}
	}}
}

// repaired counts a network whose sets were not as they should be, once.
func (d *Driver) repaired(n *network) {
	if n.drifted {
		n.drifted = false
		d.stats.Repairs++
	}
}

// refuse notes that sets can't be brought to what they should be: lists that name them are to deny everything, as the old members may be too many.
func (d *Driver) refuse(n *network) {
	n.refused = true
	for _, p := range d.ports {
		if p.network == n.id && d.refusedSets(p) {
			d.pending[p] = struct{}{}
		}
	}
}

// refusedSets tells whether the port's list names a set with members that HNS does not take.
func (d *Driver) refusedSets(p *port) bool {
	n := d.networks[p.network]
	return n != nil && n.refused && slices.ContainsFunc(p.sets, func(ref SetRef) bool { _, moved := n.moved[ref]; return moved })
}

func copiesOf(sets []*hns.Set) []hns.Set {
	out := make([]hns.Set, len(sets))
	for i, s := range sets {
		out[i] = *s
	}
	return out
}

// missingSets says which set a list would name that does not stand on the port's network.
func (d *Driver) missingSets(p *port) error {
	if len(p.sets) == 0 {
		return nil
	}
	n := d.network(p.network)
	for _, ref := range p.sets {
		if n.stands[ref] != nil && n.read {
			continue
		}
		if err := n.fault(time.Now()); err != nil {
			return fmt.Errorf("its sets are not in place: %w", err)
		}
		return fmt.Errorf("set %s does not stand on %s yet", ref.ID(), n.name)
	}
	return nil
}

// sweep removes the sets of ours that no list names any longer, once all lists are as they should be.
func (d *Driver) sweep(ctx context.Context) {
	d.mu.Lock()
	var jobs []job
	named := d.standingSets()
	for _, id := range slices.Sorted(maps.Keys(d.networks)) {
		n := d.networks[id]
		if !n.read || n.busy || n.sweeping.busy {
			continue
		}
		if !n.extra {
			n.sweeping.worked()
			continue
		}
		if !n.sweeping.ready(time.Now()) {
			d.wake(n.sweeping.retryAt)
			continue
		}
		if gone := n.orphans(named[id]); len(gone) > 0 {
			jobs = append(jobs, d.removeSets(n, gone))
		}
	}
	d.mu.Unlock()
	d.run(ctx, jobs)
}

// orphans are sets that nobody needs and no list names.
func (n *network) orphans(named map[SetRef]bool) []hns.Set {
	var gone []hns.Set
	n.extra = false
	for ref, set := range n.stands {
		switch {
		case n.need[ref] > 0:
		case named[ref]:
			n.extra = true // later
		default:
			gone = append(gone, *set)
		}
	}
	slices.SortFunc(gone, func(a, b hns.Set) int { return cmp.Compare(a.ID, b.ID) })
	return gone
}

func (d *Driver) removeSets(n *network, gone []hns.Set) job {
	return job{on: &n.sweeping, call: d.asking(func() error { return d.cfg.HNS.RemoveSets(n.id, gone) }), note: func(err error) {
		if err != nil {
			n.extra, n.read = true, false
			d.seen.nets = true
			return
		}
		d.stats.Writes++
		d.repaired(n)
		for _, set := range gone {
			ref, _ := OwnSet(set.ID)
			delete(n.stands, ref)
		}
	}}
}

// standingSets are those that lists in force name, by network; looked up only where something is to be swept.
func (d *Driver) standingSets() map[string]map[SetRef]bool {
	out := map[string]map[SetRef]bool{}
	for _, p := range d.ports {
		n := d.networks[p.network]
		if n == nil || !n.extra {
			continue
		}
		if out[p.network] == nil {
			out[p.network] = map[SetRef]bool{}
		}
		for ref := range effectsOf(&List{ACLs: p.stands, Sets: []SetRef{{}}}) {
			out[p.network][ref] = true
		}
	}
	return out
}
