package windows

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane_windows/hns"
)

// port is an endpoint of HNS, as it was last seen.
type port struct {
	object
	id, network string
	addresses   []netip.Addr
	attached    bool // else it is known by its ID alone
	read        bool // stands and foreign are what HNS holds, as far as we know
	stands      []hns.ACL
	asRead      bool              // stands is in HNS's writing
	foreign     []json.RawMessage // the ACLs of others, as HNS gave them
	composed    composed
	drifted     bool      // somebody else changed what is ours
	drifts      int       // how often it has, without a check between that found all well
	reread      bool      // after a write that failed, once
	shut        bool      // the last list written denies everything
	refused     bool      // HNS does not take a list that closes, and never will
	closeNow    bool      // what should stand can't be written, and what stands may be open: everything is denied for now
	written     time.Time // the last list
	writes      int       // lists that were written
	over        bool      // one of them over another of ours

	owners    []dataplane.EndpointID // sorted
	want      []hns.ACL              // ours; nil: nothing
	sets      []SetRef               // that want names
	conflicts []string               // with ACLs of others
	types     []string               // of policies that are no ACLs
}

// composed is a list of ours among those of others.
type composed struct {
	target  []hns.ACL
	foreign []json.RawMessage
	Composition
}

// holds tells whether a list of ours is what stands at the port.
func (p *port) holds(own []hns.ACL) bool {
	if p.asRead {
		return sameACLs(own, p.stands)
	}
	return sameText(own, p.stands)
}

// ours tells whether something of ours stands at the port.
func (p *port) ours() bool { return len(p.stands) > 0 }

// take notes what HNS says of the port, but for what a call that goes on may be changing.
func (p *port) take(e *hns.Endpoint, own func(hns.ACL) bool) {
	p.network, p.addresses = e.Network, e.Addresses
	if p.busy {
		return
	}
	p.read, p.stands, p.asRead, p.foreign = true, nil, true, nil
	for i, acl := range e.ACLs {
		if own(acl) {
			p.stands = append(p.stands, acl)
		} else {
			p.foreign = append(p.foreign, e.Raw[i])
		}
	}
	p.types = e.Others
}

// sightings are how and when the driver looks for endpoints.
type sightings struct {
	endpoints, networks object
	stale               bool // the list of endpoints may be another by now
	nets                bool // that of networks
	listed, netsListed  bool // it has been read
	lists               int  // how often it has
	unbound             bool // endpoints or ports have moved since they were brought together
	byAddress           map[netip.Addr][]*port
	lost                map[string]trouble // of ports that HNS did not know when they were written: if it lists them yet, there is no hurry
}

func newSightings() sightings {
	return sightings{
		endpoints: object{name: "endpoints"}, networks: object{name: "networks"}, stale: true, nets: true,
		byAddress: map[netip.Addr][]*port{}, lost: map[string]trouble{},
	}
}

// isGUID tells an ID of HNS, in its usual form, from the name of an interface.
func isGUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != (s[i] == '-') || !dash && !strings.ContainsRune("0123456789ABCDEFabcdef", rune(s[i])) {
			return false
		}
	}
	return true
}

// hnsID is the ID that an endpoint's Interface gives; "" where it gives none, and the endpoint goes by its addresses.
func hnsID(iface string) string {
	if id := strings.Trim(iface, "{}"); isGUID(id) {
		return strings.ToUpper(id)
	}
	return ""
}

// tookEndpoints notes a list of what is attached; what it says of ports that are not untouched is old. Ports that went by their ID alone stay,
// until a call finds them gone.
func (d *Driver) tookEndpoints(list []hns.Endpoint, untouched func(*port) bool) {
	seen := map[string]bool{}
	for i := range list {
		e := &list[i]
		seen[e.ID] = true
		p := d.ports[e.ID]
		if p == nil || untouched(p) {
			p = d.tookPort(e)
		}
		p.attached = true
	}
	d.seen.lists++
	for id, p := range d.ports {
		if seen[id] {
			continue
		}
		if p.attached = false; !d.byID(p) && !p.busy {
			d.drop(p)
		}
	}
	d.seen.stale, d.seen.listed, d.seen.unbound = false, true, true
	clear(d.seen.byAddress)
	clear(d.seen.lost)
	for _, id := range slices.Sorted(maps.Keys(d.ports)) {
		if p := d.ports[id]; p.attached {
			for _, a := range p.addresses {
				d.seen.byAddress[a] = append(d.seen.byAddress[a], p)
			}
		}
	}
}

// tookPort notes one endpoint of HNS.
func (d *Driver) tookPort(e *hns.Endpoint) *port {
	p := d.ports[e.ID]
	if p == nil {
		p = &port{object: object{name: "HNS endpoint " + e.ID, trouble: d.seen.lost[e.ID]}, id: e.ID}
		d.ports[e.ID] = p
		d.seen.unbound = true
	}
	sets := p.sets
	d.needSets(p, nil)
	p.take(e, d.own)
	d.needSets(p, sets)
	if p.want != nil || p.ours() {
		d.pending[p] = struct{}{}
	}
	return p
}

// byID tells whether an owner of the port goes by its ID.
func (d *Driver) byID(p *port) bool {
	for _, id := range p.owners {
		if e := d.endpoints[id]; e != nil && e.id == p.id {
			return true
		}
	}
	return false
}

// drop forgets a port that is gone.
func (d *Driver) drop(p *port) {
	d.needSets(p, nil)
	delete(d.ports, p.id)
	delete(d.pending, p)
	d.seen.unbound = true
}

// look brings what is known of HNS up to date, as far as it may have moved or something is not found, and says whose each port is.
func (d *Driver) look(ctx context.Context) error {
	d.mu.Lock()
	jobs := d.lookups()
	d.mu.Unlock()
	d.run(ctx, jobs)
	d.mu.Lock()
	d.bind()
	if d.missing() {
		d.seen.stale = true
	}
	jobs = d.lookups()
	d.mu.Unlock()
	d.run(ctx, jobs)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.bind()
	return d.sightless()
}

// sightless is an error where nothing can be said of the host.
func (d *Driver) sightless() error {
	if d.down != nil {
		return unavailable(d.down)
	}
	if d.seen.listed {
		return nil
	}
	if err := d.seen.endpoints.fault(time.Now()); err != nil {
		return fmt.Errorf("the endpoints of HNS can't be listed: lists stay as they are: %w", err)
	}
	return errUntried
}

// lookups are the calls that find what is to be found.
func (d *Driver) lookups() []job {
	now := time.Now()
	var jobs []job
	if d.seen.stale && d.seen.endpoints.ready(now) {
		jobs = append(jobs, d.listEndpoints())
	}
	if d.seen.nets && d.seen.networks.ready(now) {
		jobs = append(jobs, d.listNetworks())
	}
	for _, id := range slices.Sorted(maps.Keys(d.endpoints)) {
		if e := d.endpoints[id]; e.id != "" && d.ports[e.id] == nil && e.ready(now) && d.seen.listed {
			jobs = append(jobs, d.getEndpoint(e))
		}
	}
	for p := range d.pending {
		if !p.read && !p.busy && (p.reread || p.ready(now)) {
			jobs = append(jobs, d.getPort(p))
		}
	}
	return jobs
}

func (d *Driver) listEndpoints() job {
	var list []hns.Endpoint
	return job{on: &d.seen.endpoints, call: d.asking(func() (err error) { list, err = d.cfg.HNS.Endpoints(); return err }), note: func(err error) {
		if err == nil {
			d.tookEndpoints(list, func(*port) bool { return true })
		}
	}}
}

// getEndpoint looks for an endpoint of the State by the ID that it came with.
func (d *Driver) getEndpoint(e *endpoint) job {
	var got hns.Endpoint
	id := e.id
	return job{on: &e.object, call: d.asking(func() (err error) { got, err = d.cfg.HNS.Endpoint(id); return err }), note: func(err error) {
		if err == nil && got.Remote {
			e.failed(time.Now(), fmt.Errorf("HNS endpoint %s is one of another host", id))
		} else if err == nil {
			d.tookPort(&got)
		}
	}}
}

// getPort reads a port again of which is not known what stands there.
func (d *Driver) getPort(p *port) job {
	var got hns.Endpoint
	p.reread = false
	call := d.asking(func() (err error) { got, err = d.cfg.HNS.Endpoint(p.id); return err })
	return job{on: &p.object, call: call, reads: true, note: func(err error) {
		switch {
		case err == nil:
			d.tookPort(&got)
			p.closeNow = !p.ours() || p.refused
		case hns.NotFound(err):
			d.vanished(p)
		}
	}}
}

// vanished notes that HNS does not know a port any more.
func (d *Driver) vanished(p *port) {
	d.seen.lost[p.id] = p.trouble
	d.drop(p)
	d.seen.stale = true
}

// asking makes a call of HNS, unless another has shown in this Apply that the service is not there.
func (d *Driver) asking(call func() error) func() error {
	return func() error {
		d.mu.Lock()
		down := d.down
		d.mu.Unlock()
		if down != nil {
			return down
		}
		err := call()
		if hns.Unavailable(err) {
			d.mu.Lock()
			d.down = err
			d.mu.Unlock()
		}
		return err
	}
}

var errNotAttached = errors.New("HNS has no attached endpoint with an address of this one")

// missing tells whether an endpoint is not found that is to be looked for in a new list.
func (d *Driver) missing() bool {
	now := time.Now()
	missing := false
	for _, e := range d.endpoints {
		if e.id == "" && !e.host && len(e.ports) == 0 && e.ready(now) {
			e.failed(now, errNotAttached)
			missing = true
		}
	}
	return missing && !d.seen.stale
}

// bind says whose each port is. Who names a port by its ID comes before those that have its address.
func (d *Driver) bind() {
	if !d.seen.unbound {
		return
	}
	d.seen.unbound = false
	for _, p := range d.ports {
		p.owners = nil
	}
	ids := slices.Sorted(maps.Keys(d.endpoints))
	for _, id := range ids {
		e := d.endpoints[id]
		e.ports = nil
		if p := d.ports[e.id]; e.id != "" && p != nil {
			e.own(id, p)
		}
	}
	for _, id := range ids {
		if e := d.endpoints[id]; e.id == "" && !e.host {
			d.bindByAddress(id, e)
		}
	}
	for _, p := range d.ports {
		d.aim(p)
	}
}

func (d *Driver) bindByAddress(id dataplane.EndpointID, e *endpoint) {
	for _, a := range e.addresses {
		for _, p := range d.seen.byAddress[a] {
			if p.attached && !d.byID(p) && !slices.Contains(e.ports, p) {
				e.own(id, p)
			}
		}
	}
	if len(e.ports) > 0 && !e.busy {
		e.worked()
	}
}

func (e *endpoint) own(id dataplane.EndpointID, p *port) {
	e.ports = append(e.ports, p)
	p.owners = append(p.owners, id)
}

// aim says what list the port is to have: its owner's; one that denies all, where it has several owners, or none and carries our mark.
func (d *Driver) aim(p *port) {
	want, sets := p.want, p.sets
	switch {
	case len(p.owners) == 1:
		e := d.endpoints[p.owners[0]]
		want, sets = e.list.ACLs, e.list.Sets
	case len(p.owners) > 1, p.want != nil, p.ours():
		want, sets = d.denyAll(p), nil
	}
	if sameSlice(want, p.want) {
		return
	}
	p.want = want
	d.needSets(p, sets)
	d.pending[p] = struct{}{}
}

// closedList and closedBoth, with IPv6, are one for all, as lists are compared by where they are, first.
var (
	closedList = Closed()
	closedBoth = append(Closed(), closed6(hns.In), closed6(hns.Out))
)

// denyAll is the list for a port at which everything is denied. Where it has an IPv6 address, that family is named besides (H3).
func (d *Driver) denyAll(p *port) []hns.ACL {
	if d.cfg.Form.IPv6 && slices.ContainsFunc(p.addresses, netip.Addr.Is6) {
		return closedBoth
	}
	return closedList
}

// sameSlice tells whether two slices are one.
func sameSlice[T any](a, b []T) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}
