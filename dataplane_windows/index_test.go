package windows

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/felid-net/felid/dataplane"
)

// neighbours is a state of n endpoints, each with a policy and a set of its own, and one that all share.
func neighbours(n int) *dataplane.State {
	s := state(nil, nil)
	delete(s.Endpoints, testID)
	shared := dataplane.PolicyID{Kind: "GlobalNetworkPolicy", Name: "shared"}
	s.Policies[shared] = &dataplane.Policy{ID: shared, Tier: "default", Ingress: []dataplane.Rule{{
		Action: dataplane.Allow, Protocol: 6, Src: dataplane.Side{IPSets: []dataplane.IPSetID{"all"}}, Dst: dataplane.Side{Ports: []dataplane.PortRange{{Min: 9090, Max: 9090}}},
	}}}
	s.IPSets["all"] = podSet("all", 100, 1)
	for i := range n {
		id := dataplane.PolicyID{Kind: "NetworkPolicy", Namespace: "a", Name: fmt.Sprintf("p%d", i)}
		set := dataplane.IPSetID(fmt.Sprintf("set%d", i))
		s.IPSets[set] = podSet(set, 20, i+2)
		s.Policies[id] = &dataplane.Policy{ID: id, Tier: "default", Ingress: []dataplane.Rule{{Action: dataplane.Allow, Src: dataplane.Side{IPSets: []dataplane.IPSetID{set}}}}}
		ep := dataplane.EndpointID(fmt.Sprintf("pod/a/%d", i))
		s.Endpoints[ep] = &dataplane.Endpoint{
			ID: ep, Node: "n1", Addresses: []netip.Addr{netip.AddrFrom4([4]byte{10, 65, 1, byte(i)})},
			Tiers: []dataplane.EndpointTier{{Name: "default", Ingress: []dataplane.PolicyID{id, shared}, Default: dataplane.Deny}},
		}
	}
	return s
}

func indexed(s *dataplane.State, form Form) *Index {
	x, r := NewIndex(), NewRenderer(s, Options{Form: form})
	for id, ep := range s.Endpoints {
		l := r.List(id)
		x.Put(ep, &l)
	}
	return x
}

func TestAffected(t *testing.T) {
	all := []dataplane.EndpointID{"pod/a/0", "pod/a/1", "pod/a/2"}
	one := func(i int) []dataplane.EndpointID { return all[i : i+1] }
	member := &dataplane.SetDelta{Added: []dataplane.Member{{Prefix: single("10.128.0.1")}}}
	member6 := &dataplane.SetDelta{Added: []dataplane.Member{{Prefix: single("fd00::1")}}}
	for name, c := range map[string]struct {
		changes     func(s *dataplane.State, c *dataplane.Changes)
		plain, sets []dataplane.EndpointID
	}{
		"nothing":             {func(*dataplane.State, *dataplane.Changes) {}, nil, nil},
		"a member of its set": {func(_ *dataplane.State, c *dataplane.Changes) { c.IPSets["set1"] = member }, one(1), nil},
		"of the shared set":   {func(_ *dataplane.State, c *dataplane.Changes) { c.IPSets["all"] = member }, all, nil},
		"of another family":   {func(_ *dataplane.State, c *dataplane.Changes) { c.IPSets["all"] = member6 }, all, nil},
		"a set that is new":   {func(_ *dataplane.State, c *dataplane.Changes) { c.IPSets["new"] = nil }, nil, nil},
		"a set to compare":    {func(_ *dataplane.State, c *dataplane.Changes) { c.IPSets["set2"] = nil }, one(2), nil},
		"the last member": {func(s *dataplane.State, c *dataplane.Changes) {
			clear(s.IPSets["set1"].Members)
			c.IPSets["set1"] = &dataplane.SetDelta{Removed: member.Added}
		}, one(1), one(1)},
		"a set that went": {func(s *dataplane.State, c *dataplane.Changes) { delete(s.IPSets, "all"); c.IPSets["all"] = nil }, all, all},
		"a policy": {func(_ *dataplane.State, c *dataplane.Changes) {
			c.Policies[dataplane.PolicyID{Kind: "NetworkPolicy", Namespace: "a", Name: "p2"}] = struct{}{}
		}, one(2), one(2)},
		"the node's":       {func(_ *dataplane.State, c *dataplane.Changes) { c.Nodes["n1"] = struct{}{} }, all, all},
		"another node's":   {func(_ *dataplane.State, c *dataplane.Changes) { c.Nodes["n2"] = struct{}{} }, nil, nil},
		"the host's ways":  {func(_ *dataplane.State, c *dataplane.Changes) { c.Host = true }, all, all},
		"an endpoint":      {func(_ *dataplane.State, c *dataplane.Changes) { c.Endpoints["pod/a/0"] = struct{}{} }, one(0), one(0)},
		"one that is gone": {func(_ *dataplane.State, c *dataplane.Changes) { c.Endpoints["pod/a/9"] = struct{}{} }, []dataplane.EndpointID{"pod/a/9"}, []dataplane.EndpointID{"pod/a/9"}},
	} {
		for form, want := range map[Form][]dataplane.EndpointID{bothForms[0]: c.plain, bothForms[1]: c.sets} {
			s := neighbours(3)
			x, changes := indexed(s, form), dataplane.NewChanges()
			c.changes(s, changes)
			if got := x.Affected(s, changes); !slices.Equal(got, want) {
				t.Errorf("%s, %s: %v, want %v", name, form, got, want)
			}
		}
	}
	s := neighbours(3)
	x := indexed(s, bothForms[1])
	if got := x.Affected(s, nil); !slices.Equal(got, all) {
		t.Errorf("of everything: %v", got)
	}
	if got := x.Users(SetRef{"all", 4}); !slices.Equal(got, all) {
		t.Errorf("the shared set is named by %v", got)
	}
	for _, id := range all {
		x.Remove(id)
	}
	if diff := cmp.Diff(NewIndex(), x, cmp.AllowUnexported(Index{})); diff != "" {
		t.Errorf("without endpoints: %s", diff)
	}
}

// TestHostAddresses: those found on the node count as the Node's own, for what it sends and for what is sent to it.
func TestHostAddresses(t *testing.T) {
	s := state(nil, []dataplane.Rule{{Action: dataplane.Allow}})
	s.Host.WorkloadToHost = dataplane.Deny
	ep := s.Endpoints[testID]
	ep.Probes = []dataplane.NamedPort{{Protocol: 6, Port: 8080}, {Protocol: 6, Port: 8081}, {Protocol: 17, Port: 9}}
	for mode, want := range map[dataplane.HostToWorkload]string{
		dataplane.HostToWorkloadAll:        "[felid/own-node/in 172.18.0.1,192.0.2.77 ]",
		dataplane.HostToWorkloadPolicy:     "[]",
		dataplane.HostToWorkloadProbePorts: "[felid/probe-port/in 172.18.0.1,192.0.2.77 8080-8081 felid/probe-port/in.1 172.18.0.1,192.0.2.77 9]",
	} {
		s.Host.HostToWorkload = mode
		l := Render(s, testID, Options{HostAddresses: []netip.Addr{netip.MustParseAddr("192.0.2.77"), nodeAddrs[0]}})
		var got, to []string
		for _, a := range l.ACLs {
			if a.Direction == "In" && a.RuleType == "Switch" && a.Priority < policyPriority {
				got = append(got, a.ID, a.RemoteAddresses, a.LocalPorts)
			}
			if a.ID == "felid/to-host/out" {
				to = append(to, a.RemoteAddresses)
			}
		}
		if fmt.Sprint(got) != want || fmt.Sprint(to) != "[172.18.0.1,192.0.2.77]" {
			t.Errorf("%d: in by %v, want %s; to the host %v", mode, got, want, to)
		}
	}
}

// BenchmarkOneMember is one member more of a set that 100 endpoints use: in the plain form each of their lists anew, with sets the set alone.
func BenchmarkOneMember(b *testing.B) {
	for _, members := range []int{100, 10000} {
		for _, n := range []int{100, 200} {
			for _, form := range bothForms {
				b.Run(fmt.Sprintf("members=%d/endpoints=%d/%s", members, n, form), func(b *testing.B) { benchOneMember(b, members, n, form) })
			}
		}
	}
}

func benchOneMember(b *testing.B, members, n int, form Form) {
	s := neighbours(n)
	s.IPSets["all"] = podSet("all", members, 1)
	o := Options{Form: form}
	r, x := NewRenderer(s, o), indexed(s, form)
	b.ReportAllocs()
	touched, i := 0, 0
	for b.Loop() {
		m := dataplane.Member{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 200, byte(i >> 8), byte(i)}), 32)}
		s.IPSets["all"].Members[m] = struct{}{}
		c := dataplane.NewChanges()
		c.IPSets["all"] = &dataplane.SetDelta{Added: []dataplane.Member{m}}
		r = r.Next(s, o, c)
		affected := x.Affected(s, c)
		for _, id := range affected {
			l := r.List(id)
			x.Put(s.Endpoints[id], &l)
		}
		if form.Sets {
			r.Set(SetRef{"all", 4})
		}
		touched += len(affected)
		i++
	}
	b.ReportMetric(float64(touched)/float64(b.N), "lists/op")
}

// TestAffectedListsAreAllThatDiffer walks through changes, makes only those lists anew that they may concern, and compares with all made anew.
func TestAffectedListsAreAllThatDiffer(t *testing.T) {
	spared := 0
	rapid.Check(t, func(t *rapid.T) {
		s := neighbours(4)
		o := Options{Form: rapid.SampledFrom(bothForms).Draw(t, "form")}
		var r *Renderer
		x, lists := NewIndex(), map[dataplane.EndpointID]List{}
		var c *dataplane.Changes
		for range rapid.IntRange(2, 6).Draw(t, "steps") {
			r = r.Next(s, o, c)
			affected := x.Affected(s, c)
			spared += len(s.Endpoints) - len(affected)
			for _, id := range affected {
				if ep := s.Endpoints[id]; ep == nil {
					x.Remove(id)
					delete(lists, id)
				} else {
					l := r.List(id)
					x.Put(ep, &l)
					lists[id] = l
				}
			}
			want := map[dataplane.EndpointID]List{}
			for id := range s.Endpoints {
				want[id] = Render(s, id, o)
			}
			if diff := cmp.Diff(want, lists); diff != "" {
				t.Fatalf("after %+v, which concerns %v: %s", c, affected, diff)
			}
			c = changeSomething(t, s)
		}
	})
	if spared < 20 {
		t.Errorf("%d lists were spared: too few to mean anything", spared)
	}
}

// changeSomething moves one thing of a state of neighbours.
func changeSomething(t *rapid.T, s *dataplane.State) *dataplane.Changes {
	c := dataplane.NewChanges()
	n := rapid.IntRange(0, 3).Draw(t, "which")
	ep, set := dataplane.EndpointID(fmt.Sprint("pod/a/", n)), dataplane.IPSetID(fmt.Sprint("set", n))
	policy := dataplane.PolicyID{Kind: "NetworkPolicy", Namespace: "a", Name: fmt.Sprint("p", n)}
	switch rapid.SampledFrom([]string{"member", "member", "emptied", "policy", "endpoint", "gone", "node"}).Draw(t, "what") {
	case "member":
		m := dataplane.Member{Prefix: single(rapid.SampledFrom([]string{"10.65.9.1", "10.65.9.2", "fd00::9"}).Draw(t, "member"))}
		if s.IPSets[set].Members[m] = struct{}{}; rapid.Bool().Draw(t, "removed") {
			delete(s.IPSets[set].Members, m)
		}
		c.IPSets[set] = nil
	case "emptied":
		c.IPSets[set] = &dataplane.SetDelta{Removed: slices.Collect(maps.Keys(s.IPSets[set].Members))}
		clear(s.IPSets[set].Members)
	case "policy":
		p := *s.Policies[policy]
		p.Ingress = append(slices.Clip(p.Ingress), dataplane.Rule{Action: dataplane.Allow, Protocol: 17, Index: len(p.Ingress), Src: dataplane.Side{IPSets: []dataplane.IPSetID{"all"}}})
		s.Policies[policy] = &p
		c.Policies[policy] = struct{}{}
	case "endpoint":
		e := dataplane.Endpoint{ID: ep, Node: "n1", Addresses: []netip.Addr{netip.AddrFrom4([4]byte{10, 65, 2, byte(n)})}}
		e.Tiers = []dataplane.EndpointTier{{Name: "default", Ingress: []dataplane.PolicyID{policy}, Default: dataplane.Pass}}
		s.Endpoints[ep] = &e
		c.Endpoints[ep] = struct{}{}
	case "gone":
		delete(s.Endpoints, ep)
		c.Endpoints[ep] = struct{}{}
	case "node":
		s.Nodes["n1"] = &dataplane.Node{Name: "n1", Addresses: nodeAddrs[:n%2+1]}
		c.Nodes["n1"] = struct{}{}
	}
	return c
}
