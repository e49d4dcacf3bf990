package linux

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/dptest"
	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func policyID(name string) dataplane.PolicyID {
	return dataplane.PolicyID{Kind: "NetworkPolicy", Namespace: "web-ns", Name: name}
}

func prefixes(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func addresses(list ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

func addPolicy(s *dataplane.State, p *dataplane.Policy) dataplane.PolicyID {
	s.Policies[p.ID] = p
	return p.ID
}

// sampleState has two tiers, Pass, Log, negations, sets, one dual-stack endpoint and one of IPv4 alone.
func sampleState(owner bool) *dataplane.State {
	s := dataplane.NewState()
	s.Host = dataplane.Host{Node: "n1", Owner: owner, InterfacePrefix: "fld", WorkloadToHost: dataplane.Pass, IPv6: true}
	s.IPSets["s-db"] = &dataplane.IPSet{ID: "s-db", Text: `role == "db"`, Members: map[dataplane.Member]struct{}{
		{Prefix: netip.MustParsePrefix("10.65.0.9/32")}: {}, {Prefix: netip.MustParsePrefix("fd00::9/128")}: {},
		{Prefix: netip.MustParsePrefix("0.0.0.0/0")}: {}, {Prefix: netip.MustParsePrefix("::/0")}: {},
	}}
	s.IPSets["p-http"] = &dataplane.IPSet{ID: "p-http", Type: dataplane.SetAddrPorts, Text: "named port http (TCP)",
		Members: map[dataplane.Member]struct{}{
			{Prefix: netip.MustParsePrefix("10.65.0.1/32"), Protocol: 6, Port: 8080}:  {},
			{Prefix: netip.MustParsePrefix("fd00::1/128"), Protocol: 132, Port: 8080}: {},
		}}
	first := addPolicy(s, &dataplane.Policy{ID: policyID("first"), Tier: "security",
		Ingress: []dataplane.Rule{
			{Action: dataplane.Log, Protocol: 6, Index: 0},
			{Action: dataplane.Deny, Src: dataplane.Side{Nets: prefixes("192.0.2.0/24", "198.51.100.0/24", "2001:db8::/32")}, Index: 1},
			{Action: dataplane.Pass, Index: 2},
		},
		Egress: []dataplane.Rule{{Action: dataplane.Pass, NotProtocol: 17, Index: 0}},
	})
	second := addPolicy(s, &dataplane.Policy{ID: policyID("second"), Tier: "default",
		Ingress: []dataplane.Rule{
			{Action: dataplane.Allow, Protocol: 6, Src: dataplane.Side{IPSets: []dataplane.IPSetID{"s-db"}, NotNets: prefixes("10.66.0.0/16")},
				Dst: dataplane.Side{Ports: []dataplane.PortRange{{Min: 80, Max: 80}, {Min: 8000, Max: 8010}}, PortSets: []dataplane.IPSetID{"p-http"}}},
			{Action: dataplane.Allow, ICMP: &dataplane.ICMP{Type: 8, Code: -1}, IPVersion: 4, Index: 1},
			{Action: dataplane.Allow, ICMP: &dataplane.ICMP{Type: 128, Code: 0}, IPVersion: 6, Index: 2},
			{Action: dataplane.Log, Dst: dataplane.Side{NotPorts: []dataplane.PortRange{{Min: 22, Max: 22}}}, Index: 3},
		},
		Egress: []dataplane.Rule{
			{Action: dataplane.Allow, Dst: dataplane.Side{Nets: prefixes("10.0.0.0/8"), NotNets: prefixes("10.1.0.0/16")}},
			{Action: dataplane.Deny, Protocol: 17, Dst: dataplane.Side{NotPorts: []dataplane.PortRange{{Min: 53, Max: 53}}}, Index: 1},
		},
	})
	profile := addPolicy(s, &dataplane.Policy{ID: dataplane.PolicyID{Kind: "Profile", Name: "kns.web-ns"},
		Ingress: []dataplane.Rule{{Action: dataplane.Allow}}, Egress: []dataplane.Rule{{Action: dataplane.Allow}}})
	s.Endpoints["pod/web-ns/web-1"] = &dataplane.Endpoint{ID: "pod/web-ns/web-1", Interface: "fld0123456789a",
		Addresses: addresses("10.65.0.1", "fd00::1"), AllowedSources: prefixes("10.99.0.0/24"),
		Tiers: []dataplane.EndpointTier{
			{Name: "security", Ingress: []dataplane.PolicyID{first}, Egress: []dataplane.PolicyID{first}, Default: dataplane.Deny},
			{Name: "default", Ingress: []dataplane.PolicyID{second}, Egress: []dataplane.PolicyID{second}, Default: dataplane.Deny},
		},
		Profiles: []dataplane.PolicyID{profile},
	}
	s.Endpoints["pod/web-ns/db-1"] = &dataplane.Endpoint{ID: "pod/web-ns/db-1", Interface: "fld0fffffffff",
		Addresses: addresses("10.65.0.9"), Profiles: []dataplane.PolicyID{profile}}
	s.NAT = dataplane.NAT{Masquerade: prefixes("10.65.0.0/16", "fd00::/64"), Exclude: prefixes("10.64.0.0/12", "fd00::/64")}
	return s
}

// wholeText is everything that is rendered.
func wholeText(r *Rendered) string {
	text := r.IPSetText()
	for _, f := range Families {
		for _, table := range []string{"filter", "nat"} {
			text += "# " + f.String() + "\n" + r.RestoreText(f, table)
		}
		for _, table := range hostTables {
			text += r.RestoreText(f, table)
		}
	}
	return text
}

func TestRenderGolden(t *testing.T) {
	off := sampleState(true)
	off.Host.IPv6 = false
	policed := sampleState(false)
	policed.Host.HostToWorkload, policed.Host.WorkloadToHost = dataplane.HostToWorkloadPolicy, dataplane.Deny
	for name, s := range map[string]*dataplane.State{"owner": sampleState(true), "guest": policed, "ipv6-off": off, "host-owner": hostState(true), "host-guest": hostState(false)} {
		got := wholeText(Render(s, RenderConfig{}))
		path := filepath.Join("testdata", name+".golden")
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s (-want +got; go test -update rewrites it):\n%s", name, diff)
		}
	}
}

// TestNoPodReachesLoopback: pods' interfaces have route_localnet, for node ports on the host's own loopback; the answers to those must pass.
func TestNoPodReachesLoopback(t *testing.T) {
	s := pairState()
	s.Host.WorkloadToHost = dataplane.Allow
	r := Render(s, RenderConfig{})
	for dst, want := range map[string]map[string]dataplane.Action{
		"127.0.0.1":  {"NEW": dataplane.Deny, "ESTABLISHED": dataplane.Allow},
		"172.18.0.1": {"NEW": dataplane.Allow},
	} {
		for state, want := range want {
			got, err := dptest.TraceIPTables(r.RestoreText(IPv4, "filter"), r.IPSetText(), dptest.Packet{
				In: clientIf, State: state,
				Tuple: dptest.Tuple{Src: netip.MustParseAddr("10.65.0.1"), Dst: netip.MustParseAddr(dst), Protocol: 6, SrcPort: 40000, DstPort: 80},
			})
			if err != nil || got.Action != want {
				t.Errorf("%s to %s: %s by %q (%v), want %s", state, dst, got.Action, got.Rule, err, want)
			}
		}
	}
}

// TestPrefixIsNotEverything: rules for "every interface" would cut the host off.
func TestPrefixIsNotEverything(t *testing.T) {
	for prefix, good := range map[string]bool{"": false, "fld": true, "fld+": false, "a b": false, "fifteen-letters": false} {
		if _, err := newRenderer(RenderConfig{}, &dataplane.Host{InterfacePrefix: prefix}); (err == nil) != good {
			t.Errorf("prefix %q: %v", prefix, err)
		}
	}
}

// TestPassInAProfile goes on to the next, in both directions, for owner and guest.
func TestPassInAProfile(t *testing.T) {
	for _, owner := range []bool{true, false} {
		s := pairState()
		s.Host.Owner = owner
		rules := []dataplane.Rule{{Action: dataplane.Pass, Protocol: 6}, {Action: dataplane.Deny}}
		first := addPolicy(s, &dataplane.Policy{ID: dataplane.PolicyID{Kind: "Profile", Name: "first"}, Ingress: rules, Egress: rules})
		for _, ep := range s.Endpoints {
			ep.Tiers, ep.Profiles = nil, []dataplane.PolicyID{first, allowAll}
		}
		r := Render(s, RenderConfig{})
		for protocol, want := range map[uint8]dataplane.Action{6: dataplane.Allow, 17: dataplane.Deny} {
			got, err := dptest.TraceIPTables(r.RestoreText(IPv4, "filter"), r.IPSetText(), dptest.Packet{
				In: clientIf, Out: serverIf, Tuple: dptest.Tuple{
					Src: netip.MustParseAddr("10.65.0.1"), Dst: netip.MustParseAddr("10.65.0.2"), Protocol: protocol, SrcPort: 40000, DstPort: 80},
			})
			if err != nil || got.Action != want {
				t.Errorf("owner %v, protocol %d: %s by %q (%v), want %s", owner, protocol, got.Action, got.Rule, err, want)
			}
		}
	}
}

// TestDHCPIsNoWayIn: what clients without an address send reaches the host; a pod's other packets between those ports do not pass by policy and
// the check of its source.
func TestDHCPIsNoWayIn(t *testing.T) {
	s := pairState()
	s.Host.WorkloadToHost = dataplane.Deny
	r := Render(s, RenderConfig{})
	for _, test := range []struct {
		family   Family
		src, dst string
		port     uint16 // of the server; the client's is the one after, for IPv6 before
		want     dataplane.Action
	}{
		{IPv4, "0.0.0.0", "255.255.255.255", 67, dataplane.Allow},
		{IPv4, "0.0.0.0", "172.18.0.1", 67, dataplane.Deny},
		{IPv4, "10.65.0.1", "172.18.0.1", 67, dataplane.Deny},
		{IPv4, "172.18.0.2", "172.18.0.1", 67, dataplane.Deny},
		{IPv6, "fe80::1", "ff02::1:2", 547, dataplane.Allow},
		{IPv6, "fe80::1", "fe80::ecee:eeff:feee:eeee", 547, dataplane.Deny},
		{IPv6, "fd00:18::2", "fd00:18::1", 547, dataplane.Deny},
	} {
		client := test.port + 1
		if test.family == IPv6 {
			client = test.port - 1
		}
		got, err := dptest.TraceIPTables(r.RestoreText(test.family, "filter"), r.IPSetText(), dptest.Packet{In: clientIf, Tuple: dptest.Tuple{
			Src: netip.MustParseAddr(test.src), Dst: netip.MustParseAddr(test.dst), Protocol: 17, SrcPort: client, DstPort: test.port,
		}})
		if err != nil || got.Action != test.want {
			t.Errorf("%s to %s: %s by %q (%v), want %s", test.src, test.dst, got.Action, got.Rule, err, test.want)
		}
	}
}

// TestNamesAreNoRules: the text is for programs that take each line for a rule.
func TestNamesAreNoRules(t *testing.T) {
	s := pairState()
	id := addPolicy(s, &dataplane.Policy{ID: dataplane.PolicyID{Kind: "NetworkPolicy", Namespace: "a", Name: "p\n-A INPUT -j ACCEPT\r\n"},
		Ingress: []dataplane.Rule{{Action: dataplane.Log}, {Action: dataplane.Allow}}})
	for old, ep := range s.Endpoints {
		ep.Profiles = append(ep.Profiles, id)
		delete(s.Endpoints, old)
		ep.ID = old + "\n-A FORWARD -j ACCEPT\n#"
		s.Endpoints[ep.ID] = ep
	}
	for line := range strings.Lines(Render(s, RenderConfig{}).RestoreText(IPv4, "filter")) {
		if strings.HasPrefix(line, "-A FORWARD -j ACCEPT") || strings.HasPrefix(line, "-A INPUT -j ACCEPT") {
			t.Errorf("%q", line)
		}
	}
}
