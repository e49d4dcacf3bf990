//go:build linux

package cnitest

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	v3 "github.com/felid-net/felid/api/v3"
)

// Run drives every verb against a world that open makes, with its agent started.
func Run(t *testing.T, open func(t *testing.T) World) {
	tests := []struct {
		name string
		run  func(*testing.T, World, *containers)
	}{
		{"Versions", testVersions},
		{"AddIsComplete", testAddIsComplete},
		{"WithoutPod", testWithoutPod},
		{"PodObject", testPodObject},
		{"IPv6SwitchedOff", testIPv6SwitchedOff},
		{"SecondInterface", testSecondInterface},
		{"SecondSandbox", testSecondSandbox},
		{"PodMoved", testPodMoved},
		{"AddTwice", testAddTwice},
		{"DelOfWhatIsMissing", testDelOfWhatIsMissing},
		{"CheckFindsTampering", testCheckFindsTampering},
		{"GC", testGC},
		{"Refusals", testRefusals},
		{"Parallel", testParallel},
		{"AgentAway", testAgentAway},
		{"RestartBetween", testRestartBetween},
		{"MachineRestart", testMachineRestart},
		{"RebuildCleans", testRebuildCleans},
		{"KilledDuringAdd", testKilledDuringAdd},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := open(t)
			tt.run(t, w, newContainers(t, w))
		})
	}
}

// nothing is left when every sandbox is gone.
func wantNothing(t *testing.T, w World) {
	t.Helper()
	wantConnected(t, w, nil)
}

func testVersions(t *testing.T, w World, latest *containers) {
	for _, version := range []string{"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"} {
		c := latest.speaking(version)
		s := newSandbox(t, "web/v")
		result, err := c.cni.AddNetworkList(context.Background(), c.list(t), s.runtime())
		if err != nil {
			t.Fatalf("ADD %s: %v", version, describe(err))
		}
		if result.Version() != version {
			t.Errorf("ADD %s answered in version %s", version, result.Version())
		}
		if version >= "0.4.0" { // CHECK came with 0.4.0
			if err := c.check(t, s); err != nil {
				t.Errorf("CHECK %s: %v", version, describe(err))
			}
		}
		if version == "1.1.0" {
			if err := c.status(t); err != nil {
				t.Errorf("STATUS: %v", describe(err))
			}
		}
		c.mustDel(t, s)
		wantNothing(t, w)
	}
	old := latest.speaking("0.2.0")
	if _, err := old.add(t, newSandbox(t, "web/v")); err == nil {
		t.Error("ADD 0.2.0 was accepted")
	}
}

func testAddIsComplete(t *testing.T, w World, c *containers) {
	one, two := newSandbox(t, "web/one"), newSandbox(t, "web/two")
	result, err := c.with("mtu", 1400).add(t, one)
	if err != nil {
		t.Fatal(describe(err))
	}
	addrs := addrsOf(result)
	if len(addrs) != 2 || !netip.MustParsePrefix(Pool4).Contains(addrs[0]) || !netip.MustParsePrefix(Pool6).Contains(addrs[1]) {
		t.Fatalf("addresses %v", addrs)
	}
	for _, addr := range c.mustAdd(t, two) {
		// At once: what ADD has answered is in force, and the first packet gets through.
		if err := reach(one, two, addr); err != nil {
			t.Errorf("one to %s: %v", addr, err)
		}
	}
	host := podLinks(t, w)[aliasOf(one)]
	if host.MTU != 1400 || host.Address != "ee:ee:ee:ee:ee:ee" {
		t.Errorf("host's side: %+v", host)
	}
	if len(result.Interfaces) != 2 || result.Interfaces[0].Name != host.IfName || result.Interfaces[1].Sandbox != "/run/netns/"+one.netns {
		t.Errorf("interfaces in the result: %+v", result.Interfaces)
	}
	rec := records(t, w)[one.id+" eth0"]
	if rec == nil || rec.Namespace != "web" || rec.Name != "one" || rec.Spec.InterfaceName != host.IfName || rec.Spec.MAC != result.Interfaces[1].Mac {
		t.Errorf("record: %+v", rec)
	}
	routes := in(t, one.netns, "ip", "route") + in(t, one.netns, "ip", "-6", "route")
	for _, want := range []string{"default via 169.254.1.1 dev eth0", "default via fe80::ecee:eeff:feee:eeee dev eth0"} {
		if !strings.Contains(routes, want) {
			t.Errorf("no %q in\n%s", want, routes)
		}
	}
	c.mustDel(t, one)
	c.mustDel(t, two)
	wantNothing(t, w)
}

func testWithoutPod(t *testing.T, w World, c *containers) {
	s := newSandbox(t, "")
	labelled := c.with("args", map[string]any{"cni": map[string]any{"labels": []map[string]string{{"key": "app", "value": "db"}}}})
	addrs := labelled.mustAdd(t, s)
	rec := records(t, w)[s.id+" eth0"]
	if rec == nil || rec.Namespace != "" || rec.Name != "container+"+s.id+"+eth0" || rec.Labels["app"] != "db" || !slices.Equal(rec.Spec.Profiles, []string{network}) {
		t.Errorf("record: %+v", rec)
	}
	wantConnected(t, w, map[*sandbox][]netip.Addr{s: addrs})
	if err := labelled.check(t, s); err != nil {
		t.Errorf("CHECK: %v", describe(err))
	}
	labelled.mustDel(t, s)
	wantNothing(t, w)
}

// testPodObject: labels come from the pod where there is one, else from the configuration, and its namespace never does.
func testPodObject(t *testing.T, w World, c *containers) {
	s := newSandbox(t, "web/ghost")
	labelled := c.with("args", map[string]any{"cni": map[string]any{"labels": []map[string]string{{"key": "app", "value": "web"}}}})
	labelled.mustAdd(t, s)
	rec := records(t, w)[s.id+" eth0"]
	if rec == nil || rec.Labels["app"] != "web" || rec.Labels["projectcalico.org/namespace"] != "web" || !slices.Equal(rec.Spec.Profiles, []string{"kns.web"}) {
		t.Errorf("record: %+v", rec)
	}
	labelled.mustDel(t, s)

	pod := &v3.WorkloadEndpoint{Spec: v3.WorkloadEndpointSpec{Orchestrator: "k8s", Pod: "real", Endpoint: "eth0",
		Profiles: []string{"kns.web", "ksa.web.default"}, ServiceAccountName: "default"}}
	pod.Kind, pod.APIVersion, pod.Namespace, pod.Name = string(v3.KindWorkloadEndpoint), v3.APIVersion, "web", "real"
	pod.Labels = map[string]string{"app": "real", "projectcalico.org/namespace": "web"}
	if _, err := w.Store().Create(context.Background(), pod); err != nil {
		t.Fatal(err)
	}
	s = newSandbox(t, "web/real")
	Eventually(t, func() error { _, err := labelled.add(t, s); return err })
	rec = records(t, w)[s.id+" eth0"]
	if rec == nil || rec.Labels["app"] != "real" || len(rec.Spec.Profiles) != 2 || rec.Spec.ServiceAccountName != "default" {
		t.Errorf("record: %+v", rec)
	}
	labelled.mustDel(t, s)
	wantNothing(t, w)
}

// testIPv6SwitchedOff: some runtimes make network namespaces so.
func testIPv6SwitchedOff(t *testing.T, w World, c *containers) {
	s, other := newSandbox(t, "web/v4-only"), newSandbox(t, "web/other")
	in(t, s.netns, "sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6")
	addrs := c.mustAdd(t, s)
	c.mustAdd(t, other)
	for _, addr := range addrs {
		if err := reach(other, s, addr); err != nil {
			t.Errorf("%s: %v", addr, err)
		}
	}
	c.mustDel(t, s)
	c.mustDel(t, other)
	wantNothing(t, w)
}

func testSecondInterface(t *testing.T, w World, c *containers) {
	other := newSandbox(t, "web/other")
	c.mustAdd(t, other)
	first := newSandbox(t, "web/two-legs")
	second := first.second("net1")
	addrs1, addrs2 := c.mustAdd(t, first), c.mustAdd(t, second)
	if rec := records(t, w)[second.id+" net1"]; rec == nil || rec.Name != "two-legs+net1" || rec.Spec.Pod != "two-legs" {
		t.Errorf("record of net1: %+v", rec)
	}
	for _, addr := range slices.Concat(addrs1, addrs2) {
		// The answer must leave by the interface that has the address: on the other one it would be spoofed.
		if err := reach(other, first, addr); err != nil {
			t.Errorf("%s: %v", addr, err)
		}
	}
	for _, s := range []*sandbox{first, second} {
		if err := c.check(t, s); err != nil {
			t.Errorf("CHECK %s: %v", s.ifName, describe(err))
		}
	}
	in(t, first.netns, "ip", "rule", "del", "from", addrs2[0].String())
	wantCode(t, "CHECK of net1 without its rule", c.check(t, second), 101)
	c.mustDel(t, second)
	if err := reach(other, first, addrs1[0]); err != nil {
		t.Errorf("eth0 after DEL of net1: %v", err)
	}
	c.mustDel(t, first)
	c.mustDel(t, other)
	wantNothing(t, w)
}

func testSecondSandbox(t *testing.T, w World, c *containers) {
	old := newSandbox(t, "web/db-0")
	before := c.mustAdd(t, old)
	fresh := newSandbox(t, "web/db-0")
	addrs := c.mustAdd(t, fresh)
	wantConnected(t, w, map[*sandbox][]netip.Addr{fresh: addrs})
	if len(before) != len(addrs) {
		t.Errorf("had %v, has %v", before, addrs)
	}
	c.mustDel(t, old)
	c.mustDel(t, old)
	wantConnected(t, w, map[*sandbox][]netip.Addr{fresh: addrs})
	if err := c.check(t, fresh); err != nil {
		t.Errorf("CHECK after the stale DEL: %v", describe(err))
	}
	c.mustDel(t, fresh)
	wantNothing(t, w)
}

// testPodMoved: a pod of the same name runs on another node when this node's DEL comes.
func testPodMoved(t *testing.T, w World, c *containers) {
	s := newSandbox(t, "web/db-0")
	c.mustAdd(t, s)
	moved := records(t, w)[s.id+" eth0"].DeepCopy()
	moved.Spec.Node, moved.Spec.ContainerID, moved.ResourceVersion = "another-node", "another", ""
	if _, err := w.Store().Update(context.Background(), moved); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "CHECK of the pod's old place", c.check(t, s), 101)
	c.mustDel(t, s)
	wantNothing(t, w)
	if _, err := w.Store().Get(context.Background(), v3.KeyOf(moved)); err != nil {
		t.Errorf("the other node's record: %v", err)
	}
}

func testAddTwice(t *testing.T, w World, c *containers) {
	s := newSandbox(t, "web/again")
	addrs := c.mustAdd(t, s)
	if again := c.mustAdd(t, s); !slices.Equal(addrs, again) {
		t.Errorf("ADD gave %v, then %v", addrs, again)
	}
	wantConnected(t, w, map[*sandbox][]netip.Addr{s: addrs})
	Command(t, "ip", "-n", w.Netns(), "link", "del", podLinks(t, w)[aliasOf(s)].IfName)
	addrs = c.mustAdd(t, s)
	wantConnected(t, w, map[*sandbox][]netip.Addr{s: addrs})
	c.mustDel(t, s)
	wantNothing(t, w)
}

func testDelOfWhatIsMissing(t *testing.T, w World, c *containers) {
	spoil := map[string]func(*testing.T, *sandbox){
		"nothing": func(*testing.T, *sandbox) {},
		"network namespace": func(t *testing.T, s *sandbox) {
			Command(t, "ip", "netns", "del", s.netns)
		},
		"interface": func(t *testing.T, s *sandbox) {
			Command(t, "ip", "-n", w.Netns(), "link", "del", podLinks(t, w)[aliasOf(s)].IfName)
		},
		"record": func(t *testing.T, s *sandbox) {
			if err := w.Store().Delete(context.Background(), v3.KeyOf(records(t, w)[s.id+" eth0"]), ""); err != nil {
				t.Fatal(err)
			}
		},
		"CNI_ARGS":            func(_ *testing.T, s *sandbox) { s.args = nil },
		"everything":          func(t *testing.T, s *sandbox) { c.mustDel(t, s) },
		"the name of the pod": func(_ *testing.T, s *sandbox) { s.args = s.args[:1] },
	}
	for what, do := range spoil {
		t.Run(what, func(t *testing.T) {
			s := newSandbox(t, "web/short-lived")
			c.mustAdd(t, s)
			do(t, s)
			c.mustDel(t, s)
			c.mustDel(t, s)
			wantNothing(t, w)
		})
	}
	c.mustDel(t, newSandbox(t, "web/never-there"))
	c.mustDel(t, newSandbox(t, ""))
}

func testCheckFindsTampering(t *testing.T, w World, c *containers) {
	node := func(args ...string) func(*testing.T, *sandbox, string) {
		return func(t *testing.T, s *sandbox, host string) {
			args := append([]string{"-n", w.Netns()}, args...)
			for i := range args {
				args[i] = strings.ReplaceAll(args[i], "HOST", host)
			}
			Command(t, "ip", args...)
		}
	}
	pod := func(args ...string) func(*testing.T, *sandbox, string) {
		return func(t *testing.T, s *sandbox, _ string) {
			Command(t, "ip", append([]string{"-n", s.netns}, args...)...)
		}
	}
	tamper := map[string]func(*testing.T, *sandbox, string){
		"host's side down": node("link", "set", "HOST", "down"),
		"host's side renamed": func(t *testing.T, s *sandbox, h string) {
			node("link", "set", h, "down")(t, s, h)
			node("link", "set", h, "name", "other0")(t, s, h)
		},
		"host's side gone":   node("link", "del", "HOST"),
		"alias":              node("link", "set", "HOST", "alias", "felid x y z"),
		"MAC of the gateway": node("link", "set", "HOST", "address", "02:00:00:00:00:01"),
		"MTU":                node("link", "set", "HOST", "mtu", "1300"),
		"pod's side down":    pod("link", "set", "eth0", "down"),
		"IPv4 addresses":     pod("-4", "addr", "flush", "dev", "eth0"),
		"IPv6 addresses":     pod("-6", "addr", "flush", "dev", "eth0"),
		"IPv4 route":         pod("route", "del", "default"),
		"IPv6 route":         pod("-6", "route", "del", "default"),
		"neighbour":          pod("neigh", "replace", "169.254.1.1", "lladdr", "02:00:00:00:00:02", "dev", "eth0", "nud", "permanent"),
		"record": func(t *testing.T, s *sandbox, _ string) {
			if err := w.Store().Delete(context.Background(), v3.KeyOf(records(t, w)[s.id+" eth0"]), ""); err != nil {
				t.Fatal(err)
			}
		},
	}
	for what, do := range tamper {
		t.Run(what, func(t *testing.T) {
			s := newSandbox(t, "web/victim")
			c.mustAdd(t, s)
			if err := c.check(t, s); err != nil {
				t.Fatalf("before: %v", describe(err))
			}
			do(t, s, podLinks(t, w)[aliasOf(s)].IfName)
			wantCode(t, "CHECK", c.check(t, s), 101)
			// What an operator broke need not be recognisable: the container's end takes it away.
			Command(t, "ip", "netns", "del", s.netns)
			c.mustDel(t, s)
			Eventually(t, func() error { return noLinks(t, w) })
			wantNothing(t, w)
		})
	}
}

func testGC(t *testing.T, w World, c *containers) {
	keep, drop, bare := newSandbox(t, "web/keep"), newSandbox(t, "web/drop"), newSandbox(t, "")
	kept := map[*sandbox][]netip.Addr{keep: c.mustAdd(t, keep)}
	leg := keep.second("net1")
	kept[leg] = c.mustAdd(t, leg)
	c.mustAdd(t, drop)
	c.mustAdd(t, bare)
	if err := c.gc(t, keep, leg); err != nil {
		t.Fatal(describe(err))
	}
	wantConnected(t, w, kept)
	if err := c.gc(t, keep, leg, drop); err != nil {
		t.Fatal(describe(err))
	}
	wantConnected(t, w, kept)
	if err := c.gc(t); err != nil {
		t.Fatal(describe(err))
	}
	wantNothing(t, w)
}

func testRefusals(t *testing.T, w World, c *containers) {
	s := newSandbox(t, "web/bad")
	add := func(c *containers, s *sandbox) error { _, err := c.add(t, s); return err }
	wantCode(t, "unknown key", add(c.with("sokcet", "/x"), s), 7)
	wantCode(t, "foreign IPAM", add(c.with("ipam", map[string]any{"type": "host-local"}), s), 7)
	wantCode(t, "requested address", add(c.with("args", map[string]any{"cni": map[string]any{"ips": []string{"10.0.0.1"}}}), s), 2)
	wantCode(t, "host's network namespace", add(c, &sandbox{id: s.id, netns: w.Netns(), ifName: "eth0", args: s.args}), 8)
	wantCode(t, "missing network namespace", add(c, &sandbox{id: s.id, netns: "felid-none", ifName: "eth0", args: s.args}), 8)
	for _, path := range []string{"../../etc/hostname", "../../proc/self/ns/mnt", "../../tmp"} {
		wantCode(t, "no network namespace: "+path, add(c, &sandbox{id: s.id, netns: path, ifName: "eth0", args: s.args}), 8)
	}
	wantCode(t, "half an identity", add(c, &sandbox{id: s.id, netns: s.netns, ifName: "eth0", args: s.args[:2]}), 4)
	wantCode(t, "a path for a name", add(c, &sandbox{id: s.id, netns: s.netns, ifName: "eth0",
		args: [][2]string{{"K8S_POD_NAMESPACE", "web"}, {"K8S_POD_NAME", "../x"}}}), 4)
	taken := newSandbox(t, "web/taken")
	in(t, taken.netns, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "other0")
	if err := add(c, taken); err == nil {
		t.Error("ADD took an interface that was there")
	}
	wantNothing(t, w)
}

func testParallel(t *testing.T, w World, c *containers) {
	const n = 20
	sandboxes := make([]*sandbox, n)
	for i := range sandboxes {
		sandboxes[i] = newSandbox(t, "web/p"+string(rune('a'+i)))
	}
	connected := map[*sandbox][]netip.Addr{}
	var mu sync.Mutex
	each(sandboxes, func(s *sandbox) {
		result, err := c.add(t, s)
		if err != nil {
			t.Errorf("ADD: %v", describe(err))
			return
		}
		mu.Lock()
		defer mu.Unlock()
		connected[s] = addrsOf(result)
	})
	wantConnected(t, w, connected)
	for i := range n - 1 {
		if err := reach(sandboxes[i], sandboxes[i+1], connected[sandboxes[i+1]][0]); err != nil {
			t.Errorf("%d to %d: %v", i, i+1, err)
		}
	}
	each(sandboxes, func(s *sandbox) {
		if err := c.del(t, s); err != nil {
			t.Errorf("DEL: %v", describe(err))
		}
	})
	wantNothing(t, w)
}

func each(all []*sandbox, do func(*sandbox)) {
	var wg sync.WaitGroup
	for _, s := range all {
		wg.Go(func() { do(s) })
	}
	wg.Wait()
}
