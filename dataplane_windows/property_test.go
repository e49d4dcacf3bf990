package windows

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/dptest"
	"github.com/felid-net/felid/dataplane_windows/hns"
)

// TestListsDecideAsTheStateDoes draws states and packets, and compares the traced list with a plain walk through tiers, policies
// and rules.
func TestListsDecideAsTheStateDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawState(t)
		acls, unsupported := render(s, testID)
		text, err := json.Marshal(acls)
		if err != nil {
			t.Fatal(err)
		}
		for range 12 {
			dir := rapid.SampledFrom([]dataplane.Direction{dataplane.Ingress, dataplane.Egress}).Draw(t, "direction")
			p := drawPacket(t, s, dir)
			want := decide(s, dir, p)
			got, err := dptest.TraceACLs(text, dir, p)
			if err != nil {
				t.Fatalf("%v in\n%s", err, show(acls))
			}
			if got.Action == want || got.Action == dataplane.Deny && reports(unsupported, dir) {
				continue
			}
			t.Fatalf("%s %+v: %v by %s, want %v; unsupported %v\n%s", dir, p, got.Action, got.ID, want, unsupported, show(acls))
		}
	})
}

func reports(unsupported []dataplane.Unsupported, dir dataplane.Direction) bool {
	return slices.ContainsFunc(unsupported, func(u dataplane.Unsupported) bool {
		return u.Direction == dir && u.Reason != "HNS does not log: Log has no effect"
	})
}

func show(acls []hns.ACL) string {
	text := ""
	for _, a := range acls {
		text += fmt.Sprintf("%+v\n", a)
	}
	return text
}

const testID dataplane.EndpointID = "pod/a/x"

var (
	ownAddrs   = []netip.Addr{netip.MustParseAddr("10.65.0.1"), netip.MustParseAddr("fd00:65::1")}
	nodeAddrs  = []netip.Addr{netip.MustParseAddr("172.18.0.1"), netip.MustParseAddr("fd00:18::1")}
	otherAddrs = map[uint8][]string{
		4: {"10.65.0.2", "10.65.0.3", "10.65.0.1", "172.18.0.1", "172.18.0.2", "192.0.2.1"},
		6: {"fd00:65::2", "fd00:65::3", "fd00:65::1", "fd00:18::1", "2001:db8::1"},
	}
	someNets = []netip.Prefix{
		netip.MustParsePrefix("10.65.0.0/24"), netip.MustParsePrefix("10.65.0.2/32"), netip.MustParsePrefix("10.65.0.2/31"),
		netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("10.65.0.1/32"),
		netip.MustParsePrefix("fd00:65::/64"), netip.MustParsePrefix("fd00:65::2/128"), netip.MustParsePrefix("::/0"),
	}
)

func single(text string) netip.Prefix {
	a := netip.MustParseAddr(text)
	return netip.PrefixFrom(a, a.BitLen())
}

func set(id dataplane.IPSetID, t dataplane.IPSetType, members ...dataplane.Member) *dataplane.IPSet {
	s := &dataplane.IPSet{ID: id, Type: t, Members: map[dataplane.Member]struct{}{}}
	for _, m := range members {
		s.Members[m] = struct{}{}
	}
	return s
}

func testSets() map[dataplane.IPSetID]*dataplane.IPSet {
	return map[dataplane.IPSetID]*dataplane.IPSet{
		"none": set("none", dataplane.SetNets),
		"web": set("web", dataplane.SetNets, dataplane.Member{Prefix: single("10.65.0.1")}, dataplane.Member{Prefix: single("10.65.0.2")},
			dataplane.Member{Prefix: single("fd00:65::1")}, dataplane.Member{Prefix: single("fd00:65::3")}),
		"db":     set("db", dataplane.SetNets, dataplane.Member{Prefix: single("10.65.0.2")}, dataplane.Member{Prefix: single("10.65.0.3")}, dataplane.Member{Prefix: single("fd00:65::3")}),
		"nobody": set("nobody", dataplane.SetAddrPorts),
		"http": set("http", dataplane.SetAddrPorts, dataplane.Member{Prefix: single("10.65.0.1"), Protocol: 6, Port: 2},
			dataplane.Member{Prefix: single("10.65.0.2"), Protocol: 6, Port: 3}, dataplane.Member{Prefix: single("10.65.0.3"), Protocol: 6, Port: 3},
			dataplane.Member{Prefix: single("fd00:65::1"), Protocol: 17, Port: 2}, dataplane.Member{Prefix: single("fd00:65::2"), Protocol: 6, Port: 2}),
	}
}

func drawState(t *rapid.T) *dataplane.State {
	s := dataplane.NewState()
	s.IPSets = testSets()
	s.Host = dataplane.Host{
		Node: "n1", IPv6: rapid.Bool().Draw(t, "host has IPv6"),
		HostToWorkload: rapid.SampledFrom([]dataplane.HostToWorkload{
			dataplane.HostToWorkloadAll, dataplane.HostToWorkloadPolicy, dataplane.HostToWorkloadProbePorts,
		}).Draw(t, "hostToWorkload"),
		WorkloadToHost: rapid.SampledFrom([]dataplane.Action{dataplane.Allow, dataplane.Deny, dataplane.Pass}).Draw(t, "workloadToHost"),
	}
	s.Nodes["n1"] = &dataplane.Node{Name: "n1", Addresses: nodeAddrs}
	ep := &dataplane.Endpoint{ID: testID, Node: "n1", Addresses: ownAddrs[:rapid.IntRange(1, 2).Draw(t, "addresses")]}
	if rapid.Bool().Draw(t, "has probes") {
		ep.Probes = []dataplane.NamedPort{{Protocol: dataplane.ProtoTCP, Port: 2}, {Protocol: dataplane.ProtoTCP, Port: 4}}
	}
	if rapid.Bool().Draw(t, "may send from elsewhere") {
		ep.AllowedSources = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	}
	s.Endpoints[testID] = ep
	actions := []dataplane.Action{dataplane.Allow, dataplane.Deny, dataplane.Pass, dataplane.Log}
	policy := func(kind, tier string) dataplane.PolicyID {
		id := dataplane.PolicyID{Kind: kind, Name: fmt.Sprint("p", len(s.Policies))}
		s.Policies[id] = &dataplane.Policy{ID: id, Tier: tier, Ingress: drawRules(t, actions), Egress: drawRules(t, actions)}
		return id
	}
	for i := range rapid.IntRange(0, 3).Draw(t, "tiers") {
		tier := dataplane.EndpointTier{Name: fmt.Sprint("t", i), Default: rapid.SampledFrom([]dataplane.Action{dataplane.Deny, dataplane.Pass}).Draw(t, "default")}
		for range rapid.IntRange(0, 2).Draw(t, "policies") {
			id := policy("GlobalNetworkPolicy", tier.Name)
			if rapid.IntRange(0, 3).Draw(t, "egress only") > 0 {
				tier.Ingress = append(tier.Ingress, id)
			}
			if rapid.IntRange(0, 3).Draw(t, "ingress only") > 0 {
				tier.Egress = append(tier.Egress, id)
			}
		}
		ep.Tiers = append(ep.Tiers, tier)
	}
	for range rapid.IntRange(0, 2).Draw(t, "profiles") {
		ep.Profiles = append(ep.Profiles, policy("Profile", ""))
	}
	return s
}

func drawRules(t *rapid.T, actions []dataplane.Action) []dataplane.Rule {
	var rules []dataplane.Rule
	for i := range rapid.IntRange(0, 3).Draw(t, "rules") {
		r := dataplane.Rule{
			Index: i, Action: rapid.SampledFrom(actions).Draw(t, "action"),
			IPVersion: rapid.SampledFrom([]uint8{0, 0, 0, 4, 6}).Draw(t, "version"),
			Protocol:  rapid.SampledFrom([]uint8{0, 0, 6, 17, 1}).Draw(t, "protocol"), NotProtocol: rapid.SampledFrom([]uint8{0, 0, 6, 58}).Draw(t, "notProtocol"),
			Src: drawSide(t), Dst: drawSide(t),
		}
		switch rapid.IntRange(0, 7).Draw(t, "icmp") {
		case 0:
			r.ICMP = &dataplane.ICMP{Type: 8, Code: -1}
		case 1:
			r.NotICMP = &dataplane.ICMP{Type: 128, Code: 0}
		}
		rules = append(rules, r)
	}
	return rules
}

func drawSide(t *rapid.T) dataplane.Side {
	ranges := []dataplane.PortRange{{Min: 2, Max: 2}, {Min: 3, Max: 5}, {Min: 0, Max: 0}}
	return dataplane.Side{
		Nets: some(t, someNets), NotNets: some(t, someNets),
		IPSets: some(t, []dataplane.IPSetID{"web", "web", "none"}), NotIPSets: some(t, []dataplane.IPSetID{"web", "none"}),
		Ports: some(t, ranges), NotPorts: some(t, ranges),
		PortSets: some(t, []dataplane.IPSetID{"http", "http", "nobody"}), NotPortSets: some(t, []dataplane.IPSetID{"http", "nobody"}),
	}
}

// some is mostly nothing, so that rules match now and then.
func some[T any](t *rapid.T, from []T) []T {
	if rapid.IntRange(0, 5).Draw(t, "how many") > 0 {
		return nil
	}
	return rapid.SliceOfN(rapid.SampledFrom(from), 1, 2).Draw(t, "some")
}

func drawPacket(t *rapid.T, s *dataplane.State, dir dataplane.Direction) dptest.Tuple {
	own := rapid.SampledFrom(s.Endpoints[testID].Addresses).Draw(t, "own")
	version := familyOf(own)
	other := netip.MustParseAddr(rapid.SampledFrom(otherAddrs[version]).Draw(t, "other"))
	icmp := map[uint8]uint8{4: dataplane.ProtoICMP, 6: dataplane.ProtoICMPv6}[version]
	p := dptest.Tuple{Src: other, Dst: own, Protocol: rapid.SampledFrom([]uint8{6, 6, 17, 132, icmp, 47}).Draw(t, "protocol"), ICMPType: -1, ICMPCode: -1}
	if dir == dataplane.Egress {
		p.Src, p.Dst = own, other
		if rapid.IntRange(0, 5).Draw(t, "spoofed") == 0 {
			p.Src = netip.MustParseAddr(rapid.SampledFrom(otherAddrs[version]).Draw(t, "source"))
		}
	}
	if p.Protocol == icmp {
		p.ICMPType, p.ICMPCode = rapid.SampledFrom([]int16{8, 128, 3}).Draw(t, "type"), 0
	} else if p.Protocol != 47 {
		p.SrcPort, p.DstPort = rapid.Uint16Range(0, 6).Draw(t, "source port"), rapid.Uint16Range(0, 6).Draw(t, "destination port")
	}
	return p
}

// decide is the definition: what comes before policy, then tiers, then profiles.
func decide(s *dataplane.State, dir dataplane.Direction, p dptest.Tuple) dataplane.Action {
	ep := s.Endpoints[testID]
	toNode := false
	switch {
	case p.Family() == 6 && !s.Host.IPv6:
		return dataplane.Deny
	case dir == dataplane.Ingress && s.Host.HostToWorkload == dataplane.HostToWorkloadAll && slices.Contains(nodeAddrs, p.Src):
		return dataplane.Allow
	case dir == dataplane.Ingress && s.Host.HostToWorkload == dataplane.HostToWorkloadProbePorts && slices.Contains(nodeAddrs, p.Src) &&
		slices.Contains(ep.Probes, dataplane.NamedPort{Protocol: p.Protocol, Port: p.DstPort}):
		return dataplane.Allow
	case dir == dataplane.Egress && !slices.Contains(ep.Addresses, p.Src) && !inNets(ep.AllowedSources, p.Src):
		return dataplane.Deny
	case dir == dataplane.Egress:
		toNode = slices.Contains(nodeAddrs, p.Dst)
	}
	if toNode && s.Host.WorkloadToHost == dataplane.Deny {
		return dataplane.Deny
	}
	for _, tier := range ep.Tiers {
		ids := tier.Ingress
		if dir == dataplane.Egress {
			ids = tier.Egress
		}
		if len(ids) == 0 {
			continue
		}
		action := walk(s, dir, ids, p)
		if action == 0 {
			action = tier.Default
		}
		if action != dataplane.Pass {
			return action
		}
	}
	for _, id := range ep.Profiles {
		if action := walk(s, dir, []dataplane.PolicyID{id}, p); action == dataplane.Allow || action == dataplane.Deny {
			return action
		}
	}
	return dataplane.Deny
}

func walk(s *dataplane.State, dir dataplane.Direction, ids []dataplane.PolicyID, p dptest.Tuple) dataplane.Action {
	for _, id := range ids {
		rules := s.Policies[id].Ingress
		if dir == dataplane.Egress {
			rules = s.Policies[id].Egress
		}
		for i := range rules {
			if rules[i].Action != dataplane.Log && matches(s, &rules[i], p) {
				return rules[i].Action
			}
		}
	}
	return 0
}

func matches(s *dataplane.State, r *dataplane.Rule, p dptest.Tuple) bool {
	isICMP := func(i *dataplane.ICMP) bool {
		own := p.Family() == 4 && p.Protocol == dataplane.ProtoICMP || p.Family() == 6 && p.Protocol == dataplane.ProtoICMPv6
		return own && int16(i.Type) == p.ICMPType && (i.Code < 0 || i.Code == p.ICMPCode)
	}
	return (r.IPVersion == 0 || r.IPVersion == p.Family()) &&
		(r.Protocol == 0 || r.Protocol == p.Protocol) && (r.NotProtocol == 0 || r.NotProtocol != p.Protocol) &&
		(r.ICMP == nil || isICMP(r.ICMP)) && (r.NotICMP == nil || !isICMP(r.NotICMP)) &&
		sideMatches(s, &r.Src, p.Src, p.Protocol, p.SrcPort) && sideMatches(s, &r.Dst, p.Dst, p.Protocol, p.DstPort)
}

func inNets(nets []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(nets, func(n netip.Prefix) bool { return n.Contains(a) })
}

func sideMatches(s *dataplane.State, side *dataplane.Side, a netip.Addr, protocol uint8, port uint16) bool {
	has := func(id dataplane.IPSetID, m dataplane.Member) bool { _, ok := s.IPSets[id].Members[m]; return ok }
	self := netip.PrefixFrom(a, a.BitLen())
	inSet := func(id dataplane.IPSetID) bool { return has(id, dataplane.Member{Prefix: self}) }
	notInSet := func(id dataplane.IPSetID) bool { return !inSet(id) }
	hasPorts := slices.Contains([]uint8{6, 17, 132, 136}, protocol)
	inRange := func(r dataplane.PortRange) bool { return hasPorts && r.Min <= port && port <= r.Max }
	inPorts := func(id dataplane.IPSetID) bool {
		return has(id, dataplane.Member{Prefix: self, Protocol: protocol, Port: port})
	}
	return (len(side.Nets) == 0 || inNets(side.Nets, a)) && !inNets(side.NotNets, a) &&
		!slices.ContainsFunc(side.IPSets, notInSet) && !slices.ContainsFunc(side.NotIPSets, inSet) &&
		(len(side.Ports)+len(side.PortSets) == 0 || slices.ContainsFunc(side.Ports, inRange) || slices.ContainsFunc(side.PortSets, inPorts)) &&
		!slices.ContainsFunc(side.NotPorts, inRange) && !slices.ContainsFunc(side.NotPortSets, inPorts)
}
