package probe

import (
	"net/netip"

	"github.com/felid-net/felid/dataplane"
	windows "github.com/felid-net/felid/dataplane_windows"
	"github.com/felid-net/felid/dataplane_windows/hns"
)

// Rendered is what became of lists as the renderer writes them, in each form that the findings allow.
type Rendered struct {
	Outcome Outcome `json:"outcome"`
	Detail  string  `json:"detail,omitempty"`
	// Open: something passed that policy denies.
	Open bool `json:"open,omitempty"`
}

// Text says what is tried of lists as a whole.
func (l *Rendered) Text() string { return "lists as felid writes them decide as policy does" }

// tryRendered writes the renderer's lists for a small State: tiers with Pass, sets, negation, ranges, and the rules around policy.
func (s *session) tryRendered() Rendered {
	form := s.result.Form()
	if form.Closed || !s.result.all(plain, Proven) {
		return Rendered{Outcome: NotTried, Detail: "what it leans on was not proven"}
	}
	forms := []windows.Form{form.Plain()}
	if form.Sets {
		forms = append(forms, form)
	}
	for _, f := range forms {
		a := &attempt{session: s}
		a.tryForm(f)
		if len(a.wrong) > 0 && !s.slow {
			s.slow = true
			a = &attempt{session: s}
			a.tryForm(f)
			s.slow = false
		}
		switch {
		case a.err != nil:
			return Rendered{Outcome: NotTried, Detail: f.String() + ": " + a.err.Error()}
		case len(a.wrong) > 0:
			return Rendered{Outcome: False, Detail: f.String() + ": " + a.wrong[0], Open: a.leaks > 0}
		}
	}
	return Rendered{Outcome: Proven}
}

// The endpoints of the State.
const (
	stateA dataplane.EndpointID = "pod/felid-probe/a"
	stateB dataplane.EndpointID = "pod/felid-probe/b"
)

func (a *attempt) tryForm(f windows.Form) {
	r := windows.NewRenderer(a.state(f), windows.Options{Form: f})
	lists := map[*end]windows.List{a.a: r.List(stateA), a.b: r.List(stateB)}
	for _, e := range []*end{a.a, a.b} {
		l := lists[e]
		for _, ref := range l.Sets {
			a.putSets([]hns.Set{r.Set(ref)}, nil)
		}
		a.put(e, l.ACLs...)
	}
	const first, second, third = 18100, 18101, 18102
	a.expect(
		a.ab(tcp, first, true), a.ab(tcp, second, true), a.ab(tcp, third, false), a.ab(tcp, portP, false),
		a.ab(udp, portP, true), a.ab(udp, portQ, false), a.ba(tcp, portP, true), a.ba(udp, portQ, true),
	)
	if f.IPv6 && a.site.dual {
		a.expect(a.ab6(tcp, first, true), a.ab6(tcp, third, false), a.ab6(udp, portP, true), a.ab6(udp, portQ, false))
	}
}

// state is that of two endpoints of one node: what B gets goes through two tiers, what A sends is limited to the probe's network.
func (a *attempt) state(f windows.Form) *dataplane.State {
	s := dataplane.NewState()
	s.Host = dataplane.Host{Node: "probe", HostToWorkload: dataplane.HostToWorkloadPolicy, WorkloadToHost: dataplane.Allow, IPv6: f.IPv6 && a.site.dual}
	open := dataplane.PolicyID{Kind: "Profile", Name: "open"}
	all := []dataplane.Rule{{Action: dataplane.Allow}}
	s.Policies[open] = &dataplane.Policy{ID: open, Ingress: all, Egress: all}
	set := &dataplane.IPSet{ID: "probe", Type: dataplane.SetNets, Members: map[dataplane.Member]struct{}{}}
	for id, e := range map[dataplane.EndpointID]*end{stateA: a.a, stateB: a.b} {
		ep := &dataplane.Endpoint{ID: id, Node: "probe", Addresses: []netip.Addr{e.v4}, Profiles: []dataplane.PolicyID{open}}
		if s.Host.IPv6 {
			ep.Addresses = append(ep.Addresses, e.v6)
		}
		s.Endpoints[id] = ep
	}
	for _, address := range s.Endpoints[stateA].Addresses {
		set.Members[dataplane.Member{Prefix: whole(address)}] = struct{}{}
	}
	s.IPSets[set.ID] = set
	ranges := func(lo, hi uint16) []dataplane.PortRange { return []dataplane.PortRange{{Min: lo, Max: hi}} }
	from := dataplane.Side{IPSets: []dataplane.IPSetID{set.ID}}
	stranger := netip.MustParsePrefix(a.stranger() + "/32")
	tiers := map[string][]dataplane.Rule{
		"first": {
			{Action: dataplane.Pass, Protocol: tcp, Src: from, Dst: dataplane.Side{Ports: ranges(18100, 18102)}},
			{Action: dataplane.Deny, Protocol: udp, Dst: dataplane.Side{NotPorts: ranges(portP, portP)}},
			{Action: dataplane.Allow, Protocol: udp, Src: from},
		},
		"second": {{Action: dataplane.Allow, Src: dataplane.Side{NotNets: []netip.Prefix{stranger}}, Protocol: tcp, Dst: dataplane.Side{Ports: ranges(18099, 18101)}}},
	}
	for _, name := range []string{"first", "second"} {
		id := dataplane.PolicyID{Kind: "GlobalNetworkPolicy", Name: name}
		s.Policies[id] = &dataplane.Policy{ID: id, Tier: name, Ingress: tiers[name]}
		b := s.Endpoints[stateB]
		b.Tiers = append(b.Tiers, dataplane.EndpointTier{Name: name, Ingress: []dataplane.PolicyID{id}, Default: dataplane.Deny})
	}
	return s
}
