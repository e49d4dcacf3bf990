package linux

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/felid-net/felid/dataplane"
	"github.com/vishvananda/netlink"
)

// text is what stands in a table of both families, without counters.
func (l *lab) text(backend, table string) string {
	var b strings.Builder
	for _, tool := range []string{"iptables-", "ip6tables-"} {
		for line := range strings.Lines(l.run(tool+backend+"-save", "-t", table)) {
			if strings.HasPrefix(line, "-A") || strings.HasPrefix(line, ":felid") {
				b.WriteString(line)
			}
		}
	}
	return b.String()
}

// TestHostRulesComeAndGo: tables raw and mangle are touched only while a host endpoint needs them, an agent without memory finds all as it would
// have made it, and what is left afterwards are the rules of the pods.
func TestHostRulesComeAndGo(t *testing.T) {
	t.Parallel()
	for _, backend := range backends {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			l, s := pairLab(t), pairState()
			d := l.open(backend)
			apply(t, d, s, nil)
			pods := l.text(backend, "filter")
			for _, table := range hostTables {
				if text := l.text(backend, table); text != "" {
					t.Errorf("without host endpoints table %s holds\n%s", table, text)
				}
			}
			hosts, c := hostState(true), dataplane.NewChanges()
			s.Host.FailsafeInbound, s.Host.FailsafeOutbound = hosts.Host.FailsafeInbound, hosts.Host.FailsafeOutbound
			for id, p := range hosts.Policies {
				s.Policies[id], c.Policies[id] = p, struct{}{}
			}
			for id, set := range hosts.IPSets {
				s.IPSets[id], c.IPSets[id] = set, nil
			}
			for _, name := range []string{"eth0", "rest", "broken"} {
				s.Endpoints[hostID(name)], c.Endpoints[hostID(name)] = hosts.Endpoints[hostID(name)], struct{}{}
			}
			apply(t, d, s, c)
			for _, table := range hostTables {
				if text := l.text(backend, table); !strings.Contains(text, "felid-ih-eth0") {
					t.Errorf("with host endpoints table %s holds\n%s", table, text)
				}
			}
			second, err := New(Config{LockFile: d.cfg.LockFile})
			must(t, err)
			defer second.Close()
			if res := apply(t, second, s, nil); res.Stats.Writes != 0 {
				t.Errorf("%d writes after a restart with everything right", res.Stats.Writes)
			}
			for id := range c.Endpoints {
				delete(s.Endpoints, id)
			}
			apply(t, d, s, c)
			for _, table := range hostTables {
				if text := l.text(backend, table); text != "" {
					t.Errorf("after the host endpoints table %s holds\n%s", table, text)
				}
			}
			if text := l.text(backend, "filter"); text != pods {
				t.Errorf("table filter was\n%s\nand is\n%s", pods, text)
			}
		})
	}
}

// TestHostEndpointFollowsItsAddress from one interface to another.
func TestHostEndpointFollowsItsAddress(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	address := &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(172, 18, 0, 9), Mask: net.CIDRMask(24, 32)}}
	links := map[string]netlink.Link{}
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "eth1"}))
	for _, name := range []string{"eth0", "eth1"} {
		link, err := netlink.LinkByName(name)
		must(t, err)
		links[name] = link
	}
	s := dataplane.NewState()
	s.Host = dataplane.Host{Node: "n", Owner: true, InterfacePrefix: "fld"}
	id := hostID("by-address")
	s.Endpoints[id] = &dataplane.Endpoint{ID: id, Addresses: addresses("172.18.0.9"), Host: &dataplane.HostEndpoint{}}
	d := l.open("nft")
	if endpoints, _, _ := blamed(t, d, s, nil); len(endpoints) != 1 {
		t.Errorf("an endpoint whose address is nowhere is not named: %v", endpoints)
	}
	for _, name := range []string{"eth0", "eth1"} {
		must(t, netlink.AddrAdd(links[name], address))
		if drifted, err := d.CheckDrift(context.Background()); err != nil || !drifted {
			t.Errorf("the address has come to %s: drift %v, %v", name, drifted, err)
		}
		apply(t, d, s, dataplane.NewChanges())
		if drifted, err := d.CheckDrift(context.Background()); err != nil || drifted {
			t.Errorf("nothing has moved since: drift %v, %v", drifted, err)
		}
		if text := l.text("nft", "filter"); !strings.Contains(text, "-i "+name+" ") || strings.Count(text, ":felid-ih-") != 2 {
			t.Errorf("the address is on %s, the rules are\n%s", name, text)
		}
		must(t, netlink.AddrDel(links[name], address))
	}
}

// serve echoes on a TCP port of the host.
func (l *lab) serve(port int) {
	l.pods[""] = l.host
	l.listen("", port)
}

// TestHostConnections: what is established goes on when policy changes, and what untracked policy allows is not tracked, nor does it have to be.
func TestHostConnections(t *testing.T) {
	t.Parallel()
	for _, backend := range backends {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.pod("outside", "eth0", "192.0.2.9")
			l.run("ip", "route", "add", "192.0.2.9/32", "dev", "eth0")
			for _, port := range []int{9100, 7000, 7001} {
				l.serve(port)
			}
			s, d := dataplane.NewState(), l.open(backend)
			s.Host = dataplane.Host{Node: "n", Owner: true, InterfacePrefix: "fld"}
			normal, fast := globalID("normal"), globalID("fast")
			addPolicy(s, &dataplane.Policy{ID: normal, Tier: "default", Ingress: []dataplane.Rule{portRule(dataplane.Allow, 6, 9100)}})
			addPolicy(s, &dataplane.Policy{ID: fast, Tier: "default",
				Ingress: []dataplane.Rule{portRule(dataplane.Allow, 6, 7000)},
				Egress:  []dataplane.Rule{{Action: dataplane.Allow, Protocol: 6, Src: dataplane.Side{Ports: []dataplane.PortRange{{Min: 7000, Max: 7000}}}}},
			})
			ids, both := []dataplane.PolicyID{normal}, []dataplane.PolicyID{fast}
			s.Endpoints[hostID("h")] = &dataplane.Endpoint{ID: hostID("h"), Interface: "eth0", Tiers: oneTier(ids, nil, dataplane.Deny),
				Host: &dataplane.HostEndpoint{Untracked: oneTier(both, both, dataplane.Pass)}}
			apply(t, d, s, nil)
			l.expect(dataplane.Allow, "outside", "172.18.0.1", 7000)
			l.expect(dataplane.Deny, "outside", "172.18.0.1", 7001)
			c, err := l.dial("outside", "", "172.18.0.1", 9100, patience)
			must(t, err)
			if out := l.run("conntrack", "-L"); strings.Contains(out, "dport=7000") || !strings.Contains(out, "dport=9100") {
				t.Errorf("tracked connections:\n%s", out)
			}
			s.Policies[normal] = &dataplane.Policy{ID: normal, Tier: "default"}
			apply(t, d, s, changed(nil, normal))
			l.expect(dataplane.Deny, "outside", "172.18.0.1", 9100)
			if err := say(c, patience); err != nil {
				t.Errorf("an established connection was cut by a change of policy: %v", err)
			}
		})
	}
}
