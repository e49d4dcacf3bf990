package windows

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/dptest"
	"github.com/felid-net/felid/dataplane_windows/hns"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// state is one dual-stack endpoint with one policy of these ingress and egress rules, and nothing else.
func state(ingress, egress []dataplane.Rule) *dataplane.State {
	s := dataplane.NewState()
	s.IPSets = testSets()
	s.Host = dataplane.Host{Node: "n1", IPv6: true, WorkloadToHost: dataplane.Allow}
	s.Nodes["n1"] = &dataplane.Node{Name: "n1", Addresses: nodeAddrs}
	id := dataplane.PolicyID{Kind: "NetworkPolicy", Namespace: "a", Name: "p"}
	for _, rules := range [][]dataplane.Rule{ingress, egress} {
		for i := range rules {
			rules[i].Index = i
		}
	}
	s.Policies[id] = &dataplane.Policy{ID: id, Tier: "default", Ingress: ingress, Egress: egress}
	s.Endpoints[testID] = &dataplane.Endpoint{
		ID: testID, Node: "n1", Addresses: ownAddrs,
		Tiers: []dataplane.EndpointTier{{Name: "default", Ingress: []dataplane.PolicyID{id}, Egress: []dataplane.PolicyID{id}, Default: dataplane.Deny}},
	}
	return s
}

func tiered() *dataplane.State {
	s := state(
		[]dataplane.Rule{
			{Action: dataplane.Allow, Protocol: 6, Src: dataplane.Side{IPSets: []dataplane.IPSetID{"web"}}, Dst: dataplane.Side{PortSets: []dataplane.IPSetID{"http"}}},
			{Action: dataplane.Log},
			{Action: dataplane.Allow, Src: dataplane.Side{IPSets: []dataplane.IPSetID{"none"}}},
		},
		[]dataplane.Rule{
			{Action: dataplane.Allow, Protocol: 6, Dst: dataplane.Side{PortSets: []dataplane.IPSetID{"http"}}},
			{Action: dataplane.Allow, Protocol: 17, Dst: dataplane.Side{Nets: someNets[3:4], NotNets: []netip.Prefix{single("192.0.2.9")}, NotPorts: []dataplane.PortRange{{Min: 53, Max: 53}}}},
		},
	)
	security := dataplane.PolicyID{Kind: "GlobalNetworkPolicy", Name: "quarantine"}
	s.Policies[security] = &dataplane.Policy{ID: security, Tier: "security",
		Ingress: []dataplane.Rule{
			{Action: dataplane.Deny, Src: dataplane.Side{Nets: someNets[3:4]}, Index: 0},
			{Action: dataplane.Pass, IPVersion: 4, Src: dataplane.Side{Nets: someNets[:1]}, Index: 1},
		},
	}
	ep := s.Endpoints[testID]
	ep.Tiers = append([]dataplane.EndpointTier{{Name: "security", Ingress: []dataplane.PolicyID{security}, Default: dataplane.Deny}}, ep.Tiers...)
	return s
}

func TestGolden(t *testing.T) {
	profile := dataplane.PolicyID{Kind: "Profile", Name: "kns.a"}
	open := state(nil, nil)
	open.Policies[profile] = &dataplane.Policy{ID: profile, Ingress: []dataplane.Rule{{Action: dataplane.Allow}}, Egress: []dataplane.Rule{{Action: dataplane.Allow}}}
	open.Endpoints[testID].Tiers, open.Endpoints[testID].Profiles = nil, []dataplane.PolicyID{profile}
	narrow := state(nil, nil)
	narrow.Endpoints[testID].Addresses, narrow.Host.IPv6 = ownAddrs[:1], false
	narrow.Host.HostToWorkload, narrow.Host.WorkloadToHost = dataplane.HostToWorkloadPolicy, dataplane.Deny
	for name, s := range map[string]*dataplane.State{"tiered": tiered(), "open": open, "isolated-ipv4": narrow} {
		acls, _ := render(s, testID)
		var got bytes.Buffer
		for _, a := range acls {
			line, err := json.Marshal(a)
			if err != nil {
				t.Fatal(err)
			}
			got.Write(append(line, '\n'))
		}
		path := filepath.Join("testdata", name+".jsonl")
		if *update {
			if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got.String()); diff != "" {
			t.Errorf("%s (run with -update if it is right): %s", name, diff)
		}
	}
}

func TestUnsupportedIsReported(t *testing.T) {
	_, got := render(state([]dataplane.Rule{
		{Action: dataplane.Log},
		{Action: dataplane.Allow, Protocol: 1, ICMP: &dataplane.ICMP{Type: 8, Code: -1}},
	}, []dataplane.Rule{
		{Action: dataplane.Pass, NotICMP: &dataplane.ICMP{Type: 8, Code: -1}},
		{Action: dataplane.Deny, Src: dataplane.Side{Nets: someNets[3:4]}, ICMP: &dataplane.ICMP{Type: 8, Code: -1}}, // from elsewhere: never
	}), testID)
	id := dataplane.PolicyID{Kind: "NetworkPolicy", Namespace: "a", Name: "p"}
	want := []dataplane.Unsupported{
		{Policy: id, Direction: dataplane.Ingress, Rule: 0, Reason: "HNS does not log: Log has no effect"},
		{Policy: id, Direction: dataplane.Ingress, Rule: 1, Reason: "HNS does not match types of ICMP: for ICMP this Allow is left out"},
		{Policy: id, Direction: dataplane.Egress, Rule: 0, Reason: "HNS does not match types of ICMP: all that this Pass might cover is denied"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// trace is what a list says of a packet between the endpoint and 10.65.0.2, or the IPv6 twin of that.
func trace(t *testing.T, acls []hns.ACL, dir dataplane.Direction, protocol uint8, port uint16) dataplane.Action {
	t.Helper()
	text, err := json.Marshal(acls)
	if err != nil {
		t.Fatal(err)
	}
	p := dptest.Tuple{Src: netip.MustParseAddr("10.65.0.2"), Dst: ownAddrs[0], Protocol: protocol, DstPort: port, ICMPType: -1, ICMPCode: -1}
	if dir == dataplane.Egress {
		p.Src, p.Dst = p.Dst, p.Src
	}
	if protocol == dataplane.ProtoICMP {
		p.ICMPType, p.ICMPCode = 8, 0
	}
	got, err := dptest.TraceACLs(text, dir, p)
	if err != nil {
		t.Fatal(err)
	}
	return got.Action
}

func TestICMPTypesFailClosed(t *testing.T) {
	echo := &dataplane.ICMP{Type: 8, Code: -1}
	all := dataplane.Rule{Action: dataplane.Allow}
	cases := []struct {
		name      string
		rules     []dataplane.Rule
		icmp, tcp dataplane.Action
	}{
		{"an Allow of a type allows nothing", []dataplane.Rule{{Action: dataplane.Allow, ICMP: echo}}, dataplane.Deny, dataplane.Deny},
		{"a Deny of a type denies all ICMP", []dataplane.Rule{{Action: dataplane.Deny, ICMP: &dataplane.ICMP{Type: 3, Code: 1}}, all}, dataplane.Deny, dataplane.Allow},
		{"so does a Pass", []dataplane.Rule{{Action: dataplane.Pass, ICMP: &dataplane.ICMP{Type: 3, Code: 1}}, all}, dataplane.Deny, dataplane.Allow},
		{"an Allow without a type allows what is no ICMP", []dataplane.Rule{{Action: dataplane.Allow, NotICMP: echo}}, dataplane.Deny, dataplane.Allow},
		{"a Deny without a type denies everything", []dataplane.Rule{{Action: dataplane.Deny, NotICMP: echo}, all}, dataplane.Deny, dataplane.Deny},
		{"ICMP of any type is exact", []dataplane.Rule{{Action: dataplane.Allow, Protocol: 1}}, dataplane.Allow, dataplane.Deny},
	}
	for _, c := range cases {
		acls, unsupported := render(state(c.rules, nil), testID)
		if icmp, tcp := trace(t, acls, dataplane.Ingress, 1, 0), trace(t, acls, dataplane.Ingress, 6, 80); icmp != c.icmp || tcp != c.tcp {
			t.Errorf("%s: ICMP %v, TCP %v", c.name, icmp, tcp)
		}
		if asks := c.rules[0].ICMP != nil || c.rules[0].NotICMP != nil; asks != (len(unsupported) > 0) {
			t.Errorf("%s: unsupported %v", c.name, unsupported)
		}
	}
}

func TestLongListsAreSplit(t *testing.T) {
	big := set("big", dataplane.SetNets)
	for i := range 9001 { // every other address, so that none join
		a := netip.AddrFrom4([4]byte{10, 1 + byte(i/32768), byte(i * 2 / 256), byte(i * 2)})
		big.Members[dataplane.Member{Prefix: netip.PrefixFrom(a, 32)}] = struct{}{}
	}
	s := state([]dataplane.Rule{{Action: dataplane.Allow, Src: dataplane.Side{IPSets: []dataplane.IPSetID{"big"}}}}, nil)
	s.IPSets["big"] = big
	acls, _ := render(s, testID)
	listed, parts := 0, 0
	for _, a := range acls {
		if strings.HasPrefix(a.ID, "felid/NetworkPolicy/a/p/in/0") {
			n := strings.Count(a.RemoteAddresses, ",") + 1
			if n > maxItems {
				t.Errorf("%s lists %d addresses", a.ID, n)
			}
			listed += n
			parts++
		}
	}
	if want := len(s.IPSets["big"].Members); listed != want || parts != 3 {
		t.Errorf("%d addresses in %d ACLs, want %d in 3", listed, parts, want)
	}
}

func TestPrioritiesRiseAndNamesDiffer(t *testing.T) {
	acls, _ := render(tiered(), testID)
	last, names := map[hns.Direction]uint16{}, map[string]bool{}
	for _, a := range acls {
		if names[a.ID] {
			t.Errorf("two ACLs are called %s", a.ID)
		}
		names[a.ID] = true
		if a.RuleType == hns.Host {
			continue
		}
		if a.Priority <= last[a.Direction] || a.Priority < firstPriority || a.Priority > lastPriority {
			t.Errorf("%s has priority %d after %d", a.ID, a.Priority, last[a.Direction])
		}
		last[a.Direction] = a.Priority
	}
	for _, dir := range []hns.Direction{hns.In, hns.Out} {
		if last[dir] == 0 {
			t.Errorf("no rule %s", dir)
		}
	}
}

// TestTooManyRulesAreDenied: what does not fit between the priorities is denied, and said so.
func TestTooManyRulesAreDenied(t *testing.T) {
	var rules []dataplane.Rule
	for i := range maxACLs + 1 { // no two of which can be one
		net := netip.PrefixFrom(netip.AddrFrom4([4]byte{11, byte(i >> 8), byte(i), 0}), 24)
		rules = append(rules, dataplane.Rule{
			Action: dataplane.Allow, Protocol: 6, Src: dataplane.Side{Nets: []netip.Prefix{net}}, Dst: dataplane.Side{Ports: []dataplane.PortRange{{Min: uint16(i), Max: uint16(i)}}},
		})
	}
	acls, unsupported := render(state(rules, nil), testID)
	if len(unsupported) != 1 || !strings.Contains(unsupported[0].Reason, "more rules than felid gives to HNS") {
		t.Errorf("unsupported %v", unsupported)
	}
	in := 0
	for _, a := range acls {
		if a.Direction == hns.In && a.RuleType == hns.Switch {
			in++
		}
	}
	if in != 2 || trace(t, acls, dataplane.Ingress, 6, 80) != dataplane.Deny { // one for all addresses, and one for IPv6
		t.Errorf("%d ACLs inbound", in)
	}
}

// TestTooManyRulesByPassAreDenied: tiers whose product explodes deny what the Pass rules match, and the rest goes on.
func TestTooManyRulesByPassAreDenied(t *testing.T) {
	var pass, decide []dataplane.Rule
	for i := range 200 { // Pass rules of sources and ports before rules of source ports, in both tiers
		net := netip.PrefixFrom(netip.AddrFrom4([4]byte{11, byte(i), 0, 0}), 16)
		port := []dataplane.PortRange{{Min: uint16(1000 + 2*i), Max: uint16(1000 + 2*i)}}
		pass = append(pass, dataplane.Rule{Action: dataplane.Pass, Src: dataplane.Side{Nets: []netip.Prefix{net}}, Dst: dataplane.Side{Ports: port}, Index: i})
		action := dataplane.Allow
		if i%2 == 0 {
			action = dataplane.Deny
		}
		ports := []dataplane.PortRange{{Min: uint16(i), Max: uint16(1000 + 2*i)}}
		decide = append(decide, dataplane.Rule{Action: action, Src: dataplane.Side{Nets: []netip.Prefix{netip.MustParsePrefix("11.0.0.0/8")}, Ports: ports}, Index: 200 + i})
	}
	allow := slices.Clone(decide)
	pass = append(pass, decide...)
	pass = append(pass, dataplane.Rule{Action: dataplane.Allow, Src: dataplane.Side{Nets: someNets[:1]}, Index: len(pass)})
	s := state(allow, nil)
	first := dataplane.PolicyID{Kind: "GlobalNetworkPolicy", Name: "first"}
	s.Policies[first] = &dataplane.Policy{ID: first, Tier: "first", Ingress: pass}
	ep := s.Endpoints[testID]
	ep.Tiers = append([]dataplane.EndpointTier{{Name: "first", Ingress: []dataplane.PolicyID{first}, Default: dataplane.Deny}}, ep.Tiers...)
	acls, unsupported := render(s, testID)
	if len(acls) > maxACLs+100 || len(unsupported) == 0 || unsupported[0].Policy != first {
		t.Fatalf("%d ACLs, %d reports", len(acls), len(unsupported))
	}
	if got := trace(t, acls, dataplane.Ingress, 6, 9); got != dataplane.Allow {
		t.Errorf("a rule after those that were denied: %v", got)
	}
	for _, u := range unsupported {
		if u.Policy != first || u.Direction != dataplane.Ingress {
			t.Errorf("%+v", u)
		}
	}
}

func TestWhoHasNoList(t *testing.T) {
	s := state(nil, nil)
	if acls, unsupported := render(s, "pod/a/nobody"); acls != nil || unsupported != nil {
		t.Errorf("%v, %v", acls, unsupported)
	}
	s.Endpoints["hostendpoint/n1"] = &dataplane.Endpoint{ID: "hostendpoint/n1", Interface: "*", Host: &dataplane.HostEndpoint{}}
	if acls, unsupported := render(s, "hostendpoint/n1"); acls != nil || len(unsupported) != 1 {
		t.Errorf("%v, %v", acls, unsupported)
	}
}

// TestNothingKnownOpensNothing: where no address of the node is known, or an endpoint has none that lists may name, what would allow them is left out, as an
// empty field would be for all.
func TestNothingKnownOpensNothing(t *testing.T) {
	for _, mode := range []dataplane.HostToWorkload{dataplane.HostToWorkloadAll, dataplane.HostToWorkloadPolicy, dataplane.HostToWorkloadProbePorts} {
		for _, addresses := range [][]netip.Addr{nil, ownAddrs[:1], ownAddrs[1:], ownAddrs} {
			for _, form := range []Form{{}, {IPv6: true}, {IPv6: true, Sets: true}, {Closed: true}} {
				s := state(nil, nil)
				s.Nodes, s.Host.HostToWorkload = map[dataplane.NodeName]*dataplane.Node{}, mode
				ep := s.Endpoints[testID]
				ep.Addresses, ep.Probes = addresses, []dataplane.NamedPort{{Protocol: dataplane.ProtoTCP, Port: 80}}
				last := map[hns.Direction]hns.ACL{}
				for _, a := range Render(s, testID, Options{Form: form}).ACLs {
					if a.RuleType != hns.Switch {
						continue
					}
					if a.Action == hns.Allow && (a.LocalAddresses == "" || a.RemoteAddresses == "" || a.Protocols != "58") { // IPv6 neighbours, of which everybody has some
						t.Errorf("%v %v %s: %+v", mode, addresses, form, a)
					}
					if a.LocalAddresses == "" && a.RemoteAddresses == "" && a.Protocols == "" {
						last[a.Direction] = a
					}
				}
				if last[hns.In].Action != hns.Block || last[hns.Out].Action != hns.Block {
					t.Errorf("%v %v %s: what matches nothing is left to HNS: %+v", mode, addresses, form, last)
				}
			}
		}
	}
}

func TestRenderIsAFunctionOfTheState(t *testing.T) {
	first, _ := render(tiered(), testID)
	for range 20 {
		again, _ := render(tiered(), testID)
		if diff := cmp.Diff(first, again); diff != "" {
			t.Fatal(diff)
		}
	}
}

func BenchmarkRender(b *testing.B) {
	for _, n := range []int{100, 10000} {
		b.Run(fmt.Sprintf("members=%d", n), func(b *testing.B) {
			s := tiered()
			for i := range n {
				a := netip.AddrFrom4([4]byte{10, 66, byte(i >> 7), byte(i << 1)})
				s.IPSets["web"].Members[dataplane.Member{Prefix: netip.PrefixFrom(a, 32)}] = struct{}{}
			}
			b.ReportAllocs()
			for b.Loop() {
				render(s, testID)
			}
		})
	}
}
