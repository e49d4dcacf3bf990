package probe

import (
	"net/netip"

	"github.com/felid-net/felid/dataplane"
)

// The endpoints and their node.
const (
	node  dataplane.NodeName   = "probe"
	podA  dataplane.EndpointID = "pod/felid-probe/a"
	podB  dataplane.EndpointID = "pod/felid-probe/b"
	ifA                        = "fldprobea"
	ifB                        = "fldprobeb"
	tierA                      = "first"
	tierB                      = "second"
)

// portP is one that rules name, portQ one that they don't.
const (
	portP = 18080
	portQ = 18443
)

const (
	tcp = dataplane.ProtoTCP
	udp = dataplane.ProtoUDP
)

// addresses of an end, by family.
type addresses struct{ v4, v6 netip.Addr }

var (
	addrA    = addresses{netip.MustParseAddr("198.18.1.2"), netip.MustParseAddr("fd5f:e11d:9b0e:1::2")}
	addrB    = addresses{netip.MustParseAddr("198.18.2.2"), netip.MustParseAddr("fd5f:e11d:9b0e:2::2")}
	gateA    = addresses{netip.MustParseAddr("198.18.1.1"), netip.MustParseAddr("fd5f:e11d:9b0e:1::1")}
	gateB    = addresses{netip.MustParseAddr("198.18.2.1"), netip.MustParseAddr("fd5f:e11d:9b0e:2::1")}
	spoofed  = addresses{netip.MustParseAddr("198.18.1.9"), netip.MustParseAddr("fd5f:e11d:9b0e:1::9")}
	stranger = addresses{netip.MustParseAddr("198.18.3.2"), netip.MustParseAddr("fd5f:e11d:9b0e:3::2")}
)

func (a addresses) list() []netip.Addr { return []netip.Addr{a.v4, a.v6} }

func (a addresses) nets() []netip.Prefix {
	return []netip.Prefix{netip.PrefixFrom(a.v4, 32), netip.PrefixFrom(a.v6, 128)}
}

// around are prefixes with the address and many others.
func (a addresses) around() []netip.Prefix {
	return []netip.Prefix{netip.PrefixFrom(a.v4, 24).Masked(), netip.PrefixFrom(a.v6, 64).Masked()}
}

func policyID(name string) dataplane.PolicyID {
	return dataplane.PolicyID{Kind: "GlobalNetworkPolicy", Name: name}
}

var openProfile = dataplane.PolicyID{Kind: "Profile", Name: "open"}

// open is a State in which both endpoints may send and get everything.
func open() *dataplane.State {
	s := dataplane.NewState()
	for id, end := range map[dataplane.EndpointID]struct {
		iface string
		addresses
	}{podA: {ifA, addrA}, podB: {ifB, addrB}} {
		s.Endpoints[id] = &dataplane.Endpoint{ID: id, Node: node, Interface: end.iface, Addresses: end.list(), Profiles: []dataplane.PolicyID{openProfile}}
	}
	all := []dataplane.Rule{{Action: dataplane.Allow}}
	s.Policies[openProfile] = &dataplane.Policy{ID: openProfile, Ingress: all, Egress: all}
	s.Nodes[node] = &dataplane.Node{Name: node, Addresses: []netip.Addr{gateA.v4, gateB.v4, gateA.v6, gateB.v6}}
	s.Host = dataplane.Host{Node: node, Owner: true, InterfacePrefix: "fld", HostToWorkload: dataplane.HostToWorkloadPolicy, WorkloadToHost: dataplane.Allow, IPv6: true}
	return s
}

// in is open, but that these rules judge what B gets, and deny the rest.
func in(rules ...dataplane.Rule) *dataplane.State { return tiered(dataplane.Deny, rules) }

// tiered gives B a tier with these rules, at whose end this happens.
func tiered(end dataplane.Action, rules []dataplane.Rule) *dataplane.State {
	s := open()
	id := policyID("in")
	s.Policies[id] = &dataplane.Policy{ID: id, Tier: tierA, Ingress: rules}
	s.Endpoints[podB].Tiers = []dataplane.EndpointTier{{Name: tierA, Ingress: []dataplane.PolicyID{id}, Default: end}}
	return s
}

func allowTo(protocol uint8, ports ...dataplane.PortRange) dataplane.Rule {
	return dataplane.Rule{Action: dataplane.Allow, Protocol: protocol, Dst: dataplane.Side{Ports: ports}}
}

var only = dataplane.PortRange{Min: portP, Max: portP}

// trial is one form of rules.
type trial struct {
	name, text string
	run        func(*attempt)
}

var trials = []trial{
	{"none", "without policy, all that a profile allows passes", tryNone},
	{"end of tier", "what no rule of a tier matches is denied", tryEndOfTier},
	{"rules", "protocols, addresses and ports", tryRules},
	{"ports", "ranges and lists of ports", tryPorts},
	{"negation", "addresses, ports and sets that must not match", tryNegation},
	{"sets", "sets of prefixes, and members that come and go", trySets},
	{"named ports", "sets of address, protocol and port", tryNamedPorts},
	{"tiers", "Pass from tier to tier, and to profiles", tryTiers},
	{"egress", "what an endpoint may send", tryEgress},
	{"answers", "answers pass, and connections outlive the policy that let them in", tryAnswers},
	{"spoofing", "addresses that are not the sender's", trySpoofing},
	{"strangers", "interfaces of nobody's", tryStrangers},
	{"own node", "what the node sends to its pods", tryOwnNode},
}

func tryNone(a *attempt) {
	a.apply(open())
	a.expect(a.each(tcp, portP, true), a.each(udp, portP, true))
}

func tryEndOfTier(a *attempt) {
	a.apply(in())
	a.expect(a.each(tcp, portP, false), a.each(udp, portP, false))
}

func tryRules(a *attempt) {
	from := allowTo(tcp, only)
	from.Src.Nets = addrA.nets()
	a.apply(in(from))
	a.expect(a.each(tcp, portP, true), a.each(tcp, portQ, false), a.each(udp, portP, false))
	from.Src.Nets = addrA.around()
	deny := dataplane.Rule{Action: dataplane.Deny, Protocol: udp, Src: dataplane.Side{Nets: addrA.nets()}}
	a.apply(in(deny, dataplane.Rule{Action: dataplane.Allow, Src: dataplane.Side{Nets: addrA.around()}}))
	a.expect(a.each(tcp, portQ, true), a.each(udp, portQ, false))
	from.Src.Nets = stranger.nets()
	a.apply(in(from))
	a.expect(a.each(tcp, portP, false))
}

func tryPorts(a *attempt) {
	ranges := []dataplane.PortRange{{Min: 18100, Max: 18102}, {Min: 18110, Max: 18110}}
	for _, protocol := range []uint8{tcp, udp} {
		a.apply(in(allowTo(protocol, ranges...)))
		var checks [][]check
		for _, port := range []uint16{18099, 18100, 18101, 18102, 18103, 18109, 18110, 18111} {
			pass := port >= 18100 && port <= 18102 || port == 18110
			checks = append(checks, a.each(protocol, port, pass))
		}
		a.expect(checks...)
	}
}

func tryNegation(a *attempt) {
	allow := func(side dataplane.Side) dataplane.Rule {
		return dataplane.Rule{Action: dataplane.Allow, Protocol: tcp, Src: side}
	}
	a.apply(in(allow(dataplane.Side{NotNets: addrA.around()})))
	a.expect(a.each(tcp, portP, false))
	a.apply(in(allow(dataplane.Side{NotNets: stranger.nets()})))
	a.expect(a.each(tcp, portP, true))
	a.apply(withSet(in(allow(dataplane.Side{NotIPSets: []dataplane.IPSetID{"s"}})), addrA.nets()))
	a.expect(a.each(tcp, portP, false))
	a.apply(withSet(in(allow(dataplane.Side{NotIPSets: []dataplane.IPSetID{"s"}})), stranger.nets()))
	a.expect(a.each(tcp, portP, true))
	a.apply(in(dataplane.Rule{Action: dataplane.Allow, Protocol: tcp, Dst: dataplane.Side{NotPorts: []dataplane.PortRange{only}}}))
	a.expect(a.each(tcp, portP, false), a.each(tcp, portQ, true))
}

// withSet adds the set "s".
func withSet(s *dataplane.State, members []netip.Prefix) *dataplane.State {
	set := &dataplane.IPSet{ID: "s", Type: dataplane.SetNets, Members: map[dataplane.Member]struct{}{}, Text: "probe"}
	for _, m := range members {
		set.Members[dataplane.Member{Prefix: m}] = struct{}{}
	}
	s.IPSets[set.ID] = set
	return s
}

func trySets(a *attempt) {
	rule := allowTo(tcp, only)
	rule.Src.IPSets = []dataplane.IPSetID{"s"}
	a.apply(withSet(in(rule), stranger.nets()))
	a.expect(a.each(tcp, portP, false))
	a.applyDelta(withSet(in(rule), append(stranger.nets(), addrA.nets()...)), &dataplane.SetDelta{Added: members(addrA.nets())})
	a.expect(a.each(tcp, portP, true), a.each(tcp, portQ, false))
	a.applyDelta(withSet(in(rule), stranger.nets()), &dataplane.SetDelta{Removed: members(addrA.nets())})
	a.expect(a.each(tcp, portP, false))
	a.apply(withSet(in(rule), addrA.around()))
	a.expect(a.each(tcp, portP, true))
	a.apply(withSet(in(rule), nil))
	a.expect(a.each(tcp, portP, false))
}

func members(nets []netip.Prefix) []dataplane.Member {
	var out []dataplane.Member
	for _, n := range nets {
		out = append(out, dataplane.Member{Prefix: n})
	}
	return out
}

func tryNamedPorts(a *attempt) {
	s := in(dataplane.Rule{Action: dataplane.Allow, Protocol: tcp, Dst: dataplane.Side{PortSets: []dataplane.IPSetID{"p"}}})
	set := &dataplane.IPSet{ID: "p", Type: dataplane.SetAddrPorts, Members: map[dataplane.Member]struct{}{}, Text: "probe"}
	for _, p := range addrB.nets() {
		set.Members[dataplane.Member{Prefix: p, Protocol: tcp, Port: portP}] = struct{}{}
	}
	s.IPSets[set.ID] = set
	a.apply(s)
	a.expect(a.each(tcp, portP, true), a.each(tcp, portQ, false), a.each(udp, portP, false))
}

func tryTiers(a *attempt) {
	pass := allowTo(tcp, only)
	pass.Action = dataplane.Pass
	a.apply(in(pass))
	a.expect(a.each(tcp, portP, true), a.each(tcp, portQ, false))
	s := tiered(dataplane.Pass, []dataplane.Rule{{Action: dataplane.Deny, Protocol: udp}})
	id := policyID("second")
	s.Policies[id] = &dataplane.Policy{ID: id, Tier: tierB, Ingress: []dataplane.Rule{allowTo(tcp, only), allowTo(udp, only)}}
	b := s.Endpoints[podB]
	b.Tiers = append(b.Tiers, dataplane.EndpointTier{Name: tierB, Ingress: []dataplane.PolicyID{id}, Default: dataplane.Deny})
	a.apply(s)
	a.expect(a.each(tcp, portP, true), a.each(tcp, portQ, false), a.each(udp, portP, false))
}

func tryEgress(a *attempt) {
	s := open()
	id := policyID("out")
	rule := allowTo(tcp, only)
	rule.Dst.Nets = addrB.nets()
	s.Policies[id] = &dataplane.Policy{ID: id, Tier: tierA, Egress: []dataplane.Rule{rule}}
	s.Endpoints[podA].Tiers = []dataplane.EndpointTier{{Name: tierA, Egress: []dataplane.PolicyID{id}, Default: dataplane.Deny}}
	a.apply(s)
	a.expect(a.each(tcp, portP, true), a.each(tcp, portQ, false), a.each(udp, portP, false), reversed(a.each(tcp, portQ, true)))
}

func tryAnswers(a *attempt) {
	s := in(allowTo(tcp, only))
	s.Endpoints[podB].Tiers[0].Egress = s.Endpoints[podB].Tiers[0].Ingress // which has no rules there
	a.apply(s)
	a.expect(a.each(tcp, portP, true), reversed(a.each(tcp, portP, false)))
	for _, c := range a.each(tcp, portP, true) {
		conn := a.open(c)
		defer conn.Close()
		a.apply(in())
		a.push(conn, c)
		a.apply(s)
	}
}

func trySpoofing(a *attempt) {
	a.apply(open())
	a.expect(from(a.each(tcp, portP, false), spoofed), from(a.each(udp, portP, false), spoofed))
	s := open()
	s.Endpoints[podA].AllowedSources = spoofed.nets()
	a.apply(s)
	a.expect(from(a.each(tcp, portP, true), spoofed))
}

func tryStrangers(a *attempt) {
	s := open()
	delete(s.Endpoints, podB)
	a.apply(s)
	a.expect(a.each(tcp, portP, false), reversed(a.each(tcp, portP, false)))
}

func tryOwnNode(a *attempt) {
	a.apply(in())
	a.expect(a.fromNode(false))
	s := in()
	s.Host.HostToWorkload = dataplane.HostToWorkloadAll
	a.apply(s)
	a.expect(a.fromNode(true), a.each(tcp, portP, false))
}
