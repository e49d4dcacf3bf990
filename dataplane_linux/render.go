package linux

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/felid-net/felid/dataplane"
)

// How a packet crosses the chains (filter table; both families alike):
//
//	FORWARD ─► felid-forward ─ from a pod ► felid-from ► felid-from-PREFIX ► felid-fw-IFACE ► felid-po-POLICY …
//	                         ─ to a pod ──► felid-to ──► felid-to-PREFIX ──► felid-tw-IFACE ► felid-pi-POLICY …
//	INPUT ───► felid-input ── from a pod ► felid-workload-host ► felid-from …
//	OUTPUT ──► felid-output ─ to a pod ──► accepted, or felid-to …
//
// felid-from and felid-to find the endpoint by its interface and drop what has none. An endpoint's chain checks the source, lets
// established connections go on, and then walks tiers and profiles; it returns only if the packet is allowed. So what follows a
// call of felid-from or felid-to is for allowed packets: the owner of the network accepts them; a guest marks them and returns, so that later
// rules of others still apply. A packet between two local pods crosses both. An established connection crosses the tree of its sender,
// for the source check, and nothing else. Where many policies of a tier apply, groups of them that endpoints share come in between: felid-gi-…
// to the pod, felid-go-… from it (render_group.go).

// RenderConfig is what the renderer needs besides the state.
type RenderConfig struct {
	MarkMask uint32 // bits of the packet mark that are ours; 0: 0xffff0000. At least 5.
	LogGroup uint16 // NFLOG group of Log rules and verdicts; 0: 1
	// LogRate is how often each Log rule logs: "10/second", "/minute", "/hour"; "": each packet. LogBurst is how many packets may come at once
	// before that counts; 0: 5.
	LogRate  string
	LogBurst int
	// LogVerdicts makes every rule that allows, denies or passes, each end of a tier, and "no profile decided" log first through NFLOG, with the
	// prefix of Logged. Packets of established connections cross no rules, and are not logged.
	LogVerdicts bool
	// DenyGroup is the NFLOG group that is told of packets that rules, ends of tiers and a lack of profiles deny, some of each a second; 0: none. See
	// Dataplane.WatchDenials.
	DenyGroup uint16
	CutDenied bool // connections are cut that policy denies by now: see Dataplane.CutConnections
	// Devices are the host's own interfaces by address, for host endpoints that name none. Not changed any more.
	Devices map[netip.Addr]string

	grouping grouping // zero: usualGrouping
}

// Rendered is the state as chains and sets. What it shares with the state is not to be changed.
type Rendered struct {
	tables map[tableKey]*tableChains
	sets   []Set
	// Faults are endpoints that can't be enforced, and why; their interfaces are dropped.
	Faults map[dataplane.EndpointID]error
}

type tableKey struct {
	family Family
	table  string // "filter", "nat", "raw", "mangle"
}

type tableChains struct {
	hooks  []Hook
	chains []Chain
}

// renderer renders one object at a time; Render and the driver put them together.
type renderer struct {
	cfg   RenderConfig
	marks marks
	host  *dataplane.Host
	w     rules

	logLimit  string  // match of Log rules
	denyLimit string  // match of rules that tell DenyGroup
	groups    []group // that the endpoint under way uses
}

func newRenderer(cfg RenderConfig, host *dataplane.Host) (*renderer, error) {
	if cfg.MarkMask == 0 {
		cfg.MarkMask = 0xffff0000
	}
	if cfg.LogGroup == 0 {
		cfg.LogGroup = 1
	}
	if cfg.grouping == (grouping{}) {
		cfg.grouping = usualGrouping
	}
	m, err := marksFrom(cfg.MarkMask)
	if err != nil {
		return nil, err
	}
	// "+" alone would be every interface of the host.
	if p := host.InterfacePrefix; p == "" || len(p) > 14 || strings.IndexFunc(p, func(c rune) bool { return !nameRune(c) }) >= 0 {
		return nil, fmt.Errorf("prefix of pods' interfaces %q: want 1 to 14 letters, digits, \".\", \"-\" and \"_\"", p)
	}
	limit, err := logLimit(cfg.LogRate, cfg.LogBurst)
	if err != nil {
		return nil, err
	}
	told, err := logLimit(denyRate, 0)
	if err != nil {
		return nil, err
	}
	return &renderer{cfg: cfg, marks: m, host: host, logLimit: limit, denyLimit: told}, nil
}

// Render is the whole state from scratch. It panics on a mark mask of fewer than 5 bits, on a rate that is none, and where the state's
// prefix of pods' interfaces is none.
func Render(s *dataplane.State, cfg RenderConfig) *Rendered {
	r, err := newRenderer(cfg, &s.Host)
	if err != nil {
		panic(err)
	}
	ifaces, faults := interfaces(s)
	h := r.hosts(hostEndpoints(s))
	maps.Copy(faults, h.faults)
	out := &Rendered{tables: map[tableKey]*tableChains{}, Faults: faults}
	for _, f := range Families {
		out.tables[tableKey{f, "filter"}] = &tableChains{hooks: filterHooks(), chains: r.staticChains(f, h)}
		used := map[use]bool{}
		if r.enabled(f) {
			r.renderPods(f, s, ifaces, out, used)
		}
		out.add(f, "filter", r.redirectedChain(f, ifaces)...)
		r.renderHosts(f, s, h, out, used)
		r.renderPolicies(f, s, out, used)
		if r.policed(f, h) {
			for _, set := range s.IPSets {
				out.sets = append(out.sets, stateSet(f, set))
			}
		}
		if r.masquerades(f, &s.NAT) {
			out.tables[tableKey{f, "nat"}] = r.natTable(f)
			out.sets = append(out.sets, natSets(f, &s.NAT)...)
		}
	}
	slices.SortFunc(out.sets, func(a, b Set) int { return strings.Compare(a.Name, b.Name) })
	out.sets = slices.CompactFunc(out.sets, func(a, b Set) bool { return a.Name == b.Name })
	return out
}

// enabled tells whether a family is policed for pods; if not, all that they send or get of it is dropped.
func (r *renderer) enabled(f Family) bool { return f == IPv4 || r.host.IPv6 }

// use is a policy at a stage.
type use struct {
	policy dataplane.PolicyID
	stage  stage
}

func (u *Rendered) add(f Family, table string, chains ...Chain) {
	t := u.tables[tableKey{f, table}]
	if t == nil {
		t = &tableChains{}
		u.tables[tableKey{f, table}] = t
	}
	t.chains = append(t.chains, chains...)
}

// renderPods adds the chains of pods, and what they use.
func (r *renderer) renderPods(f Family, s *dataplane.State, ifaces map[string]*dataplane.Endpoint, out *Rendered, used map[use]bool) {
	eff, shared := stateEffects(f, s), map[string]group{}
	names := endpointNames(f, ifaces)
	out.add(f, "filter", r.dispatch(names)...)
	for _, name := range names {
		ep := ifaces[name]
		eachPolicy(ep, func(id dataplane.PolicyID) { used[use{id, stageLocal}] = true })
		chains, groups := r.endpointChains(f, ep, eff)
		out.add(f, "filter", chains...)
		for _, g := range groups {
			shared[g.name] = g
		}
	}
	for _, name := range slices.Sorted(maps.Keys(shared)) {
		g := shared[name]
		out.add(f, "filter", r.groupChain(f, &g, s))
	}
	if r.probes() {
		var members []dataplane.Member
		for _, ep := range ifaces {
			members = append(members, probeMembers(ep)...)
		}
		out.sets = append(out.sets, probeSet(f, slices.Values(members)))
	}
}

// renderHosts adds the chains of host endpoints, and what they use.
func (r *renderer) renderHosts(f Family, s *dataplane.State, h *hosts, out *Rendered, used map[use]bool) {
	for _, c := range r.hostChains(f, h, stateEffects(f, s)) {
		out.add(f, c.table, c.Chain)
	}
	for _, table := range hostTables {
		for _, kernel := range hostKernelChains {
			if rule := r.hostHook(h, table, kernel); rule != "" {
				t := out.tables[tableKey{f, table}]
				t.hooks = append(t.hooks, Hook{kernel, rule})
			}
		}
	}
	for _, ep := range h.all() {
		eachHostUse(ep, func(id dataplane.PolicyID, st stage) { used[use{id, st}] = true })
	}
}

// renderPolicies adds the chains of the policies that are used.
func (r *renderer) renderPolicies(f Family, s *dataplane.State, out *Rendered, used map[use]bool) {
	derived := func(set Set) { out.sets = append(out.sets, set) }
	for _, u := range sortedUses(used) {
		p := s.Policies[u.policy]
		if p == nil {
			continue
		}
		for _, d := range u.stage.directions() {
			if c, ok := r.policyChain(f, p, u.stage, d, derived); ok {
				out.add(f, u.stage.table(), c)
			}
		}
	}
}

var directions = [...]dataplane.Direction{dataplane.Ingress, dataplane.Egress}

// dispatch is the two trees over the interfaces that have chains.
func (r *renderer) dispatch(names []string) []Chain {
	from := func(iface string) string { return endpointChain(dataplane.Egress, iface) }
	to := func(iface string) string { return endpointChain(dataplane.Ingress, iface) }
	return append(r.dispatchTree(chainFrom, "-i", names, from), r.dispatchTree(chainTo, "-o", names, to)...)
}

// stateEffects computes effects when asked. A policy that the state lacks is a broken invariant of the resolver.
func stateEffects(f Family, s *dataplane.State) effects {
	return func(id dataplane.PolicyID, d dataplane.Direction) effect {
		p := s.Policies[id]
		if p == nil {
			panic(fmt.Sprintf("dataplane: an endpoint lists %s, which the state lacks", id))
		}
		return effectOf(f, rulesOf(p, d))
	}
}

// eachPolicy visits the policies and profiles of an endpoint, some of them twice.
func eachPolicy(ep *dataplane.Endpoint, visit func(dataplane.PolicyID)) {
	for i := range ep.Tiers {
		for _, id := range ep.Tiers[i].Ingress {
			visit(id)
		}
		for _, id := range ep.Tiers[i].Egress {
			visit(id)
		}
	}
	for _, id := range ep.Profiles {
		visit(id)
	}
}

// interfaces are the endpoints by interface, and those that have none that can be enforced. Two that claim one interface are both faults,
// and it is dropped.
func interfaces(s *dataplane.State) (map[string]*dataplane.Endpoint, map[dataplane.EndpointID]error) {
	claims, faults := make(map[string][]dataplane.EndpointID, len(s.Endpoints)), map[dataplane.EndpointID]error{}
	for id, ep := range s.Endpoints {
		if ep.Host != nil {
			continue
		}
		if err := interfaceFault(s.Host.InterfacePrefix, ep); err != nil {
			faults[id] = err
			continue
		}
		claims[ep.Interface] = append(claims[ep.Interface], id)
	}
	ifaces := make(map[string]*dataplane.Endpoint, len(claims))
	for name, ids := range claims {
		if len(ids) == 1 {
			ifaces[name] = s.Endpoints[ids[0]]
			continue
		}
		for _, id := range ids {
			faults[id] = contested(id, name, ids)
		}
	}
	return ifaces, faults
}

func contested(id dataplane.EndpointID, iface string, claims []dataplane.EndpointID) error {
	return fmt.Errorf("%s: interface %s is claimed by several endpoints: %v", id, iface, slices.Sorted(slices.Values(claims)))
}

// interfaceFault: only interfaces with the prefix reach our chains, and a name goes into iptables text, where "+" at its end would
// stand for other interfaces too.
func interfaceFault(prefix string, ep *dataplane.Endpoint) error {
	switch name := ep.Interface; {
	case name == "":
		return fmt.Errorf("%s: its interface is not known", ep.ID)
	case !strings.HasPrefix(name, prefix):
		return fmt.Errorf("%s: interface %s does not begin with %q, the prefix of pods' interfaces on this host", ep.ID, name, prefix)
	case !interfaceName(name):
		return fmt.Errorf("%s: interface %q: want at most 15 letters, digits, \".\", \"-\" and \"_\"", ep.ID, name)
	}
	return nil
}

// interfaceName tells whether iptables takes it for one interface.
func interfaceName(name string) bool {
	return len(name) <= 15 && strings.IndexFunc(name, func(c rune) bool { return !nameRune(c) }) < 0
}

func nameRune(c rune) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == '_'
}

// endpointNames are the interfaces of endpoints with an address of the family, sorted.
func endpointNames(f Family, ifaces map[string]*dataplane.Endpoint) []string {
	var out []string
	for name, ep := range ifaces {
		if slices.ContainsFunc(ep.Addresses, f.of) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// sortedUses are in the order of stages, and of names within one.
func sortedUses(used map[use]bool) []use {
	return slices.SortedFunc(maps.Keys(used), func(a, b use) int {
		return cmp.Or(cmp.Compare(a.stage, b.stage), strings.Compare(a.policy.String(), b.policy.String()))
	})
}
