package dptest

import (
	"context"
	"net/netip"
	"testing"

	"github.com/felid-net/felid/dataplane"
)

// Host is one host as the conformance suite sees it. Open may be called again after Close: what was enforced must still be there.
type Host struct {
	Open func(t *testing.T) dataplane.Dataplane
	// Observe is a text of all that is enforced on the host, the same whenever the same is enforced.
	Observe func(t *testing.T) string
}

// RunDataplane is the conformance suite of a Dataplane. newHost gives a host on which nothing is enforced.
func RunDataplane(t *testing.T, newHost func(t *testing.T) Host) {
	t.Helper()
	for name, test := range map[string]func(t *testing.T, h Host){
		"twice":             applyTwice,
		"changes":           applyChanges,
		"keeps nothing":     applyKeepsNothing,
		"error, then delta": applyAfterError,
		"reopen":            applyAfterReopen,
		"withdraw":          applyEmpty,
	} {
		t.Run(name, func(t *testing.T) { test(t, newHost(t)) })
	}
	t.Run("path does not matter", func(t *testing.T) { applyPaths(t, newHost) })
}

// sample is a State that has one of everything policy needs: two pods, a host endpoint with policy of every stage, sets of both types and
// families.
func sample() *dataplane.State {
	s := dataplane.NewState()
	s.Host = dataplane.Host{Node: "n1", Owner: true, InterfacePrefix: InterfacePrefix, WorkloadToHost: dataplane.Allow, IPv6: true}
	s.Nodes["n1"] = &dataplane.Node{Name: "n1", Addresses: []netip.Addr{netip.MustParseAddr("172.18.0.1")}}
	s.IPSets["clients"] = set("clients", dataplane.SetNets, "10.65.0.1/32", "192.0.2.0/24", "fd00:65::1/128", "::/0")
	s.IPSets["http"] = set("http", dataplane.SetAddrPorts, "10.65.0.2/32", "fd00:65::2/128")
	in := dataplane.PolicyID{Kind: "NetworkPolicy", Namespace: "a", Name: "in"}
	s.Policies[in] = &dataplane.Policy{ID: in, Tier: "default", Ingress: []dataplane.Rule{
		{Action: dataplane.Log, Index: 0},
		{
			Action: dataplane.Allow, Index: 1, Protocol: dataplane.ProtoTCP,
			Src: dataplane.Side{IPSets: []dataplane.IPSetID{"clients"}}, Dst: dataplane.Side{PortSets: []dataplane.IPSetID{"http"}},
		},
	}}
	open := dataplane.PolicyID{Kind: "Profile", Name: "kns.a"}
	allow := []dataplane.Rule{{Action: dataplane.Allow}}
	s.Policies[open] = &dataplane.Policy{ID: open, Ingress: allow, Egress: allow}
	for _, e := range []*dataplane.Endpoint{
		{ID: "pod/a/x", Addresses: addrs("10.65.0.1", "fd00:65::1"), Profiles: []dataplane.PolicyID{open}},
		{
			ID: "pod/a/y", Addresses: addrs("10.65.0.2", "fd00:65::2"), Profiles: []dataplane.PolicyID{open},
			Tiers: []dataplane.EndpointTier{{Name: "default", Ingress: []dataplane.PolicyID{in}, Default: dataplane.Deny}},
		},
	} {
		e.Node, e.Interface = "n1", InterfaceName("a", string(e.ID[len("pod/a/"):]))
		s.Endpoints[e.ID] = e
	}
	s.Endpoints["hostendpoint/h"] = sampleHost(s, open)
	s.Host.FailsafeInbound = []dataplane.Failsafe{{Protocol: dataplane.ProtoTCP, Port: 22}}
	return s
}

// sampleHost is a host endpoint; its policies are added to the State.
func sampleHost(s *dataplane.State, profile dataplane.PolicyID) *dataplane.Endpoint {
	tier := func(stage string, def dataplane.Action) []dataplane.EndpointTier {
		id := dataplane.PolicyID{Kind: "GlobalNetworkPolicy", Name: stage}
		rules := []dataplane.Rule{{Action: dataplane.Allow, Protocol: dataplane.ProtoUDP, Src: dataplane.Side{IPSets: []dataplane.IPSetID{"clients"}}}}
		s.Policies[id] = &dataplane.Policy{ID: id, Tier: "default", Ingress: rules, Egress: rules}
		t := dataplane.EndpointTier{Name: "default", Ingress: []dataplane.PolicyID{id}, Default: def}
		if stage != "pre" {
			t.Egress = t.Ingress
		}
		return []dataplane.EndpointTier{t}
	}
	return &dataplane.Endpoint{
		ID: "hostendpoint/h", Node: "n1", Interface: "*", Addresses: addrs("172.18.0.1"), Profiles: []dataplane.PolicyID{profile},
		Tiers: tier("forward", dataplane.Deny),
		Host:  &dataplane.HostEndpoint{Untracked: tier("raw", dataplane.Pass), PreDNAT: tier("pre", dataplane.Pass), Forward: tier("forward", dataplane.Deny)},
	}
}

func addrs(texts ...string) []netip.Addr { return readableAddrs(texts) }

// set makes members of prefixes; those of a SetAddrPorts get TCP 80.
func set(id dataplane.IPSetID, typ dataplane.IPSetType, prefixes ...string) *dataplane.IPSet {
	s := &dataplane.IPSet{ID: id, Type: typ, Members: map[dataplane.Member]struct{}{}, Text: string(id)}
	for _, p := range prefixes {
		m := dataplane.Member{Prefix: netip.MustParsePrefix(p)}
		if typ == dataplane.SetAddrPorts {
			m.Protocol, m.Port = dataplane.ProtoTCP, 80
		}
		s.Members[m] = struct{}{}
	}
	return s
}

// changed is the sample after a day: a member came and one went, a rule was edited, an endpoint and its set are gone, another came, and the host
// endpoint is for one interface, by fewer policies.
func changed() *dataplane.State {
	s := sample()
	s.IPSets["clients"] = set("clients", dataplane.SetNets, "10.65.0.1/32", "198.51.100.0/24", "fd00:65::1/128", "::/0")
	in := s.Policies[dataplane.PolicyID{Kind: "NetworkPolicy", Namespace: "a", Name: "in"}]
	in.Ingress[1].Dst = dataplane.Side{Ports: []dataplane.PortRange{{Min: 80, Max: 90}}}
	delete(s.IPSets, "http")
	delete(s.Endpoints, "pod/a/x")
	z := &dataplane.Endpoint{ID: "pod/a/z", Node: "n1", Interface: InterfaceName("a", "z"), Addresses: addrs("10.65.0.3")}
	z.Tiers = s.Endpoints["pod/a/y"].Tiers
	s.Endpoints[z.ID] = z
	h := s.Endpoints["hostendpoint/h"]
	h.Interface, h.Host.PreDNAT, h.Host.Forward = "eth7", nil, nil
	delete(s.Policies, dataplane.PolicyID{Kind: "GlobalNetworkPolicy", Name: "pre"})
	s.Host.FailsafeInbound = append(s.Host.FailsafeInbound, dataplane.Failsafe{Protocol: dataplane.ProtoTCP, Port: 179})
	return s
}

func mustApply(t *testing.T, d dataplane.Dataplane, s *dataplane.State, changes *dataplane.Changes) dataplane.Result {
	t.Helper()
	r, err := d.Apply(context.Background(), s, changes)
	if err != nil {
		t.Fatalf("Apply: %v", err)
	}
	if r.Failed() {
		t.Fatalf("Apply failed objects: %v %v %v", r.Endpoints, r.Policies, r.Others)
	}
	return r
}

func open(t *testing.T, h Host) dataplane.Dataplane {
	t.Helper()
	d := h.Open(t)
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func applyTwice(t *testing.T, h Host) {
	d := open(t, h)
	first := mustApply(t, d, sample(), nil)
	if first.Stats.Writes == 0 {
		t.Error("the first Apply wrote nothing")
	}
	before := h.Observe(t)
	for name, changes := range map[string]*dataplane.Changes{"nil": nil, "no": dataplane.NewChanges(), "too many": dataplane.Diff(dataplane.NewState(), sample())} {
		if name == "too many" {
			for id := range changes.IPSets {
				changes.IPSets[id] = nil // "compare the whole set" may always be said
			}
		}
		if again := mustApply(t, d, sample(), changes); again.Stats.Writes != first.Stats.Writes {
			t.Errorf("the same State with %s changes: %d writes", name, again.Stats.Writes-first.Stats.Writes)
		}
	}
	if after := h.Observe(t); after != before {
		t.Errorf("the host changed:\n%s\nwas\n%s", after, before)
	}
}

func applyChanges(t *testing.T, h Host) {
	d := open(t, h)
	mustApply(t, d, sample(), nil)
	before := h.Observe(t)
	mustApply(t, d, changed(), dataplane.Diff(sample(), changed()))
	if h.Observe(t) == before {
		t.Error("the host did not change")
	}
	mustApply(t, d, sample(), dataplane.Diff(changed(), sample()))
	if after := h.Observe(t); after != before {
		t.Errorf("there and back:\n%s\nwas\n%s", after, before)
	}
}

// applyPaths: what is enforced depends on the State alone, not on how it came to it.
func applyPaths(t *testing.T, newHost func(t *testing.T) Host) {
	direct := newHost(t)
	mustApply(t, open(t, direct), changed(), nil)
	want := direct.Observe(t)
	step := newHost(t)
	d := open(t, step)
	mustApply(t, d, sample(), nil)
	mustApply(t, d, changed(), dataplane.Diff(sample(), changed()))
	if got := step.Observe(t); got != want {
		t.Errorf("step by step:\n%s\nat once:\n%s", got, want)
	}
}

// applyKeepsNothing: the State is the resolver's again when Apply has returned.
func applyKeepsNothing(t *testing.T, h Host) {
	d := open(t, h)
	s := sample()
	mustApply(t, d, s, nil)
	before := h.Observe(t)
	clear(s.IPSets["clients"].Members)
	s.Endpoints["pod/a/y"].Addresses[0] = netip.MustParseAddr("10.9.9.9")
	for _, p := range s.Policies {
		p.Ingress[0].Action = dataplane.Deny
	}
	mustApply(t, d, sample(), dataplane.NewChanges())
	if after := h.Observe(t); after != before {
		t.Errorf("a State that was changed after Apply came through:\n%s\nwas\n%s", after, before)
	}
}

// applyAfterError: after an error everything is compared, whatever the changes say.
func applyAfterError(t *testing.T, h Host) {
	d := open(t, h)
	mustApply(t, d, sample(), nil)
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := d.Apply(ended, changed(), dataplane.Diff(sample(), changed())); err == nil {
		t.Fatal("Apply with an ended context returns no error")
	}
	mustApply(t, d, changed(), dataplane.NewChanges())
	got := h.Observe(t)
	mustApply(t, d, changed(), nil)
	if want := h.Observe(t); got != want {
		t.Errorf("after an error:\n%s\nwant\n%s", got, want)
	}
}

// applyAfterReopen: rules stay when the dataplane is closed, and the next one takes them over without a write.
func applyAfterReopen(t *testing.T, h Host) {
	d := h.Open(t)
	mustApply(t, d, sample(), nil)
	before := h.Observe(t)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if after := h.Observe(t); after != before {
		t.Fatalf("Close changed the host:\n%s\nwas\n%s", after, before)
	}
	again := mustApply(t, open(t, h), sample(), dataplane.NewChanges())
	if again.Stats.Writes != 0 {
		t.Errorf("taking over what is right took %d writes", again.Stats.Writes)
	}
	if after := h.Observe(t); after != before {
		t.Errorf("after a restart:\n%s\nwas\n%s", after, before)
	}
}

// applyEmpty: a State without objects leaves none behind.
func applyEmpty(t *testing.T, h Host) {
	d := open(t, h)
	empty := dataplane.NewState()
	empty.Host = sample().Host
	mustApply(t, d, empty, nil)
	before := h.Observe(t)
	mustApply(t, d, sample(), dataplane.Diff(empty, sample()))
	mustApply(t, d, empty, dataplane.Diff(sample(), empty))
	if after := h.Observe(t); after != before {
		t.Errorf("what is left of withdrawn objects:\n%s\nwas\n%s", after, before)
	}
}
