package linux

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane_linux/iptables"
	"github.com/felid-net/felid/dataplane_linux/netlink"
)

// Apply makes the host match s. The order keeps every rule's sets in being and enforcement ahead of traffic: sets are made and
// filled, then tables, then members leave sets, then routes, then the tracked connections of addresses that were given up are deleted, and last the sets that no rule
// names any longer. What was refused before is tried again where it changed, and by a call with nil or empty changes.
func (d *Dataplane) Apply(ctx context.Context, s *dataplane.State, changes *dataplane.Changes) (dataplane.Result, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := ctx.Err(); err != nil {
		d.whole = true
		return dataplane.Result{}, err
	}
	if d.whole {
		changes = nil
	}
	host := s.Host
	d.devices.update(s, changes == nil || changes.Empty())
	cfg := d.cfg.render()
	cfg.Devices = d.devices.names
	r, err := newRenderer(cfg, &host)
	if err != nil {
		return dataplane.Result{}, err
	}
	d.whole = true
	if changes == nil || changes.Empty() {
		for _, t := range d.tables {
			t.Retry()
		}
	}
	maps.Copy(d.forget, d.local.update(s, changes, d.net))
	if d.cfg.DenyGroup != 0 {
		d.denials.update(s, changes)
	}
	d.record.update(s, changes, r)
	res := dataplane.Result{
		Endpoints: map[dataplane.EndpointID]error{}, Policies: map[dataplane.PolicyID]error{}, Others: map[string]error{},
	}
	if err := d.write(ctx, s, &res); err != nil {
		return res, err
	}
	if !d.applied {
		d.lastFull = time.Now() // the first Apply has read everything
	}
	d.whole, d.applied = false, true
	d.count(&res)
	return res, nil
}

// write brings everything to the kernel. An error is one after which nothing can be said of IPv4 enforcement; whatever else fails is
// named in res, and does not stop the rest.
func (d *Dataplane) write(ctx context.Context, s *dataplane.State, res *dataplane.Result) error {
	b := blame{d: d, s: s, res: res}
	b.faults()
	if err := d.devices.err; err != nil {
		res.Others["interfaces of host endpoints"] = err
	}
	added, err := d.sets.ApplyAdds(ctx)
	d.wrote(added.Writes, added.Repairs)
	if err != nil {
		return fmt.Errorf("ip sets: %w", err)
	}
	for name, err := range added.Failed {
		b.set(name, err)
	}
	if err := errors.Join(d.writeTables(ctx, &b), d.deleteMembers(ctx, &b)); err != nil {
		return err
	}
	d.writeRoutes(ctx, &b)
	removed, err := d.sets.ApplyRemoves(ctx)
	d.wrote(removed.Writes, removed.Repairs)
	if err != nil {
		res.Others["ip sets that are no longer used"] = err
	}
	for name, err := range removed.Failed {
		res.Others["ip set "+name] = err
	}
	return nil
}

// deleteMembers takes out of the sets who is in them no longer, whether or not the tables could be written: addresses of pods that are gone
// must not stay allowed.
func (d *Dataplane) deleteMembers(ctx context.Context, b *blame) error {
	out, err := d.sets.ApplyDeletes(ctx)
	d.wrote(out.Writes, out.Repairs)
	if err != nil {
		return fmt.Errorf("ip sets: %w", err)
	}
	for name, err := range out.Failed {
		b.set(name, err)
	}
	return nil
}

func (d *Dataplane) writeTables(ctx context.Context, b *blame) error {
	var errs []error
	for _, t := range d.tables {
		out, err := t.Apply(ctx)
		d.wrote(out.Writes, out.Repairs)
		switch {
		case err != nil && t.Name() == "filter" && t.Family() == iptables.IPv4:
			errs = append(errs, err)
		case err != nil && b.unwanted(t):
			d.log.Debug("a table that felid has no need of can't be read", "table", t.String(), "error", err)
		case err != nil:
			b.table(t, err)
		}
		b.chains(t, out.Failed)
	}
	return errors.Join(errs...)
}

func (d *Dataplane) writeRoutes(ctx context.Context, b *blame) {
	out, err := d.net.Apply(ctx)
	d.wrote(out.Writes, out.Repairs)
	if err != nil {
		b.res.Others["routes"] = err
	}
	if out.Host != nil {
		b.res.Others["forwarding"] = out.Host
	}
	for name, err := range out.Devices {
		b.device(name, err)
	}
	for dst, err := range out.Routes {
		b.route(dst, err)
	}
	for p, err := range d.local.refused {
		b.res.Others["route "+p.String()] = err
	}
	d.forgetConnections(b)
}

// forgetConnections deletes the tracked connections of addresses that were given up. Where that fails, the endpoints that had them are
// named, though they are gone: until it succeeds, nobody may have the addresses.
func (d *Dataplane) forgetConnections(b *blame) {
	if err := d.net.ForgetConnections(maps.Keys(d.forget)); err != nil {
		for _, id := range d.forget {
			b.endpoint(id, err)
		}
		return
	}
	clear(d.forget)
}

// wrote counts.
func (d *Dataplane) wrote(writes, repairs int) {
	d.stats.Writes += writes
	d.stats.Repairs += repairs
}

func (d *Dataplane) count(res *dataplane.Result) {
	d.stats.Chains, d.stats.Rules = 0, 0
	for _, t := range d.tables {
		chains, rules := t.Count()
		d.stats.Chains += chains
		d.stats.Rules += rules
	}
	d.stats.Sets, d.stats.Members = d.sets.Count()
	res.Stats = d.stats
}

// blame finds the objects behind what failed.
type blame struct {
	d   *Dataplane
	s   *dataplane.State
	res *dataplane.Result
}

// faults names endpoints that could not be rendered.
func (b *blame) faults() {
	for id, rec := range b.d.record.endpoints {
		if rec.fault != nil {
			b.res.Endpoints[id] = rec.fault
		}
	}
}

// table names everybody, where nothing is known of a filter table, and the host endpoints where it is one that is theirs alone.
func (b *blame) table(t *iptables.Table, err error) {
	b.res.Others[t.String()] = err
	b.everybody(t, err)
}

// unwanted tells whether nothing of ours is to be in a table that is for host endpoints alone.
func (b *blame) unwanted(t *iptables.Table) bool {
	chains, rules := t.Count()
	return chains+rules == 0 && slices.Contains(hostTables[:], t.Name())
}

// everybody names all whose packets cross a table.
func (b *blame) everybody(t *iptables.Table, err error) {
	switch {
	case t.Name() == "filter":
		for id := range b.d.record.endpoints {
			b.endpoint(id, err)
		}
	case slices.Contains(hostTables[:], t.Name()):
		b.hosts(err)
	}
}

func (b *blame) hosts(err error) {
	for id := range b.d.record.hosts.ids {
		b.endpoint(id, err)
	}
}

func (b *blame) endpoint(id dataplane.EndpointID, err error) {
	b.res.Endpoints[id] = errors.Join(b.res.Endpoints[id], err)
}

func (b *blame) policy(id dataplane.PolicyID, f Family, err error) {
	b.res.Policies[id] = errors.Join(b.res.Policies[id], err)
	for key, users := range b.d.record.policies[id].users {
		for ep := range users {
			if key.family == f {
				b.endpoint(ep, fmt.Errorf("%s: %w", id, err))
			}
		}
	}
}

// chains names whose chains they are. The owners are looked up only here, because chains seldom fail.
func (b *blame) chains(t *iptables.Table, failed map[string]error) {
	if len(failed) == 0 {
		return
	}
	left := maps.Clone(failed)
	f := Family(t.Family())
	at := tableKey{f, t.Name()}
	for id, rec := range b.d.record.endpoints {
		for _, name := range rec.chains[f] {
			if err := failed[name]; err != nil && t.Name() == "filter" {
				b.endpoint(id, err)
				delete(left, name)
			}
		}
	}
	for name, owner := range b.d.record.hosts.chains[at] {
		if err := failed[name]; err != nil && owner != "" {
			b.endpoint(owner, err)
			delete(left, name)
		} else if err != nil {
			b.hosts(err)
		}
	}
	for id, rec := range b.d.record.policies {
		for key := range rec.chains {
			name := policyChain(key.stage, key.direction, id)
			if err := failed[name]; err != nil && key.table() == at {
				b.policy(id, f, err)
				delete(left, name)
			}
		}
	}
	b.groups(t, f, left)
	for name, err := range left {
		b.res.Others[t.String()+" chain "+name] = err
		if b.d.record.shared(t.Name(), f, name) {
			b.everybody(t, err)
		}
	}
}

// groups names the endpoints whose packets cross the groups that failed.
func (b *blame) groups(t *iptables.Table, f Family, left map[string]error) {
	for name, err := range left {
		rec := b.d.record.groups.byKey[groupKey{f, name}]
		if rec == nil || t.Name() != "filter" {
			continue
		}
		for id := range rec.users {
			b.endpoint(id, err)
		}
		delete(left, name)
	}
}

// shared tells whether a chain is one that many endpoints' packets cross: one of the kernel's, or a static one of table filter.
func (c *record) shared(table string, f Family, name string) bool {
	_, fixed := c.fixed[f][name]
	return fixed && table == "filter" || strings.ToUpper(name) == name
}

// set names the policies whose rules use it.
func (b *blame) set(name string, err error) {
	b.res.Others["ip set "+name] = err
	for id, rec := range b.d.record.policies {
		for key, chain := range rec.chains {
			if usesSet(key.family, b.s.Policies[id], key.direction, chain, name) {
				b.policy(id, key.family, err)
			}
		}
	}
}

func usesSet(f Family, p *dataplane.Policy, d dataplane.Direction, chain chainRecord, name string) bool {
	for _, n := range chain.nets {
		if n == name {
			return true
		}
	}
	for _, rule := range rulesOf(p, d) {
		for _, side := range []*dataplane.Side{&rule.Src, &rule.Dst} {
			for _, list := range [][]dataplane.IPSetID{side.IPSets, side.NotIPSets, side.PortSets, side.NotPortSets} {
				for _, id := range list {
					if setName(f, string(id)) == name {
						return true
					}
				}
			}
		}
	}
	return false
}

// device names the endpoint of an interface.
func (b *blame) device(name string, err error) {
	claims := b.d.record.claims[name]
	for _, id := range claims {
		b.endpoint(id, err)
	}
	if len(claims) == 0 {
		b.res.Others["interface "+name] = err
	}
}

// route names the endpoints of an address, where it is one's, or the one that had it.
func (b *blame) route(dst netip.Prefix, err error) {
	if id, gone := b.d.forget[dst.Addr()]; gone && dst.IsSingleIP() {
		b.endpoint(id, err)
	}
	if claims := b.d.local.claims[dst.Addr()]; dst.IsSingleIP() && len(claims) > 0 {
		for _, id := range claims {
			if !errors.Is(b.res.Endpoints[id], netlink.ErrNoDevice) { // said once
				b.endpoint(id, err)
			}
		}
		return
	}
	b.res.Others["route "+dst.String()] = err
}
