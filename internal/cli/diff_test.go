package cli

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/dptest"
	"github.com/felid-net/felid/dataplane/flatten"
	"github.com/felid-net/felid/policy"
)

// folder makes a directory of copies of files.
func folder(t *testing.T, paths ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, p := range paths {
		text, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(p)), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const (
	wellScoped   = examples + "/09-tiered-well-scoped.yaml"
	poorlyScoped = examples + "/10-tiered-poorly-scoped.yaml"
)

func TestDiffOfScope(t *testing.T) {
	old := folder(t, poorlyScoped, "testdata/scope-tier.yaml", "testdata/pods.yaml")
	now := folder(t, wellScoped, "testdata/pods.yaml")
	want := diffAnswer{
		Opens: []change{{
			From: ends{Endpoints: []dataplane.EndpointID{"pod/web-ns/web-2"}}, To: ends{Anywhere: true}, IPVersion: 4,
		}},
		Closes:    []change{},
		Unchanged: []unchanged{{"pod/web-ns/web-1", "egress"}},
		Moved:     []dataplane.EndpointID{},
	}
	var got diffAnswer
	if err := json.Unmarshal([]byte(call(t).ok("diff", old, now, "-o", "json").out), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	const text = "opens: pod/web-ns/web-2 to anywhere, IPv4, all protocols\n" +
		"unchanged: egress of pod/web-ns/web-1 (other policies, the same connections)\n"
	if o := call(t).ok("diff", old, now); o.out != text {
		t.Errorf("got %q", o.out)
	}
	if o := call(t).run("diff", old, now, "--exit-code"); o.status != 1 || o.out != text {
		t.Errorf("--exit-code: status %d, %q", o.status, o.out)
	}
	if o := call(t).ok("diff", now, now, "--exit-code"); o.out != "nothing opens or closes\n" {
		t.Errorf("of the same: %q", o.out)
	}
}

// TestDiffStandIn compares policies alone with what a datastore has.
func TestDiffStandIn(t *testing.T) {
	old := folder(t, poorlyScoped, "testdata/scope-tier.yaml", "testdata/pods.yaml")
	for _, args := range [][]string{
		{"diff", "live", wellScoped, "--datastore", "local:" + old},
		{"diff", old, wellScoped},
	} {
		wants(t, call(t).ok(args...).out, "opens: pod/web-ns/web-2 to anywhere, IPv4, all protocols\n", "unchanged: egress of pod/web-ns/web-1 ")
	}
	wants(t, call(t).ok("diff", poorlyScoped, wellScoped).err, "neither OLD nor NEW has an endpoint")
	wants(t, call(t).ok("diff", wellScoped, wellScoped, "-f", "testdata/cluster.yaml").out, "nothing opens or closes")
}

func TestDiffKinds(t *testing.T) {
	policies := file(t, "p.yaml", `
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: p}
spec:
  selector: app == "app-1"
  ingress:
  - {action: Allow, protocol: TCP, source: {selector: app == "web-2"}, destination: {ports: [80, "8000:8010"]}}
  - {action: Allow, protocol: ICMP, ipVersion: 4, icmp: {type: 8}}
  - {action: Allow, protocol: UDP, source: {nets: [192.0.2.0/24]}}
`)
	const tier = "testdata/scope-tier.yaml" // no policy
	golden(t, "diff-kinds.txt", call(t).ok("diff", tier, policies, "-f", "testdata/pods.yaml").out)
	golden(t, "diff-kinds.json", call(t).ok("diff", policies, tier, "-f", "testdata/pods.yaml", "-o", "json").out)
}

func TestDiffMoved(t *testing.T) {
	out := call(t).ok("diff", "testdata/pods.yaml", "testdata/cluster.yaml").out
	wants(t, out, "nothing opens or closes", "not compared: pod/web-ns/web-1 (")
}

// TestDiffNamesHosts: what is not compared is said.
func TestDiffNamesHosts(t *testing.T) {
	policies := file(t, "p.yaml", `
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: nodes}
spec: {selector: all(), types: [Ingress], applyOnForward: true, ingress: [{action: Deny, protocol: TCP}]}
`)
	const pods = "testdata/cluster.yaml"
	out := call(t).ok("diff", "testdata/scope-tier.yaml", policies, "-f", pods).out
	wants(t, out, "closes: ", "not compared: hostendpoint/node-2-eth0 (its policy differs")
	if out := call(t).ok("diff", policies, policies, "-f", pods).out; out != "nothing opens or closes\n" {
		t.Error(out)
	}
}

func TestDiffBadCalls(t *testing.T) {
	for _, args := range [][]string{{"diff", "a"}, {"diff", "-", "-"}, {"diff", "testdata/pods.yaml", "absent.yaml"}, {"diff", "live", "live"}} {
		if o := call(t).run(args...); o.status != 2 || o.err == "" {
			t.Errorf("%q: status %d, %q", args, o.status, o.err)
		}
	}
}

// TestEndsAreExact reads the names of ends back, and finds the addresses that they were made of.
func TestEndsAreExact(t *testing.T) {
	named := 0
	for seed := range uint64(30) {
		old, _ := resolve(dptest.Random(seed).Objects)
		now := dataplane.NewState()
		now.Host, now.Endpoints = old.Host, map[dataplane.EndpointID]*dataplane.Endpoint{}
		for id, e := range old.Endpoints {
			open := *e
			open.Tiers = nil
			now.Endpoints[id] = &open
			for _, p := range e.Profiles {
				now.Policies[p] = old.Policies[p]
			}
		}
		now.IPSets = old.IPSets
		d := flatten.Diff(old, now)
		n := newEndNamer(&d)
		for _, m := range append(d.Opens, d.Closes...) {
			for _, a := range []flatten.Addrs{m.Src, m.Dst} {
				e := n.ends(a)
				families := flatten.AddrsOf()
				for _, version := range []uint8{4, 6} {
					if a.Overlaps(flatten.Family(version)) {
						families = families.Union(flatten.Family(version))
					}
				}
				named++
				if back := n.readBack(&e).Intersect(families); !back.Equal(a) {
					t.Fatalf("seed %d: %s stands for %v, was made of %v", seed, e.String(), back.Prefixes(4), a.Prefixes(4))
				}
			}
		}
	}
	if named < 100 {
		t.Errorf("%d ends: too few to mean anything", named)
	}
}

func (n *endNamer) readBack(e *ends) flatten.Addrs {
	if e.Anywhere {
		all := n.delta.Outside.Union(n.endpoints)
		if e.But != nil {
			all = all.Minus(n.readBack(e.But))
		}
		return all
	}
	out := flatten.AddrsOf()
	for _, id := range e.Endpoints {
		out = out.Union(flatten.AddrsOfSingles(n.delta.Endpoints[id]...))
	}
	if e.Outside {
		out = out.Union(n.delta.Outside)
	}
	for _, net := range e.Nets {
		if net.IsSingleIP() {
			out = out.Union(flatten.AddrsOf(net))
		} else {
			out = out.Union(flatten.AddrsOf(net).Intersect(n.delta.Outside))
		}
	}
	return out
}

// TestResolveBoth moves from one random world to another, and gets there.
func TestResolveBoth(t *testing.T) {
	for seed := range uint64(40) {
		before, after := dptest.Random(seed).Objects, dptest.Random(seed+1000).Objects
		from, to, _ := resolveBoth(before, after)
		wantFrom, _ := policy.Resolve(before, policy.Options{Host: offlineHost("")})
		wantTo, _ := policy.Resolve(after, policy.Options{Host: offlineHost("")})
		if !dataplane.Diff(wantFrom, from).Empty() || !dataplane.Diff(wantTo, to).Empty() {
			t.Fatalf("seed %d: resolved together, the two are not what they are alone", seed)
		}
	}
}
