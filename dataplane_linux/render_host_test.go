package linux

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/felid-net/felid/dataplane"
)

// hostID is the host endpoint of a name.
func hostID(name string) dataplane.EndpointID { return dataplane.EndpointID("hostendpoint/" + name) }

func globalID(name string) dataplane.PolicyID {
	return dataplane.PolicyID{Kind: "GlobalNetworkPolicy", Name: name}
}

func oneTier(ingress, egress []dataplane.PolicyID, end dataplane.Action) []dataplane.EndpointTier {
	return []dataplane.EndpointTier{{Name: "default", Ingress: ingress, Egress: egress, Default: end}}
}

func portRule(a dataplane.Action, protocol uint8, port uint16) dataplane.Rule {
	return dataplane.Rule{Action: a, Protocol: protocol, Dst: dataplane.Side{Ports: []dataplane.PortRange{{Min: port, Max: port}}}}
}

// hostState adds to the pods of sampleState an endpoint for eth0 with policy of every kind, one for all other interfaces, one that can't be read,
// and one that comes second.
func hostState(owner bool) *dataplane.State {
	s := sampleState(owner)
	s.Host.FailsafeInbound, s.Host.FailsafeOutbound = failsafes[:4], failsafes[2:]
	s.Host.HostToWorkload = dataplane.HostToWorkloadProbePorts
	s.Endpoints["pod/web-ns/web-1"].Probes = []dataplane.NamedPort{{Name: "http", Protocol: 6, Port: 8080}}
	add := func(name string, ingress, egress []dataplane.Rule) []dataplane.PolicyID {
		return []dataplane.PolicyID{addPolicy(s, &dataplane.Policy{ID: globalID(name), Tier: "default", Ingress: ingress, Egress: egress})}
	}
	flood := add("flood", []dataplane.Rule{portRule(dataplane.Allow, 17, 53), {Action: dataplane.Deny, Src: dataplane.Side{Nets: prefixes("192.0.2.0/24", "2001:db8::/32")}}},
		[]dataplane.Rule{{Action: dataplane.Allow, Protocol: 17, Src: dataplane.Side{Ports: []dataplane.PortRange{{Min: 53, Max: 53}}}}})
	door := add("door", []dataplane.Rule{portRule(dataplane.Allow, 6, 30080), {Action: dataplane.Pass, Protocol: 17}, {Action: dataplane.Deny}}, nil)
	through := add("through", []dataplane.Rule{portRule(dataplane.Allow, 6, 80)}, []dataplane.Rule{portRule(dataplane.Deny, 6, 25), {Action: dataplane.Pass}})
	normal := add("normal", []dataplane.Rule{portRule(dataplane.Allow, 6, 9100)}, []dataplane.Rule{{Action: dataplane.Allow}})
	s.Endpoints[hostID("eth0")] = &dataplane.Endpoint{
		ID: hostID("eth0"), Interface: "eth0", Addresses: addresses("172.18.0.1"),
		Tiers:    oneTier(append(through, normal...), append(through, normal...), dataplane.Deny),
		Profiles: []dataplane.PolicyID{{Kind: "Profile", Name: "kns.web-ns"}},
		Host: &dataplane.HostEndpoint{
			Untracked: oneTier(flood, flood, dataplane.Pass), PreDNAT: oneTier(door, nil, dataplane.Pass),
			Forward: oneTier(through, through, dataplane.Deny),
		},
	}
	s.Endpoints[hostID("rest")] = &dataplane.Endpoint{
		ID: hostID("rest"), Interface: "*", Tiers: oneTier(normal, nil, dataplane.Deny), Host: &dataplane.HostEndpoint{Forward: oneTier(normal, nil, dataplane.Pass)},
	}
	s.Endpoints[hostID("broken")] = &dataplane.Endpoint{ID: hostID("broken"), Interface: "eth1", Host: &dataplane.HostEndpoint{Fault: "spec.profiles can't be read"}}
	s.Endpoints[hostID("second")] = &dataplane.Endpoint{ID: hostID("second"), Interface: "eth0", Host: &dataplane.HostEndpoint{}}
	return s
}

func TestHostFaultsAreNamed(t *testing.T) {
	s := hostState(true)
	s.Endpoints[hostID("pods")] = &dataplane.Endpoint{ID: hostID("pods"), Interface: "fld0", Host: &dataplane.HostEndpoint{}}
	s.Endpoints[hostID("nowhere")] = &dataplane.Endpoint{ID: hostID("nowhere"), Addresses: addresses("172.18.0.9"), Host: &dataplane.HostEndpoint{}}
	s.Endpoints[hostID("found")] = &dataplane.Endpoint{ID: hostID("found"), Addresses: addresses("172.18.0.8"), Host: &dataplane.HostEndpoint{}}
	s.Endpoints[hostID("pattern")] = &dataplane.Endpoint{ID: hostID("pattern"), Interface: "eth+", Host: &dataplane.HostEndpoint{}}
	cfg := RenderConfig{Devices: map[netip.Addr]string{addresses("172.18.0.8")[0]: "eth2"}}
	for id, want := range map[string]string{
		"second":  "hostendpoint/second: interface eth0: hostendpoint/eth0 comes first; want one host endpoint for an interface",
		"pods":    "hostendpoint/pods: interface fld0 begins with \"fld\", the prefix of pods' interfaces on this host",
		"nowhere": "hostendpoint/nowhere: no interface of this host has one of its addresses [172.18.0.9]",
		"pattern": `hostendpoint/pattern: interface "eth+": want at most 15 letters, digits, ".", "-" and "_"`,
		"found":   "", "eth0": "", "rest": "", "broken": "",
	} {
		got := ""
		if err := Render(s, cfg).Faults[hostID(id)]; err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", id, got, want)
		}
	}
}

// TestHostWhatFailsIsNamed: the endpoint whose chain or policy is refused, all of them where the table as a whole fails; pods are not.
func TestHostWhatFailsIsNamed(t *testing.T) {
	for name, test := range map[string]struct {
		harm      func(w *twins, s *dataplane.State)
		endpoints string
		policies  string
	}{
		"nothing": {func(*twins, *dataplane.State) {}, "[]", "[]"},
		"a set of an untracked policy": {func(w *twins, s *dataplane.State) {
			s.Policies[globalID("flood")].Ingress[0].Src.IPSets = []dataplane.IPSetID{"s-db"}
			s.Policies[policyID("second")].Ingress[0].Src.IPSets = nil // its only other user
			w.iptables.Sets = map[string]bool{}
			for _, set := range Render(s, RenderConfig{}).sets {
				w.iptables.Sets[set.Name] = set.Name != "felid4-s-db"
			}
		}, "[hostendpoint/eth0]", "[GlobalNetworkPolicy flood]"},
		"an address that is nowhere": {func(_ *twins, s *dataplane.State) {
			s.Endpoints[hostID("rest")].Interface, s.Endpoints[hostID("rest")].Addresses = "", addresses("172.18.0.9")
		}, "[hostendpoint/rest]", "[]"},
	} {
		t.Run(name, func(t *testing.T) {
			w, s := newTwins(), hostState(true)
			w.network.Up = map[string]bool{"fld0123456789a": true, "fld0fffffffff": true}
			delete(s.Endpoints, hostID("second"))
			test.harm(w, s)
			d := w.open(t)
			for _, c := range []*dataplane.Changes{nil, dataplane.NewChanges()} {
				endpoints, policies, others := blamed(t, d, s, c)
				if fmt.Sprint(endpoints) != test.endpoints || fmt.Sprint(policies) != test.policies || len(others) > 0 {
					t.Errorf("endpoints %v, policies %v, others %v; want %s, %s, none", endpoints, policies, others, test.endpoints, test.policies)
				}
			}
		})
	}
}
