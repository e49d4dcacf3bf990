package windows

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/flatten"
	"github.com/felid-net/felid/dataplane_windows/hns"
)

const (
	// maxRules is how many rules a direction of an endpoint may have once its tiers are one list.
	maxRules = 8192
	// maxACLs is how many ACLs that may become, once they are parted by family, protocol and length (H29).
	maxACLs = 9800
	// minPriority and maxPriority are all that HNS takes (H2). Below firstPriority is room for others (a cloud's own blocks). The rules that
	// come before policy start there, those of policy at policyPriority. lastPriority is below the 65500 of the CNI plugins' defaults.
	minPriority    = 100
	firstPriority  = 900
	policyPriority = 1000
	lastPriority   = 65000
	maxPriority    = 65500
)

// Renderer makes the lists of the endpoints of one State. What it makes of an IP set is shared between them. The State must not change as
// long as it is used.
type Renderer struct {
	state   *dataplane.State
	options Options
	sets    *flatten.Sets
	symbols *flatten.Symbols
	parts   map[string]*part     // by key: those of endpoints with the same policies
	texts   map[textKey][]string // of addresses that several rules may name
}

// NewRenderer is for one State.
func NewRenderer(s *dataplane.State, o Options) *Renderer {
	return newRendererOf(s, o, flatten.NewSets(s.IPSets))
}

func newRendererOf(s *dataplane.State, o Options, sets *flatten.Sets) *Renderer {
	return &Renderer{state: s, options: o, sets: sets, symbols: sets.Symbols(!o.Form.Sets), parts: map[string]*part{}, texts: map[textKey][]string{}}
}

// Next is for the State as it is after changes, and keeps what r made of sets that did not move; r must not be used any more, and may be nil.
// Nil changes may concern all.
func (r *Renderer) Next(s *dataplane.State, o Options, c *dataplane.Changes) *Renderer {
	if r == nil {
		return NewRenderer(s, o)
	}
	return newRendererOf(s, o, r.sets.Next(s.IPSets, c))
}

// filled tells whether a set has members.
func (r *Renderer) filled(ref SetRef) bool { return r.sets.Nets(ref.Set).Has(ref.Family) }

// Render is the list of one endpoint.
func Render(s *dataplane.State, id dataplane.EndpointID, o Options) List {
	return NewRenderer(s, o).List(id)
}

// List is that of one endpoint, for both directions. An endpoint that is not in the State has none.
func (r *Renderer) List(id dataplane.EndpointID) List {
	ep := r.state.Endpoints[id]
	switch {
	case ep == nil:
		return List{}
	case ep.Host != nil:
		return List{Unsupported: []dataplane.Unsupported{{Reason: "host endpoints are not enforced on Windows: " + string(id)}}}
	case r.options.Form.Closed:
		return List{ACLs: r.closed(ep), Unsupported: []dataplane.Unsupported{{Reason: "HNS does not do what felid relies on: everything is denied: " + string(id)}}}
	}
	e := newRenderer(r, ep)
	l := List{ACLs: hostPair()}
	if e.ipv4Only {
		l.Unsupported = append(l.Unsupported, dataplane.Unsupported{Reason: "HNS takes no IPv6 addresses in ACLs here: all IPv6 is denied: " + string(id)})
	}
	in, out := e.policy(dataplane.Ingress), e.policy(dataplane.Egress)
	l.add(dataplane.Ingress, e, in)
	l.add(dataplane.Egress, e, out)
	l.Sets, l.Present, l.Absent = merged(in.named, out.named, compareRefs), merged(in.present, out.present, compareRefs), merged(in.absent, out.absent, compareRefs)
	l.Expanded = merged(in.expanded, out.expanded, cmp.Compare)
	return l
}

// closed is the list of an endpoint on a node of which too little holds. Of one that has IPv6, that family is named besides (H3).
func (r *Renderer) closed(ep *dataplane.Endpoint) []hns.ACL {
	acls := Closed()
	if !r.options.Form.IPv6 || !slices.ContainsFunc(ep.Addresses, netip.Addr.Is6) {
		return acls
	}
	return append(acls, closed6(hns.In), closed6(hns.Out))
}

// add writes the ACLs of one direction, if they are not too many.
func (l *List) add(dir dataplane.Direction, e *renderer, p *part) {
	l.Unsupported = append(l.Unsupported, p.unsupported...)
	before, full := e.before(dir)
	if !full && !p.full {
		l.ACLs = append(append(l.ACLs, before...), p.acls...)
		return
	}
	l.Unsupported = append(l.Unsupported, dataplane.Unsupported{Direction: dir, Reason: "there are more rules than felid gives to HNS: everything is denied"})
	l.ACLs = append(l.ACLs, closed(directionOf(dir), policyPriority))
	if slices.Contains(e.families, 6) {
		l.ACLs = append(l.ACLs, closed6(directionOf(dir)))
	}
}

// closed6 blocks all IPv6 once more by its prefix (H3).
func closed6(dir hns.Direction) hns.ACL {
	a := closed(dir, policyPriority+1)
	a.ID, a.RemoteAddresses = a.ID+"/6", "::/0"
	return a
}

// merged are the keys of two lists, sorted.
func merged[K comparable](a, b []K, compare func(K, K) int) []K {
	out := slices.Concat(a, b)
	slices.SortFunc(out, compare)
	return slices.Compact(out)
}

func compareRefs(a, b SetRef) int {
	return cmp.Or(cmp.Compare(a.Set, b.Set), cmp.Compare(a.Family, b.Family))
}

// renderer is for one endpoint.
type renderer struct {
	*Renderer
	*part // that is being made
	ep    *dataplane.Endpoint
	// own is where the endpoint may send from.
	own flatten.Addrs
	// families that the endpoint uses, and those of which it must be told that they are blocked.
	families, blocked []uint8
	ipv4Only          bool // it has IPv6 addresses, and HNS takes none: what is allowed to all is for IPv4
}

func newRenderer(all *Renderer, ep *dataplane.Endpoint) *renderer {
	r := &renderer{Renderer: all, ep: ep}
	prefixes := append([]netip.Prefix(nil), ep.AllowedSources...)
	has := map[uint8]bool{}
	for _, a := range ep.Addresses {
		prefixes = append(prefixes, netip.PrefixFrom(a, a.BitLen()))
		has[familyOf(a)] = true
	}
	r.own = flatten.AddrsOf(prefixes...)
	for _, family := range []uint8{4, 6} {
		routed := family == 4 || r.state.Host.IPv6
		switch {
		case family == 6 && !r.options.Form.IPv6:
			r.ipv4Only = has[6]
		case routed && has[family]:
			r.families = append(r.families, family)
		case routed || has[family]: // elsewhere HNS may not even know the family
			r.blocked = append(r.blocked, family)
		}
	}
	return r
}

func familyOf(a netip.Addr) uint8 {
	if a.Is4() {
		return 4
	}
	return 6
}

// before are the ACLs that come before those of policy.
func (r *renderer) before(dir dataplane.Direction) (acls []hns.ACL, full bool) {
	w := writer{Renderer: r.Renderer, dir: dir, families: slices.Concat(r.families, r.blocked), next: firstPriority, last: policyPriority - 1, count: map[string]int{}}
	for _, rule := range r.beforePolicy(dir) {
		w.add(rule)
	}
	return w.acls, w.full
}

// linkAddrs are those by which IPv6 neighbours find one another (RFC 4861); HNS can't tell neighbour discovery from other ICMPv6.
var linkAddrs = flatten.AddrsOf(netip.MustParsePrefix("::/128"), netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("ff02::/16"))

// beforePolicy are the rules that no policy can overrule.
func (r *renderer) beforePolicy(dir dataplane.Direction) []flatten.Rule {
	var rules []flatten.Rule
	add := func(name string, action dataplane.Action, remote, local flatten.Addrs, protocols flatten.Protocols) {
		m := flatten.Match{Protocols: protocols, Src: local, Dst: remote}
		if dir == dataplane.Ingress {
			m.Src, m.Dst = remote, local
		}
		if !m.Empty() {
			rules = append(rules, flatten.Rule{Match: m, Action: action, From: flatten.Origin{Tier: name}})
		}
	}
	for _, family := range r.blocked {
		add(nameNoFamily, dataplane.Deny, flatten.Family(family), flatten.Addrs{}, flatten.Protocols{})
	}
	if slices.Contains(r.families, 6) {
		local := flatten.Addrs{}.Minus(linkAddrs).Minus(r.own)
		add(nameNeighbours, dataplane.Allow, linkAddrs, flatten.Addrs{}.Minus(local), flatten.ProtocolsOf(dataplane.ProtoICMPv6))
	}
	node := r.nodeAddrs()
	if dir == dataplane.Ingress {
		if r.state.Host.HostToWorkload == dataplane.HostToWorkloadAll {
			add(nameOwnNode, dataplane.Allow, node, flatten.Addrs{}, flatten.Protocols{})
		}
		return append(rules, r.probePorts(node)...)
	}
	add(nameSpoofed, dataplane.Deny, flatten.Addrs{}, r.addrsOfFamilies().Minus(r.own), flatten.Protocols{})
	if to := r.state.Host.WorkloadToHost; to != dataplane.Allow && to != dataplane.Pass {
		add(nameToHost, dataplane.Deny, node, flatten.Addrs{}, flatten.Protocols{})
	}
	return rules
}

// probePorts let the endpoint's own node in at the ports that its probes go to.
func (r *renderer) probePorts(node flatten.Addrs) []flatten.Rule {
	if r.state.Host.HostToWorkload != dataplane.HostToWorkloadProbePorts {
		return nil
	}
	ports := map[uint8][]dataplane.PortRange{}
	for _, p := range r.ep.Probes {
		ports[p.Protocol] = append(ports[p.Protocol], dataplane.PortRange{Min: p.Port, Max: p.Port})
	}
	var rules []flatten.Rule
	for _, protocol := range slices.Sorted(maps.Keys(ports)) {
		m := flatten.Match{Protocols: flatten.ProtocolsOf(protocol), Src: node, DstPorts: flatten.PortsOf(ports[protocol]...)}
		if !m.Empty() {
			rules = append(rules, flatten.Rule{Match: m, Action: dataplane.Allow, From: flatten.Origin{Tier: nameProbePort}})
		}
	}
	return rules
}

func (r *renderer) addrsOfFamilies() flatten.Addrs {
	rest := flatten.Addrs{}
	for _, family := range r.families {
		rest = rest.Minus(flatten.Family(family))
	}
	return flatten.Addrs{}.Minus(rest)
}

// nodeAddrs are those of the endpoint's own node, in the endpoint's families.
func (r *renderer) nodeAddrs() flatten.Addrs {
	name := r.state.Host.Node
	if name == "" {
		name = r.ep.Node
	}
	addrs := slices.Clone(r.options.HostAddresses)
	if n := r.state.Nodes[name]; n != nil {
		addrs = append(addrs, n.Addresses...)
	}
	return flatten.AddrsOfSingles(addrs...).Intersect(r.addrsOfFamilies())
}
