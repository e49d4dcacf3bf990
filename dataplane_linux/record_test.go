package linux

import (
	"fmt"
	"iter"
	"maps"
	"net/netip"
	"slices"
	"testing"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane_linux/ipset"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// sink is a table or all sets, as maps. It refuses what the drivers would.
type sink struct {
	chains map[string][]string
	hooks  map[string][]string
}

func newSink() *sink { return &sink{map[string][]string{}, map[string][]string{}} }

func (s *sink) SetChain(name string, rules []string) { s.chains[name] = rules }
func (s *sink) RemoveChain(name string)              { delete(s.chains, name) }
func (s *sink) SetHooks(chain string, rules []string) {
	if delete(s.hooks, chain); len(rules) > 0 {
		s.hooks[chain] = rules
	}
}

type setMap map[string]map[ipset.Member]struct{}

func (s setMap) SetDesired(name string, _ ipset.Type, _ ipset.Family, members iter.Seq[ipset.Member]) {
	s[name] = map[ipset.Member]struct{}{}
	s.AddMembers(name, members)
}

func (s setMap) AddMembers(name string, members iter.Seq[ipset.Member]) {
	for m := range members {
		s[name][m] = struct{}{}
	}
}

func (s setMap) RemoveMembers(name string, members iter.Seq[ipset.Member]) {
	for m := range members {
		delete(s[name], m)
	}
}

func (s setMap) Remove(name string)   { delete(s, name) }
func (s setMap) Has(name string) bool { return s[name] != nil }

// held is a record with sinks.
type held struct {
	*record
	tables   map[tableKey]*sink
	sets     setMap
	devices  map[netip.Addr]string
	grouping grouping
}

func newHeld() *held {
	h := &held{tables: map[tableKey]*sink{}, sets: setMap{}}
	tables := map[tableKey]chainSink{}
	for _, f := range Families {
		for _, name := range tableNames {
			h.tables[tableKey{f, name}] = newSink()
			tables[tableKey{f, name}] = h.tables[tableKey{f, name}]
		}
	}
	h.record = newRecord(tables, h.sets)
	return h
}

func (h *held) take(t interface{ Fatal(...any) }, s *dataplane.State, changes *dataplane.Changes) {
	host := s.Host
	r, err := newRenderer(RenderConfig{Devices: h.devices, grouping: h.grouping}, &host)
	if err != nil {
		t.Fatal(err)
	}
	h.update(s, changes, r)
}

// differs compares what the sinks hold with the state rendered from scratch.
func (h *held) differs(s *dataplane.State) string {
	want := Render(s, RenderConfig{Devices: h.devices, grouping: h.grouping})
	wantTables := map[tableKey]*sink{}
	for key := range h.tables {
		wantTables[key] = newSink()
		if t := want.tables[key]; t != nil {
			for _, c := range t.chains {
				wantTables[key].SetChain(c.Name, c.Rules)
			}
			for _, hook := range t.hooks {
				wantTables[key].SetHooks(hook.Kernel, []string{hook.Rule})
			}
		}
	}
	wantSets := setMap{}
	for i := range want.sets {
		set := &want.sets[i]
		wantSets.SetDesired(set.Name, set.Type, 0, familyMembers(set.Family, set.members))
	}
	faults := map[dataplane.EndpointID]string{}
	for id, rec := range h.endpoints {
		if rec.fault != nil {
			faults[id] = rec.fault.Error()
		}
	}
	wantFaults := map[dataplane.EndpointID]string{}
	for id, err := range want.Faults {
		wantFaults[id] = err.Error()
	}
	return cmp.Diff(wantTables, h.tables, cmp.AllowUnexported(tableKey{}, sink{})) +
		cmp.Diff(wantSets, h.sets, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })) + cmp.Diff(wantFaults, faults)
}

// failsafes are of several kinds.
var failsafes = []dataplane.Failsafe{
	{Protocol: 6, Port: 22}, {Protocol: 6, Port: 179}, {Protocol: 17, Port: 68}, {Protocol: 6, Port: 6443, Net: netip.MustParsePrefix("10.0.0.0/8")},
	{Protocol: 6, Port: 6443, Net: netip.MustParsePrefix("fd00::/8")}, {Protocol: 17, Port: 53, Net: netip.MustParsePrefix("0.0.0.0/0")},
}

// drawRule draws from few values, so that rules meet.
func drawRule(t *rapid.T, sets []dataplane.IPSetID) dataplane.Rule {
	nets := rapid.SliceOfN(rapid.SampledFrom(prefixes("10.0.0.0/8", "10.1.0.0/16", "0.0.0.0/0", "fd00::/64", "::/0", "192.0.2.1/32")), 0, 3)
	ports := rapid.SliceOfN(rapid.SampledFrom([]dataplane.PortRange{{Min: 80, Max: 80}, {Min: 1, Max: 1024}}), 0, 9)
	ids := rapid.SliceOfN(rapid.SampledFrom(sets), 0, 1)
	side := func(name string) dataplane.Side {
		return dataplane.Side{
			Nets: nets.Draw(t, name), NotNets: nets.Draw(t, name), Ports: ports.Draw(t, name), NotPorts: ports.Draw(t, name),
			IPSets: ids.Draw(t, name), NotIPSets: ids.Draw(t, name),
		}
	}
	r := dataplane.Rule{
		Action:      rapid.SampledFrom([]dataplane.Action{dataplane.Allow, dataplane.Deny, dataplane.Pass, dataplane.Log}).Draw(t, "action"),
		IPVersion:   rapid.SampledFrom([]uint8{0, 0, 4, 6}).Draw(t, "version"),
		Protocol:    rapid.SampledFrom([]uint8{0, 0, 1, 6, 58}).Draw(t, "protocol"),
		NotProtocol: rapid.SampledFrom([]uint8{0, 0, 6}).Draw(t, "not protocol"),
	}
	if rapid.Bool().Draw(t, "sides") {
		r.Src, r.Dst = side("src"), side("dst")
	}
	icmp := []*dataplane.ICMP{nil, nil, {Type: 8, Code: -1}, {Type: 8, Code: 0}, {Type: 128, Code: 0}}
	r.ICMP, r.NotICMP = rapid.SampledFrom(icmp).Draw(t, "icmp"), rapid.SampledFrom(icmp).Draw(t, "not icmp")
	return r
}

// world draws states and moves between them.
type world struct {
	t        *rapid.T
	s        *dataplane.State
	policies []dataplane.PolicyID
	sets     []dataplane.IPSetID
	devices  map[netip.Addr]string
}

func newWorld(t *rapid.T) *world {
	w := &world{t: t, s: dataplane.NewState(), sets: []dataplane.IPSetID{"one", "two"}}
	w.s.Host = dataplane.Host{Node: "n", InterfacePrefix: "fld", Owner: true, IPv6: true}
	for i := range 6 {
		w.policies = append(w.policies, policyID(fmt.Sprint("p", i)))
	}
	return w
}

func (w *world) endpoint(c *dataplane.Changes) {
	id := dataplane.EndpointID(fmt.Sprint("pod/a/", rapid.IntRange(0, 30).Draw(w.t, "endpoint")))
	c.Endpoints[id] = struct{}{}
	if rapid.IntRange(0, 3).Draw(w.t, "gone") == 0 {
		delete(w.s.Endpoints, id)
		return
	}
	list := rapid.SliceOfNDistinct(rapid.SampledFrom(w.policies), 0, 3, rapid.ID)
	ep := &dataplane.Endpoint{
		ID: id, Interface: "fld" + fmt.Sprintf("%c%d", 'a'+rapid.IntRange(0, 2).Draw(w.t, "letter"), rapid.IntRange(0, 9).Draw(w.t, "digit")),
		Addresses: rapid.SampledFrom([][]netip.Addr{addresses("10.0.0.1"), addresses("10.0.0.2", "fd00::2"), nil}).Draw(w.t, "addresses"),
		Profiles:  list.Draw(w.t, "profiles"),
	}
	for range rapid.IntRange(0, 2).Draw(w.t, "tiers") {
		ep.Tiers = append(ep.Tiers, dataplane.EndpointTier{Ingress: list.Draw(w.t, "ingress"), Egress: list.Draw(w.t, "egress"),
			Default: rapid.SampledFrom([]dataplane.Action{dataplane.Deny, dataplane.Pass}).Draw(w.t, "default")})
	}
	ep.Probes = rapid.SliceOfNDistinct(rapid.SampledFrom([]dataplane.NamedPort{{Name: "a", Protocol: 6, Port: 80}, {Name: "b", Protocol: 17, Port: 53}}), 0, 2,
		func(p dataplane.NamedPort) string { return p.Name }).Draw(w.t, "probes")
	w.put(ep, c)
}

// put adds an endpoint, and the policies that it uses.
func (w *world) put(ep *dataplane.Endpoint, c *dataplane.Changes) {
	needed := func(p dataplane.PolicyID) {
		if w.s.Policies[p] == nil {
			w.s.Policies[p] = &dataplane.Policy{ID: p}
			c.Policies[p] = struct{}{}
		}
	}
	eachPolicy(ep, needed)
	if ep.Host != nil {
		eachHostUse(ep, func(p dataplane.PolicyID, _ stage) { needed(p) })
	}
	w.s.Endpoints[ep.ID] = ep
}

// hostEndpoint draws one of a few, for few interfaces.
func (w *world) hostEndpoint(c *dataplane.Changes) {
	id := dataplane.EndpointID(fmt.Sprint("hostendpoint/", rapid.IntRange(0, 4).Draw(w.t, "host endpoint")))
	c.Endpoints[id] = struct{}{}
	if rapid.IntRange(0, 3).Draw(w.t, "gone") == 0 {
		delete(w.s.Endpoints, id)
		return
	}
	list := rapid.SliceOfNDistinct(rapid.SampledFrom(w.policies), 0, 3, rapid.ID)
	tiers := func(name string, def ...dataplane.Action) (out []dataplane.EndpointTier) {
		for range rapid.IntRange(0, 2).Draw(w.t, name) {
			out = append(out, dataplane.EndpointTier{Ingress: list.Draw(w.t, "ingress"), Egress: list.Draw(w.t, "egress"),
				Default: rapid.SampledFrom(def).Draw(w.t, "default")})
		}
		return out
	}
	ep := &dataplane.Endpoint{
		ID: id, Interface: rapid.SampledFrom([]string{"*", "*", "", "eth0", "eth1", "lo", "fld9", "eth+"}).Draw(w.t, "interface"),
		Addresses: rapid.SampledFrom([][]netip.Addr{addresses("172.18.0.1"), addresses("172.18.0.1", "172.18.0.2", "fd00:18::2"), nil}).Draw(w.t, "addresses"),
		Host:      &dataplane.HostEndpoint{},
	}
	if rapid.IntRange(0, 5).Draw(w.t, "fault") == 0 {
		ep.Host.Fault = "it can't be read"
		w.put(ep, c)
		return
	}
	ep.Profiles, ep.Tiers = list.Draw(w.t, "profiles"), tiers("tiers", dataplane.Deny, dataplane.Pass)
	ep.Host.Untracked, ep.Host.PreDNAT = tiers("untracked", dataplane.Pass), tiers("preDNAT", dataplane.Pass)
	for i := range ep.Host.PreDNAT {
		ep.Host.PreDNAT[i].Egress = nil
	}
	if ep.Host.Forward = ep.Tiers; rapid.Bool().Draw(w.t, "no forward") {
		ep.Host.Forward = nil
	}
	w.put(ep, c)
}

// readdress moves the host's own addresses between its interfaces.
func (w *world) readdress(*dataplane.Changes) {
	w.devices = map[netip.Addr]string{}
	for _, a := range addresses("172.18.0.1", "172.18.0.2", "fd00:18::2") {
		if name := rapid.SampledFrom([]string{"", "lo", "eth0", "eth1", "eth2", "fld1"}).Draw(w.t, "device"); name != "" {
			w.devices[a] = name
		}
	}
}

func (w *world) policy(c *dataplane.Changes) {
	id := rapid.SampledFrom(w.policies).Draw(w.t, "policy")
	p := &dataplane.Policy{ID: id}
	for range rapid.IntRange(0, 3).Draw(w.t, "rules") {
		p.Ingress = append(p.Ingress, drawRule(w.t, w.sets))
		p.Egress = append(p.Egress, drawRule(w.t, w.sets))
	}
	w.s.Policies[id] = p
	c.Policies[id] = struct{}{}
}

func (w *world) set(c *dataplane.Changes) {
	id := rapid.SampledFrom(w.sets).Draw(w.t, "set")
	old := w.s.IPSets[id]
	members := map[dataplane.Member]struct{}{}
	for _, p := range rapid.SliceOfN(rapid.SampledFrom(prefixes("10.0.0.0/8", "fd00::1/128", "::/0")), 0, 3).Draw(w.t, "members") {
		members[dataplane.Member{Prefix: p}] = struct{}{}
	}
	w.s.IPSets[id] = &dataplane.IPSet{ID: id, Members: members}
	if _, twice := c.IPSets[id]; twice || old == nil {
		c.IPSets[id] = nil
		return
	}
	delta := &dataplane.SetDelta{}
	for m := range members {
		if _, ok := old.Members[m]; !ok {
			delta.Added = append(delta.Added, m)
		}
	}
	for m := range old.Members {
		if _, ok := members[m]; !ok {
			delta.Removed = append(delta.Removed, m)
		}
	}
	c.IPSets[id] = delta
}

func (w *world) host(c *dataplane.Changes) {
	w.s.Host.Owner = rapid.Bool().Draw(w.t, "owner")
	w.s.Host.IPv6 = rapid.Bool().Draw(w.t, "ipv6")
	w.s.Host.WorkloadToHost = rapid.SampledFrom([]dataplane.Action{dataplane.Allow, dataplane.Deny, dataplane.Pass}).Draw(w.t, "workload to host")
	w.s.Host.HostToWorkload = dataplane.HostToWorkload(rapid.IntRange(0, 2).Draw(w.t, "host to workload"))
	w.s.Host.FailsafeInbound = rapid.SampledFrom([][]dataplane.Failsafe{nil, failsafes}).Draw(w.t, "failsafes")
	w.s.Host.InterfacePrefix = rapid.SampledFrom([]string{"fld", "fld", "flda"}).Draw(w.t, "prefix")
	c.Host = true
}

func (w *world) nat(c *dataplane.Changes) {
	w.s.NAT = dataplane.NAT{Masquerade: rapid.SampledFrom([][]netip.Prefix{nil, prefixes("10.0.0.0/8"), prefixes("10.0.0.0/8", "fd00::/64")}).Draw(w.t, "nat")}
	c.NAT = true
}

// TestRecordEqualsRender: whatever moved, in whatever order, the tables and sets end as rendered from scratch.
func TestRecordEqualsRender(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, h := newWorld(t), newHeld()
		h.grouping = rapid.SampledFrom([]grouping{usualGrouping, {from: 1, min: 1, max: 2}}).Draw(t, "grouping")
		for _, id := range w.sets {
			w.s.IPSets[id] = &dataplane.IPSet{ID: id}
		}
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			c := dataplane.NewChanges()
			moves := []func(*dataplane.Changes){
				w.endpoint, w.endpoint, w.endpoint, w.hostEndpoint, w.hostEndpoint, w.policy, w.policy, w.set, w.host, w.nat, w.readdress,
			}
			for range rapid.IntRange(0, 5).Draw(t, "moves") {
				rapid.SampledFrom(moves).Draw(t, "move")(c)
			}
			if rapid.IntRange(0, 9).Draw(t, "all") == 0 {
				c = nil
			}
			h.devices = w.devices
			h.take(t, w.s, c)
			if diff := h.differs(w.s); diff != "" {
				t.Fatalf("-from scratch +incremental:\n%s", diff)
			}
		}
		clear(w.s.Endpoints)
		clear(w.s.IPSets)
		h.take(t, w.s, nil)
		if n := len(h.groups.byKey) + len(h.groups.byPolicy) + len(h.policies) + len(h.derived) + len(h.claims) + len(h.endpoints) + len(h.record.hosts.ids) + len(h.probes); n > 0 {
			t.Fatalf("%d objects are remembered after all are gone", n)
		}
	})
}

// TestOneEndpointTouchesFewChains: what an update costs does not grow with the host.
func TestOneEndpointTouchesFewChains(t *testing.T) {
	s, h := dataplane.NewState(), newHeld()
	s.Host = dataplane.Host{Owner: true, InterfacePrefix: "fld"}
	for i := range 250 {
		id := dataplane.EndpointID(fmt.Sprint("pod/a/", i))
		s.Endpoints[id] = &dataplane.Endpoint{ID: id, Interface: "fld" + fmt.Sprintf("%x", hashed(fmt.Sprint(i), 6))[:11], Addresses: addresses("10.0.0.1")}
	}
	h.take(t, s, nil)
	filter := h.tables[tableKey{IPv4, "filter"}]
	before := maps.Clone(filter.chains)
	s.Endpoints["pod/a/new"] = &dataplane.Endpoint{ID: "pod/a/new", Interface: "fld30abcdef012", Addresses: addresses("10.0.0.2")}
	h.take(t, s, &dataplane.Changes{Endpoints: map[dataplane.EndpointID]struct{}{"pod/a/new": {}}})
	changed := 0
	for name, rules := range filter.chains {
		if !slices.Equal(before[name], rules) {
			changed++
		}
		if len(rules) > 2*maxBranch+2 {
			t.Errorf("chain %s has %d rules", name, len(rules))
		}
	}
	if changed > 6 {
		t.Errorf("%d chains changed for one endpoint", changed)
	}
}
