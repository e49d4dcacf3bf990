package linux

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/felid-net/felid/dataplane"
)

// pairLab is the pods of pairState; the server listens on 80 and 81.
func pairLab(t *testing.T) *lab {
	l := newLab(t)
	l.pod("client", clientIf, "10.65.0.1", "fd00::1", "10.65.0.77")
	l.pod("server", serverIf, "10.65.0.2", "fd00::2")
	l.listen("server", 80)
	l.listen("server", 81)
	return l
}

var backends = []string{"nft", "legacy"}

func TestPacketsAreDecided(t *testing.T) {
	t.Parallel()
	for _, backend := range backends {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			l, s := pairLab(t), pairState()
			d := l.open(backend)
			apply(t, d, s, nil)
			for _, server := range []string{"10.65.0.2", "fd00::2"} {
				l.expect(dataplane.Allow, "client", server, 80)
				l.expect(dataplane.Deny, "client", server, 81)
				l.expect(dataplane.Allow, "", server, 81) // the host reaches its own pods
			}
			if _, err := l.dial("client", "10.65.0.77", "10.65.0.2", 80, denied); err == nil {
				t.Error("a packet with another's source address got through")
			}
			s.IPSets["clients"].Members = map[dataplane.Member]struct{}{}
			delta := &dataplane.SetDelta{Removed: []dataplane.Member{{Prefix: netip.MustParsePrefix("10.65.0.1/32")}}}
			res := apply(t, d, s, &dataplane.Changes{IPSets: map[dataplane.IPSetID]*dataplane.SetDelta{"clients": delta}})
			l.expect(dataplane.Deny, "client", "10.65.0.2", 80)
			if res.Stats.Chains == 0 || res.Stats.Rules == 0 || res.Stats.Sets != 2 || res.Stats.Members != 1 {
				t.Errorf("stats %+v", res.Stats)
			}
		})
	}
}

// TestRestartWritesNothing: a driver without memory adopts what is right, under another's rules beside it.
func TestRestartWritesNothing(t *testing.T) {
	t.Parallel()
	for _, backend := range backends {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			l, s := pairLab(t), pairState()
			s.NAT = dataplane.NAT{Masquerade: prefixes("10.65.0.0/16"), Exclude: prefixes("10.65.0.0/16")}
			s.Routes[netip.MustParsePrefix("10.65.0.0/26")] = dataplane.Route{Prefix: netip.MustParsePrefix("10.65.0.0/26"), Blackhole: true}
			s.Routes[netip.MustParsePrefix("fd00::/122")] = dataplane.Route{Prefix: netip.MustParsePrefix("fd00::/122"), Blackhole: true}
			first := l.open(backend)
			if res := apply(t, first, s, nil); res.Stats.Writes == 0 {
				t.Error("the first Apply says that it wrote nothing")
			}
			must(t, first.Close())
			l.run("iptables-"+backend, "-A", "FORWARD", "-s", "192.0.2.1", "-j", "DROP")
			second, err := New(Config{LockFile: first.cfg.LockFile}) // auto: it must find its own rules
			must(t, err)
			defer second.Close()
			if v, reason := second.Backend(); v != backend {
				t.Errorf("chose %s (%s), but the rules stand in %s", v, reason, backend)
			}
			if res := apply(t, second, s, nil); res.Stats.Writes != 0 || res.Stats.Repairs != 0 {
				t.Errorf("%d writes, %d repairs after a restart with everything right", res.Stats.Writes, res.Stats.Repairs)
			}
			if drifted, err := second.CheckDrift(context.Background()); err != nil || drifted {
				t.Errorf("drift %v, %v where there is none", drifted, err)
			}
		})
	}
}

// TestOneBackendAtATime: chains in one keep a driver from the other.
func TestOneBackendAtATime(t *testing.T) {
	t.Parallel()
	newLab(t)
	s := dataplane.NewState()
	s.Host = dataplane.Host{Owner: true, InterfacePrefix: "fld"}
	lock := t.TempDir() + "/lock"
	d, err := New(Config{Backend: "legacy", LockFile: lock})
	must(t, err)
	apply(t, d, s, nil)
	must(t, d.Close())
	if _, err := New(Config{Backend: "nft", LockFile: lock}); err == nil || !strings.Contains(err.Error(), "stand in legacy") {
		t.Errorf("nft beside legacy: %v", err)
	}
	if _, err := New(Config{Backend: "pf"}); err == nil {
		t.Error("an unknown backend is taken")
	}
	if _, err := New(Config{MarkMask: 0xf}); err == nil {
		t.Error("a mask of four bits is taken")
	}
}

func TestEstablishedConnectionsGoOn(t *testing.T) {
	t.Parallel()
	l, s := pairLab(t), pairState()
	d := l.open("nft")
	apply(t, d, s, nil)
	c, err := l.dial("client", "", "10.65.0.2", 80, patience)
	must(t, err)
	s.Policies[policyID("server")] = &dataplane.Policy{ID: policyID("server"), Tier: "default"}
	apply(t, d, s, changed(nil, policyID("server")))
	l.expect(dataplane.Deny, "client", "10.65.0.2", 80)
	if err := say(c, patience); err != nil {
		t.Errorf("an established connection was cut by a change of policy: %v", err)
	}
}

// TestEndpointGoes: its route, its chains and its tracked connections go, the other's stay.
func TestEndpointGoes(t *testing.T) {
	t.Parallel()
	for _, backend := range backends {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			l, s := pairLab(t), pairState()
			d := l.open(backend)
			apply(t, d, s, nil)
			for _, a := range []string{"10.65.0.2", "fd00::2"} {
				_, err := l.dial("client", "", a, 80, patience)
				must(t, err)
			}
			if n := len(strings.TrimSpace(l.run("conntrack", "-L", "-s", "10.65.0.1"))); n == 0 {
				t.Fatal("no tracked connection to begin with")
			}
			delete(s.Endpoints, serverID)
			apply(t, d, s, changed([]dataplane.EndpointID{serverID}))
			for _, family := range []string{"ipv4", "ipv6"} {
				if out := l.run("conntrack", "-L", "-f", family); strings.Contains(out, "10.65.0.2") || strings.Contains(out, "fd00::2") {
					t.Errorf("tracked connections are left:\n%s", out)
				}
			}
			routes := l.run("ip", "route", "show", "proto", "85") + l.run("ip", "-6", "route", "show", "proto", "85")
			if strings.Contains(routes, serverIf) || strings.Count(routes, clientIf) != 2 {
				t.Errorf("routes:\n%s", routes)
			}
			if out := l.run("iptables-"+backend+"-save", "-t", "filter"); strings.Contains(out, serverIf) || !strings.Contains(out, clientIf) {
				t.Errorf("rules:\n%s", out)
			}
		})
	}
}

// wait spends no time where the condition holds.
func wait(t *testing.T, what string, ch <-chan struct{}) {
	t.Helper()
	select {
	case <-ch:
	case <-time.After(patience):
		t.Fatalf("waited in vain: %s", what)
	}
}

// TestInterfaceComesLate: the endpoint is named until its interface is there, and the kernel's word is enough to go on.
func TestInterfaceComesLate(t *testing.T) {
	t.Parallel()
	l, s := newLab(t), pairState()
	l.pod("client", clientIf, "10.65.0.1", "fd00::1")
	d := l.open("nft")
	res, err := d.Apply(context.Background(), s, nil)
	must(t, err)
	if len(res.Endpoints) != 1 || res.Endpoints[serverID] == nil || len(res.Others) > 0 {
		t.Fatalf("want %s named alone, not %v %v", serverID, res.Endpoints, res.Others)
	}
	l.pod("server", serverIf, "10.65.0.2", "fd00::2")
	l.listen("server", 80)
	for deadline := time.Now().Add(patience); ; {
		wait(t, "the interface has come", d.Drift())
		res, err = d.Apply(context.Background(), s, dataplane.NewChanges())
		must(t, err)
		if !res.Failed() {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("still not in force: %v", res.Endpoints)
		}
	}
	l.expect(dataplane.Allow, "client", "10.65.0.2", 80)
}

// TestDriftIsRepaired: rules, sets and routes that others took away come back.
func TestDriftIsRepaired(t *testing.T) {
	t.Parallel()
	for _, backend := range backends {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			l, s := pairLab(t), pairState()
			d := l.open(backend)
			apply(t, d, s, nil)
			for _, damage := range [][]string{
				{"iptables-" + backend, "-F", endpointChain(dataplane.Ingress, serverIf)},
				{"iptables-" + backend, "-I", "FORWARD", "-j", "ACCEPT"},
				{"ipset", "flush", "felid4-clients"},
			} {
				l.run(damage...)
				drifted, err := d.CheckDrift(context.Background())
				must(t, err)
				if !drifted {
					t.Errorf("after %v: not noticed", damage)
				}
				if res := apply(t, d, s, dataplane.NewChanges()); res.Stats.Repairs == 0 {
					t.Errorf("after %v: no repair is counted", damage)
				}
				l.expect(dataplane.Allow, "client", "10.65.0.2", 80)
				l.expect(dataplane.Deny, "client", "10.65.0.2", 81)
				if drifted, err := d.CheckDrift(context.Background()); err != nil || drifted {
					t.Errorf("after the repair of %v: drift %v, %v", damage, drifted, err)
				}
			}
			l.run("ip", "route", "del", "10.65.0.2")
			for !strings.Contains(l.run("ip", "route"), "10.65.0.2 ") { // what is told first may be older
				wait(t, "a route was taken away", d.Drift())
				apply(t, d, s, dataplane.NewChanges())
			}
			l.expect(dataplane.Allow, "client", "10.65.0.2", 80)
		})
	}
}

// TestOneFaultDelaysNobody: a policy that the kernel does not take is named with its endpoints; all others are in force.
func TestOneFaultDelaysNobody(t *testing.T) {
	t.Parallel()
	for _, backend := range backends {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			l, s := pairLab(t), pairState()
			bad := addPolicy(s, &dataplane.Policy{ID: policyID("bad"), Ingress: []dataplane.Rule{
				{Action: dataplane.Allow, Src: dataplane.Side{IPSets: []dataplane.IPSetID{"missing"}}}}})
			s.Endpoints[clientID].Tiers = []dataplane.EndpointTier{{Name: "default", Ingress: []dataplane.PolicyID{bad}, Default: dataplane.Deny}}
			d := l.open(backend)
			res, err := d.Apply(context.Background(), s, nil)
			must(t, err)
			if len(res.Policies) != 1 || res.Policies[bad] == nil || len(res.Endpoints) != 1 || res.Endpoints[clientID] == nil {
				t.Errorf("named: policies %v, endpoints %v; want %s and %s", res.Policies, res.Endpoints, bad, clientID)
			}
			l.expect(dataplane.Allow, "client", "10.65.0.2", 80)
			l.expect(dataplane.Deny, "client", "10.65.0.2", 81)
			s.Policies[bad] = &dataplane.Policy{ID: bad}
			apply(t, d, s, changed(nil, bad))
		})
	}
}

// TestGuestLeavesTheLastWord: a cloud's block after our rules still holds for what policy allows.
func TestGuestLeavesTheLastWord(t *testing.T) {
	t.Parallel()
	for _, backend := range backends {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			l, s := newLab(t), pairState()
			l.pod("client", clientIf, "10.65.0.1")
			l.pod("server", serverIf, "10.65.0.2")
			l.pod("cloud", "eth7", "168.63.129.16")
			l.listen("server", 80)
			for _, port := range []int{80, 81} {
				l.listen("cloud", port)
			}
			for addr, dev := range map[string]string{"10.65.0.1": clientIf, "10.65.0.2": serverIf, "168.63.129.16": "eth7"} {
				l.run("ip", "route", "add", addr, "dev", dev) // the other plugin's
			}
			l.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
			l.run("iptables-"+backend, "-A", "FORWARD", "-d", "168.63.129.16", "-p", "tcp", "--dport", "80", "-j", "DROP")
			s.Host.Owner, s.Host.IPv6 = false, false
			d := l.open(backend)
			apply(t, d, s, nil)
			l.expect(dataplane.Deny, "client", "168.63.129.16", 80)
			l.expect(dataplane.Allow, "client", "168.63.129.16", 81)
			l.expect(dataplane.Allow, "client", "10.65.0.2", 80)
			if out := l.run("ip", "route", "show", "proto", "85"); out != "" {
				t.Errorf("a guest made routes:\n%s", out)
			}
			s.Policies[policyID("server")] = &dataplane.Policy{ID: policyID("server"), Tier: "default"}
			apply(t, d, s, changed(nil, policyID("server")))
			l.expect(dataplane.Deny, "client", "10.65.0.2", 80)
		})
	}
}
