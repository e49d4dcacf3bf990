package policy_test

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/policy"
)

// TestReplay holds Resolver to Resolve: whatever the way to the resources of now, the State, its changes and the report are theirs.
// -rapid.checks=N makes each of its rounds longer.
func TestReplay(t *testing.T) {
	for round := range 6 {
		t.Run(fmt.Sprint(round), rapid.MakeCheck(replay))
	}
}

func replay(t *rapid.T) {
	m := maker{t}
	p := newPlayer(pick[dataplane.NodeName](m, "whose", "a", ""))
	for range 25 {
		o := m.object()
		p.update(v3.KeyOf(o), o)
	}
	p.flush(t)
	for range rapid.IntRange(5, 40).Draw(t, "steps") {
		p.step(m)
	}
	p.flush(t)
	p.reverse(m)
	p.flush(t)
}

// player keeps what a Resolver should know, and a copy of its State that only Changes keep up to date.
type player struct {
	opts     policy.Options
	resolver *policy.Resolver
	now      map[v3.Key]v3.Object
	former   []map[v3.Key]v3.Object // what now was at some flushes
	copy     *dataplane.State
}

func newPlayer(node dataplane.NodeName) *player {
	opts := policy.Options{Node: node, Host: dataplane.Host{Node: node, IPv6: true}}
	return &player{opts: opts, resolver: policy.NewResolver(opts), now: map[v3.Key]v3.Object{}, copy: dataplane.NewState()}
}

func (p *player) update(key v3.Key, o v3.Object) {
	p.resolver.Update(key, o)
	if o == nil {
		delete(p.now, key)
	} else {
		p.now[key] = o
	}
}

func (p *player) step(m maker) {
	keys := slices.SortedFunc(maps.Keys(p.now), compareKeys)
	switch kind := rapid.IntRange(0, 11).Draw(m.T, "step"); {
	case kind < 6 || len(keys) == 0:
		o := m.object()
		p.update(v3.KeyOf(o), o)
	case kind < 8:
		p.update(pick(m, "gone", keys...), nil)
	case kind == 8:
		key := pick(m, "again", keys...)
		p.update(key, p.now[key].Copy())
	case kind == 9: // never was
		if key := v3.KeyOf(m.object()); p.now[key] == nil {
			p.update(key, nil)
		}
	default:
		p.flush(m.T)
		p.former = append(p.former, maps.Clone(p.now))
	}
}

// reverse goes back to what once was, in any order, some of it twice.
func (p *player) reverse(m maker) {
	if len(p.former) == 0 {
		return
	}
	then := pick(m, "then", p.former...)
	keys := slices.Collect(maps.Keys(then))
	for key := range p.now {
		if then[key] == nil {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, compareKeys)
	for _, key := range rapid.Permutation(keys).Draw(m.T, "order") {
		p.update(key, then[key])
		if m.chance("flush between", 10) {
			p.flush(m.T)
		}
	}
}

func (p *player) flush(t *rapid.T) {
	state, changes := p.resolver.Flush()
	want, report := policy.Resolve(slices.Collect(maps.Values(p.now)), p.opts)
	compareStates(t, want, state)
	if got := p.resolver.Report(); !reflect.DeepEqual(report, got) {
		t.Fatalf("reports differ (-Resolve +Resolver):\n%s", cmp.Diff(report, got))
	}
	p.compareStatuses(t, state)
	applyChanges(t, p.copy, state, changes)
	if !reflect.DeepEqual(state, p.copy) {
		t.Fatalf("changes do not lead to the state (-State +by changes):\n%s", cmp.Diff(state, p.copy, compareValues))
	}
}

// compareStatuses holds what is said of each policy to the State and the report.
func (p *player) compareStatuses(t *rapid.T, state *dataplane.State) {
	local := map[dataplane.PolicyID]int{}
	for _, e := range state.Endpoints {
		mine := map[dataplane.PolicyID]struct{}{}
		stages := [][]dataplane.EndpointTier{e.Tiers}
		if h := e.Host; h != nil {
			stages = append(stages, h.Untracked, h.PreDNAT, h.Forward)
		}
		for _, tier := range slices.Concat(stages...) {
			for _, id := range append(slices.Clone(tier.Ingress), tier.Egress...) {
				mine[id] = struct{}{}
			}
		}
		for id := range mine {
			local[id]++
		}
	}
	for _, s := range p.resolver.LocalStatuses() {
		id := dataplane.PolicyID{Kind: string(s.Policy.Kind), Namespace: s.Policy.Namespace, Name: s.Policy.Name}
		if s.Local != local[id] {
			t.Fatalf("%s selects %d local endpoints, its status says %d", id, local[id], s.Local)
		}
		delete(local, id)
		var want []policy.Condition
		for _, c := range p.resolver.Report().Conditions {
			if c.Object == s.Policy {
				want = append(want, c)
			}
		}
		if !slices.Equal(s.Conditions, want) {
			t.Fatalf("%s: the report has %v, its status %v", id, want, s.Conditions)
		}
		if full, ok := p.resolver.Status(s.Policy); !ok || full.Selected < full.Local || !slices.Equal(full.Conditions, want) {
			t.Fatalf("%s: its own status is %+v", id, full)
		}
	}
	if len(local) > 0 {
		t.Fatalf("no status of %v", local)
	}
}

func compareStates(t interface{ Fatalf(string, ...any) }, want, got *dataplane.State) {
	if !reflect.DeepEqual(want, got) {
		t.Fatalf("Resolver differs from Resolve (-Resolve +Resolver):\n%s", cmp.Diff(want, got, compareValues))
	}
}

var compareValues = cmp.Options{cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})}

// applyChanges brings to to the state of from by looking at nothing but what changes name.
func applyChanges(t *rapid.T, to, from *dataplane.State, changes *dataplane.Changes) {
	for id := range changes.Endpoints {
		follow(to.Endpoints, from.Endpoints, id)
	}
	for id := range changes.Policies {
		follow(to.Policies, from.Policies, id)
	}
	for name := range changes.Nodes {
		follow(to.Nodes, from.Nodes, name)
	}
	if changes.Host {
		to.Host = from.Host
	}
	for id, delta := range changes.IPSets {
		switch {
		case from.IPSets[id] == nil:
			delete(to.IPSets, id)
		case delta == nil:
			fresh := *from.IPSets[id]
			fresh.Members = maps.Clone(fresh.Members)
			to.IPSets[id] = &fresh
		default:
			applyDelta(t, to.IPSets[id], delta)
		}
	}
}

func applyDelta(t *rapid.T, set *dataplane.IPSet, delta *dataplane.SetDelta) {
	if len(delta.Added)+len(delta.Removed) == 0 {
		t.Fatalf("set %s has an empty delta", set.ID)
	}
	for _, member := range delta.Added {
		if _, ok := set.Members[member]; ok {
			t.Fatalf("set %s: %v added, but was there", set.ID, member)
		}
		set.Members[member] = struct{}{}
	}
	for _, member := range delta.Removed {
		if _, ok := set.Members[member]; !ok {
			t.Fatalf("set %s: %v removed, but was not there", set.ID, member)
		}
		delete(set.Members, member)
	}
}

func follow[K comparable, V any](to, from map[K]*V, key K) {
	if v := from[key]; v != nil {
		to[key] = v
	} else {
		delete(to, key)
	}
}

func compareKeys(a, b v3.Key) int {
	return slices.Compare([]string{string(a.Kind), a.Namespace, a.Name}, []string{string(b.Kind), b.Namespace, b.Name})
}
