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
	// maxACLs is how many ACLs that may become, once they are parted by family and length (H29).
	maxACLs = 9990
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
	symbols *flatten.Symbols
	members map[SetRef]bool // whether there are any
}

// NewRenderer is for one State.
func NewRenderer(s *dataplane.State, o Options) *Renderer {
	return &Renderer{state: s, options: o, symbols: flatten.NewSets(s.IPSets).Symbols(!o.Form.Sets), members: map[SetRef]bool{}}
}

// filled tells whether a set has members.
func (r *Renderer) filled(ref SetRef) bool {
	some, ok := r.members[ref]
	if !ok {
		some = hasFamily(r.state.IPSets[ref.Set], ref.Family)
		r.members[ref] = some
	}
	return some
}

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
		return List{ACLs: Closed(), Unsupported: []dataplane.Unsupported{{Reason: "HNS does not what felid relies on: everything is denied: " + string(id)}}}
	}
	r.symbols.Noted() // of the endpoint before
	e := newRenderer(r, ep)
	if e.ipv4Only {
		e.unsupported = append(e.unsupported, dataplane.Unsupported{Reason: "HNS takes no IPv6 addresses in ACLs here: all IPv6 is denied: " + string(id)})
	}
	acls := hostPair()
	for _, dir := range []dataplane.Direction{dataplane.Ingress, dataplane.Egress} {
		acls = append(acls, e.direction(dir)...)
	}
	return List{
		ACLs: acls, Sets: sortedRefs(e.named), Expanded: r.symbols.Noted(), Present: sortedRefs(e.present), Absent: sortedRefs(e.absent),
		Unsupported: e.unsupported,
	}
}

func sortedRefs(refs map[SetRef]struct{}) []SetRef {
	return slices.SortedFunc(maps.Keys(refs), func(a, b SetRef) int {
		return cmp.Or(cmp.Compare(a.Set, b.Set), cmp.Compare(a.Family, b.Family))
	})
}

// renderer is for one endpoint.
type renderer struct {
	*Renderer
	ep *dataplane.Endpoint
	// own is where the endpoint may send from.
	own flatten.Addrs
	// families that the endpoint uses, and those of which it must be told that they are blocked.
	families, blocked []uint8
	ipv4Only          bool // it has IPv6 addresses, and HNS takes none: what is allowed to all is for IPv4
	unsupported       []dataplane.Unsupported
	// Sets that ACLs name, and those that rules ask for, with members and without.
	named, present, absent map[SetRef]struct{}
}

func newRenderer(all *Renderer, ep *dataplane.Endpoint) *renderer {
	r := &renderer{Renderer: all, ep: ep, named: map[SetRef]struct{}{}, present: map[SetRef]struct{}{}, absent: map[SetRef]struct{}{}}
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

// direction are the ACLs of one direction, with priorities.
func (r *renderer) direction(dir dataplane.Direction) []hns.ACL {
	before := r.writer(dir, slices.Concat(r.families, r.blocked), firstPriority, policyPriority-1)
	for _, rule := range r.beforePolicy(dir) {
		before.add(rule)
	}
	rules, denied := r.symbols.Tiers(r.tiers(dir), maxRules)
	for _, from := range denied {
		r.report(dir, from, "its tiers would make too many rules without Pass: what it matches is denied")
	}
	policy := r.writer(dir, r.families, policyPriority, lastPriority)
	for _, rule := range rules {
		policy.add(rule)
	}
	if before.full || policy.full || len(before.acls)+len(policy.acls) > maxACLs {
		r.report(dir, flatten.Origin{}, "there are more rules than felid gives to HNS: everything is denied")
		closed := r.writer(dir, nil, policyPriority, policyPriority)
		closed.add(flatten.Rule{Action: dataplane.Deny, From: flatten.Origin{Tier: "too-many-rules"}})
		return closed.acls
	}
	return append(before.acls, policy.acls...)
}

func (r *renderer) writer(dir dataplane.Direction, families []uint8, first, last int) *writer {
	return &writer{dir: dir, families: families, ipv4Only: r.ipv4Only, named: r.name, next: first, last: last, count: map[string]int{}}
}

// name is that of a set, and notes that the list needs it.
func (r *renderer) name(ref SetRef) (string, bool) {
	if !r.filled(ref) {
		return "", false
	}
	r.named[ref] = struct{}{}
	return ref.ID(), true
}

func (r *renderer) report(dir dataplane.Direction, from flatten.Origin, reason string) {
	if from.Tier != "" {
		reason = from.Tier + ": " + reason
	}
	r.unsupported = append(r.unsupported, dataplane.Unsupported{Policy: from.Policy, Direction: dir, Rule: from.Index, Reason: reason})
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
	var rules []flatten.Rule
	for _, p := range r.ep.Probes {
		m := flatten.Match{Protocols: flatten.ProtocolsOf(p.Protocol), Src: node, DstPorts: flatten.PortsOf(dataplane.PortRange{Min: p.Port, Max: p.Port})}
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
