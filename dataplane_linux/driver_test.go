package linux

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane_linux/ipset"
	"github.com/felid-net/felid/dataplane_linux/iptables"
	"github.com/felid-net/felid/dataplane_linux/netlink"
	"github.com/google/go-cmp/cmp"
)

// twins are a host in memory.
type twins struct {
	iptables iptables.Twin
	sets     ipset.Twin
	network  netlink.Twin
}

func newTwins() *twins {
	return &twins{network: netlink.Twin{Up: map[string]bool{clientIf: true, serverIf: true}}}
}

func (w *twins) open(t *testing.T) *Dataplane {
	t.Helper()
	d, err := assemble(Config{Backend: "nft"}, parts{
		iptables: iptables.Config{Run: w.iptables.Run, Sign: w.iptables.Sign}, sets: &w.sets, network: &w.network,
	})
	must(t, err)
	t.Cleanup(func() { d.Close() })
	return d
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// blamed applies and returns who is named, sorted.
func blamed(t *testing.T, d *Dataplane, s *dataplane.State, c *dataplane.Changes) (endpoints, policies, others []string) {
	t.Helper()
	res, err := d.Apply(context.Background(), s, c)
	must(t, err)
	for id := range res.Endpoints {
		endpoints = append(endpoints, string(id))
	}
	for id := range res.Policies {
		policies = append(policies, id.String())
	}
	for name := range res.Others {
		others = append(others, name)
	}
	slices.Sort(endpoints)
	slices.Sort(policies)
	slices.Sort(others)
	return endpoints, policies, others
}

func TestFailuresNameWhomTheyHit(t *testing.T) {
	server, client := []string{string(serverID)}, []string{string(clientID)}
	serverPolicy := []string{"NetworkPolicy web-ns/server"}
	for name, test := range map[string]struct {
		harm                        func(w *twins, s *dataplane.State)
		endpoints, policies, others []string
	}{
		"nothing": {harm: func(*twins, *dataplane.State) {}},
		"a set is refused": {
			harm: func(w *twins, _ *dataplane.State) {
				w.sets.Refuse = func(c ipset.Command) syscall.Errno {
					if c.Set == "felid4-clients" {
						return syscall.ENOMEM
					}
					return 0
				}
			},
			endpoints: server, policies: serverPolicy, others: []string{"ip set felid4-clients"},
		},
		"a route is refused": {
			harm: func(w *twins, _ *dataplane.State) {
				w.network.Refuse = func(r netlink.Route) error {
					if r.Device == clientIf && r.Dst.Addr().Is6() {
						return errors.New("refused")
					}
					return nil
				}
			},
			endpoints: client,
		},
		"an interface is missing": {harm: func(w *twins, _ *dataplane.State) { delete(w.network.Up, clientIf) }, endpoints: client},
		"a chain is refused": {
			harm: func(w *twins, s *dataplane.State) {
				w.iptables.Sets = map[string]bool{"felid6-clients": true} // felid4-clients is not there
			},
			endpoints: server, policies: serverPolicy,
		},
		"an interface is of two": {
			harm:      func(_ *twins, s *dataplane.State) { s.Endpoints[clientID].Interface = serverIf },
			endpoints: []string{string(clientID), string(serverID)},
		},
		"an interface is not a pod's": {harm: func(_ *twins, s *dataplane.State) { s.Endpoints[clientID].Interface = "eth0" }, endpoints: client},
		"an interface is a pattern":   {harm: func(_ *twins, s *dataplane.State) { s.Endpoints[clientID].Interface = "fld+" }, endpoints: client},
		"a tunnel": {
			harm: func(_ *twins, s *dataplane.State) {
				p := netip.MustParsePrefix("10.65.7.0/26")
				s.Routes[p] = dataplane.Route{Prefix: p, Node: "n2", Via: netip.MustParseAddr("172.18.0.2"), Encap: dataplane.EncapVXLAN}
			},
			others: []string{"route 10.65.7.0/26"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, s := newTwins(), pairState()
			test.harm(w, s)
			d := w.open(t)
			for _, c := range []*dataplane.Changes{nil, dataplane.NewChanges()} { // what fails is named again
				endpoints, policies, others := blamed(t, d, s, c)
				if diff := cmp.Diff([][]string{test.endpoints, test.policies, test.others}, [][]string{endpoints, policies, others}); diff != "" {
					t.Errorf("endpoints, policies, others (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// TestGoneUntilForgotten: an endpoint whose tracked connections could not be deleted is named, though it is gone.
func TestGoneUntilForgotten(t *testing.T) {
	w, s := newTwins(), pairState()
	d := w.open(t)
	apply(t, d, s, nil)
	if len(w.network.Forgotten) > 0 {
		t.Errorf("connections of %v were deleted at the start", w.network.Forgotten)
	}
	w.network.Stuck = errors.New("no memory")
	delete(s.Endpoints, serverID)
	if endpoints, _, _ := blamed(t, d, s, changed([]dataplane.EndpointID{serverID})); !slices.Equal(endpoints, []string{string(serverID)}) {
		t.Errorf("named: %v", endpoints)
	}
	w.network.Stuck = nil
	apply(t, d, s, dataplane.NewChanges())
	if !slices.Equal(w.network.Forgotten, addresses("10.65.0.2", "fd00::2")) {
		t.Errorf("forgotten: %v", w.network.Forgotten)
	}
}

// TestAddressOfTwo: the route to an address that two claim goes to the first by name, and to the other once that is gone.
func TestAddressOfTwo(t *testing.T) {
	w, s := newTwins(), pairState()
	s.Endpoints[serverID].Addresses = addresses("10.65.0.1")
	s.Endpoints[clientID].Addresses = addresses("10.65.0.1")
	s.Host.IPv6 = false
	d := w.open(t)
	apply(t, d, s, nil)
	ours, _, _ := w.network.Routes()
	want := netlink.Route{Dst: netip.MustParsePrefix("10.65.0.1/32"), Device: clientIf}
	if !slices.Equal(ours, []netlink.Route{want}) {
		t.Errorf("routes %v, want %v", ours, want)
	}
	delete(s.Endpoints, clientID)
	apply(t, d, s, changed([]dataplane.EndpointID{clientID}))
	want.Device = serverIf
	if ours, _, _ = w.network.Routes(); !slices.Equal(ours, []netlink.Route{want}) {
		t.Errorf("routes %v, want %v", ours, want)
	}
}

// TestSetChangeStartsNoProcess: a label change is members of a set, and nothing else.
func TestSetChangeStartsNoProcess(t *testing.T) {
	w, s := newTwins(), pairState()
	d := w.open(t)
	apply(t, d, s, nil)
	saves, restores, commands := w.iptables.Saves, w.iptables.Restores, w.sets.Commands
	m := dataplane.Member{Prefix: netip.MustParsePrefix("10.90.0.1/32")}
	s.IPSets["clients"].Members[m] = struct{}{}
	delta := &dataplane.SetDelta{Added: []dataplane.Member{m}}
	apply(t, d, s, &dataplane.Changes{IPSets: map[dataplane.IPSetID]*dataplane.SetDelta{"clients": delta}})
	if w.iptables.Saves != saves || w.iptables.Restores != restores || w.sets.Commands != commands+1 {
		t.Errorf("%d reads, %d writes of tables, %d commands to sets; want 0, 0, 1",
			w.iptables.Saves-saves, w.iptables.Restores-restores, w.sets.Commands-commands)
	}
	if !slices.Contains(w.sets.Members("felid4-clients"), "10.90.0.1/32") {
		t.Errorf("members: %v", w.sets.Members("felid4-clients"))
	}
}

// TestDriftBesideApply: both may be called at once.
// TestMembersLeaveAfterTheRules: old rules and new ones both see who is coming, and nobody is missing from either while they are written.
func TestMembersLeaveAfterTheRules(t *testing.T) {
	var w twins
	var order []string
	w.sets.Refuse = func(c ipset.Command) syscall.Errno {
		if c.Op == ipset.OpAdd || c.Op == ipset.OpDelete {
			order = append(order, c.Op.String()+" "+c.Set)
		}
		return 0
	}
	run := func(ctx context.Context, name string, args []string, stdin []byte, env []string) ([]byte, []byte, error) {
		if name == "iptables-nft-restore" {
			order = append(order, name)
		}
		return w.iptables.Run(ctx, name, args, stdin, env)
	}
	w.network.Up = map[string]bool{clientIf: true, serverIf: true}
	d, err := assemble(Config{Backend: "nft"}, parts{iptables: iptables.Config{Run: run, Sign: w.iptables.Sign}, sets: &w.sets, network: &w.network})
	must(t, err)
	defer d.Close()
	s := pairState()
	apply(t, d, s, nil)
	order = nil
	set := s.IPSets["clients"]
	old := dataplane.Member{Prefix: netip.MustParsePrefix("10.65.0.1/32")}
	if _, there := set.Members[old]; !there {
		t.Fatalf("%v", set.Members)
	}
	delete(set.Members, old)
	set.Members[dataplane.Member{Prefix: netip.MustParsePrefix("10.65.0.9/32")}] = struct{}{}
	for _, p := range s.Policies {
		p.Ingress = append(slices.Clone(p.Ingress), dataplane.Rule{Action: dataplane.Deny, Protocol: dataplane.ProtoUDP})
	}
	apply(t, d, s, nil)
	want := []string{"add felid4-clients", "iptables-nft-restore", "del felid4-clients"}
	if diff := cmp.Diff(want, order); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDriftBesideApply(t *testing.T) {
	w, s := newTwins(), pairState()
	var mu sync.Mutex // the twin is for one goroutine
	d, err := assemble(Config{Backend: "nft", FullCheck: 1}, parts{
		iptables: iptables.Config{
			Run: func(ctx context.Context, name string, args []string, stdin []byte, env []string) ([]byte, []byte, error) {
				mu.Lock()
				defer mu.Unlock()
				return w.iptables.Run(ctx, name, args, stdin, env)
			},
			Sign: func(v iptables.Variant, f iptables.Family, table string) (uint64, error) {
				mu.Lock()
				defer mu.Unlock()
				return w.iptables.Sign(v, f, table)
			},
		},
		sets: locked{&w.sets, &mu}, network: &w.network,
	})
	must(t, err)
	var done sync.WaitGroup
	done.Go(func() {
		for range 50 {
			if _, err := d.CheckDrift(context.Background()); err != nil {
				t.Error(err)
			}
		}
	})
	for i := range 50 {
		if i%2 == 0 {
			delete(s.Endpoints, serverID)
		} else {
			s.Endpoints[serverID] = pairState().Endpoints[serverID]
		}
		apply(t, d, s, changed([]dataplane.EndpointID{serverID}))
	}
	done.Wait()
	if res := apply(t, d, s, nil); res.Stats.Repairs > 0 {
		t.Errorf("%d repairs, though nobody else was there", res.Stats.Repairs)
	}
}

// locked is a Kernel for two goroutines.
type locked struct {
	ipset.Kernel
	mu *sync.Mutex
}

func (l locked) Do(ctx context.Context, commands []ipset.Command) (map[int]error, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Kernel.Do(ctx, commands)
}

func (l locked) List(ctx context.Context, members bool) ([]ipset.Listed, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Kernel.List(ctx, members)
}

// apply wants everything in force.
func apply(t *testing.T, d *Dataplane, s *dataplane.State, changes *dataplane.Changes) dataplane.Result {
	t.Helper()
	res, err := d.Apply(context.Background(), s, changes)
	must(t, err)
	if res.Failed() {
		t.Fatalf("not in force: %v %v %v", res.Endpoints, res.Policies, res.Others)
	}
	return res
}

// Two pods of the tests.
const (
	clientID, serverID = dataplane.EndpointID("pod/a/client"), dataplane.EndpointID("pod/a/server")
	clientIf, serverIf = "fld0000000000c", "fld0000000000e"
)

var allowAll = dataplane.PolicyID{Kind: "Profile", Name: "kns.a"}

// pairState lets the client reach the server at port 80, in both families.
func pairState() *dataplane.State {
	s := dataplane.NewState()
	s.Host = dataplane.Host{Node: "n", Owner: true, InterfacePrefix: "fld", WorkloadToHost: dataplane.Pass, IPv6: true}
	addPolicy(s, &dataplane.Policy{ID: allowAll, Ingress: []dataplane.Rule{{Action: dataplane.Allow}}, Egress: []dataplane.Rule{{Action: dataplane.Allow}}})
	p := addPolicy(s, &dataplane.Policy{ID: policyID("server"), Tier: "default", Ingress: []dataplane.Rule{
		{Action: dataplane.Allow, Protocol: 6, Src: dataplane.Side{IPSets: []dataplane.IPSetID{"clients"}}, Dst: dataplane.Side{Ports: []dataplane.PortRange{{Min: 80, Max: 80}}}},
	}})
	s.IPSets["clients"] = &dataplane.IPSet{ID: "clients", Members: map[dataplane.Member]struct{}{
		{Prefix: netip.MustParsePrefix("10.65.0.1/32")}: {}, {Prefix: netip.MustParsePrefix("fd00::1/128")}: {},
	}}
	s.Endpoints[clientID] = &dataplane.Endpoint{ID: clientID, Interface: clientIf, Addresses: addresses("10.65.0.1", "fd00::1"), Profiles: []dataplane.PolicyID{allowAll}}
	s.Endpoints[serverID] = &dataplane.Endpoint{ID: serverID, Interface: serverIf, Addresses: addresses("10.65.0.2", "fd00::2"),
		Tiers: []dataplane.EndpointTier{{Name: "default", Ingress: []dataplane.PolicyID{p}, Default: dataplane.Deny}}, Profiles: []dataplane.PolicyID{allowAll}}
	return s
}
