package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane/dptest"
	"github.com/felid-net/felid/dataplane/flatten"
	"github.com/felid-net/felid/policy"
)

// remedied are random flows with what is proposed for them.
func remedied(t *testing.T, seed uint64, each func(c *connection, before policy.Answer, r *remedy)) {
	t.Helper()
	random := dptest.Random(seed)
	state, _ := resolve(random.Objects)
	all := &cluster{objects: random.Objects, state: state}
	n := 0
	for _, from := range sortedEndpoints(state) {
		for _, to := range sortedEndpoints(state) {
			if from.ID == to.ID || len(from.Addresses)+len(to.Addresses) == 0 || (int(seed)+n)%7 != 0 {
				n++
				continue
			}
			n++
			src, dst, err := samePair(from.Addresses, to.Addresses, 0)
			if err != nil {
				continue
			}
			f := policy.Flow{Src: src, Dst: dst, Protocol: []uint8{6, 17, 132}[n%3], DstPort: []uint16{80, 53, 443, 8080}[n%4], ICMPType: -1, ICMPCode: -1}
			if n%2 == 0 {
				f.SrcPort = 40000
			}
			if n%5 == 0 {
				f.Protocol, f.SrcPort, f.DstPort, f.ICMPType, f.ICMPCode = 1, 0, 0, 8, 0
				if dst.Is6() {
					f.Protocol = 58
				}
			}
			c := &connection{cluster: all, from: from.ID, to: to.ID, flow: f}
			answer := policy.ExplainBetween(state, c.from, c.to, f)
			r, err := c.remedy(answer)
			if err != nil {
				t.Fatal(err)
			}
			each(c, answer, r)
		}
	}
}

// TestRemedyTurnsTheConnectionAndNothingElse on random worlds: what is proposed, once it is written and read back, turns the verdict, and by an own diff
// nothing else changes where that is said.
func TestRemedyTurnsTheConnectionAndNothingElse(t *testing.T) {
	opened, closed, inexact, problems := 0, 0, 0, map[string]int{}
	for seed := range uint64(60) {
		remedied(t, seed, func(c *connection, before policy.Answer, r *remedy) {
			if r.Problem != "" {
				problems[r.Problem]++
				return
			}
			objects := append([]v3.Object{}, c.cluster.objects...)
			for i, text := range r.Objects {
				key := v3.KeyOf(r.objects[i])
				before := len(objects)
				objects = slices.DeleteFunc(objects, func(o v3.Object) bool { return v3.KeyOf(o) == key })
				o, errs := v3.DecodeJSON(key.Kind, text, true)
				v3.SetDefaults(o)
				if errs = append(errs, v3.Validate(o, v3.WithSelectors(checkSelector))...); len(errs) > 0 && len(objects) == before { // of a made-up policy that is there, not all is valid
					t.Fatalf("seed %d: %s: %v", seed, text, errs)
				}
				objects = append(objects, o)
			}
			after, _ := resolve(objects)
			if now := policy.ExplainBetween(after, c.from, c.to, c.flow).Verdict; now == before.Verdict || now.String() != r.Verdict {
				t.Fatalf("seed %d: %+v is %s, with %s still %s", seed, c.flow, before.Verdict, r.Objects, now)
			}
			if now := r.Verdict; now == "Allow" {
				opened++
			} else {
				closed++
			}
			d := flatten.Diff(c.cluster.state, after)
			other := d.Closes
			if r.Verdict == "Deny" {
				other = d.Opens
			}
			inside := true
			for _, m := range append(d.Opens, d.Closes...) {
				inside = inside && len(m.Minus(c.target())) == 0
			}
			if r.Exact != (inside && len(other) == 0) {
				t.Fatalf("seed %d: %+v with %s: exact %t, opens %v, closes %v", seed, c.flow, r.Objects, r.Exact, d.Opens, d.Closes)
			}
			if !r.Exact {
				inexact++
				t.Logf("seed %d: %+v: %s: opens %v, closes %v", seed, c.flow, r.Objects, newDiffAnswer(d).Opens, newDiffAnswer(d).Closes)
			}
		})
	}
	t.Logf("%d opened, %d closed, %d of them not alone; %v", opened, closed, inexact, problems)
	if opened < 100 || closed < 20 || inexact*20 > opened+closed {
		t.Errorf("%d opened, %d closed, %d of them not alone", opened, closed, inexact)
	}
}

// TestRemedyIsToBeApplied: the output is YAML that opens the connection.
func TestRemedyIsToBeApplied(t *testing.T) {
	flow := []string{"--from", "pod/web-ns/web-1", "--to", "pod/app-ns/app-1", "--port", "22", "-f", "testdata/cluster.yaml", "-f", "testdata/policies.yaml"}
	o := call(t).ok(append([]string{"explain", "--fix"}, flow...)...)
	golden(t, "fix-open.txt", o.out)
	path := filepath.Join(t.TempDir(), "fix.yaml")
	if err := os.WriteFile(path, []byte(o.out), 0o600); err != nil {
		t.Fatal(err)
	}
	with := append([]string{"explain", "-f", path}, flow...)
	wants(t, call(t).ok(with...).out, "Allow: pod/web-ns/web-1 (10.65.0.1) to pod/app-ns/app-1 (10.65.1.1), TCP port 22\n")
	golden(t, "fix-close.txt", call(t).ok(append(with, "--fix")...).out)
	diff := call(t).ok("diff", "testdata/policies.yaml", filepath.Dir(path), "-f", "testdata/cluster.yaml", "-f", "testdata/policies.yaml").out
	if want := "opens: pod/web-ns/web-1 to pod/app-ns/app-1, IPv4, TCP, ports 22\n"; diff != want {
		t.Errorf("diff says %q", diff)
	}
}

func TestRemedyAsJSON(t *testing.T) {
	o := call(t).ok("explain", "--fix", "-o", "json", "--from", "pod/app-ns/app-1", "--to", "pod/web-ns/web-2", "--icmp", "8", "-f", "testdata/cluster.yaml", "-f", "testdata/policies.yaml")
	var got struct {
		Verdict string
		Fix     struct {
			Verdict string
			Exact   bool
			Objects []json.RawMessage
			Effect  struct{ Closes []struct{ ICMP []string } }
		}
	}
	if err := json.Unmarshal([]byte(o.out), &got); err != nil {
		t.Fatal(err)
	}
	if got.Verdict != "Allow" || got.Fix.Verdict != "Deny" || !got.Fix.Exact || len(got.Fix.Objects) != 1 || len(got.Fix.Effect.Closes) != 1 || got.Fix.Effect.Closes[0].ICMP[0] != "8/0" {
		t.Errorf("%+v", got)
	}
}

func TestRemedyOfWhatPolicyDoesNotDecide(t *testing.T) {
	files := []string{"-f", "testdata/cluster.yaml", "-f", "testdata/policies.yaml"}
	for _, c := range []struct{ from, to, problem string }{
		{"node/node-2", "pod/app-ns/app-1", "own node"},
		{"203.0.113.1", "203.0.113.2", "neither end is a pod"},
	} {
		o := call(t).run(append([]string{"explain", "--fix", "--from", c.from, "--to", c.to, "--port", "22"}, files...)...)
		if o.status != exitNo || strings.Contains(o.out, "---") {
			t.Errorf("%s: status %d", c.from, o.status)
		}
		wants(t, o.out, "# No policy is proposed: ", c.problem)
	}
	for _, args := range [][]string{{"--from", "10.0.0.1", "--to", "10.0.0.2"}, {"--from", "10.0.0.1", "--to", "10.0.0.2", "--protocol", "ICMP"}} {
		if o := call(t).run(append(append([]string{"explain", "--fix"}, args...), files...)...); o.status != exitUsage {
			t.Errorf("%v: status %d", args, o.status)
		}
	}
}

// TestRemedyOfTwins: a pod that no label tells from another is meant by its address.
func TestRemedyOfTwins(t *testing.T) {
	pod := func(name, ip string) string {
		return `
---
apiVersion: v1
kind: Pod
metadata: {name: ` + name + `, namespace: a, labels: {app: web, tier: front}}
spec: {nodeName: n1, containers: [{name: c}]}
status: {podIPs: [{ip: ` + ip + `}]}`
	}
	path := file(t, "twins.yaml", `
apiVersion: v1
kind: Namespace
metadata: {name: a}`+pod("one", "10.0.0.1")+pod("two", "10.0.0.2")+`
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: none, namespace: a}
spec: {podSelector: {}, policyTypes: [Ingress]}
`)
	o := call(t).ok("explain", "--fix", "-o", "json", "--from", "pod/a/one", "--to", "pod/a/two", "--port", "80", "-f", path)
	var got struct {
		Fix struct {
			Exact   bool
			Objects []json.RawMessage
		}
	}
	if err := json.Unmarshal([]byte(o.out), &got); err != nil {
		t.Fatal(err)
	}
	if !got.Fix.Exact || len(got.Fix.Objects) != 1 {
		t.Fatal(o.out)
	}
	var p v3.NetworkPolicy
	if err := yaml.Unmarshal(got.Fix.Objects[0], &p); err != nil {
		t.Fatal(err)
	}
	if r := p.Spec.Ingress[0]; p.Spec.Selector != `app == "web" && tier == "front"` || r.Destination.Nets[0] != "10.0.0.2/32" || r.Source.Nets[0] != "10.0.0.1/32" {
		t.Errorf("%s", got.Fix.Objects[0])
	}
}

func TestFewest(t *testing.T) {
	labels := map[string]string{"app": "a", "role": "x", "zone": "1"}
	for _, c := range []struct {
		others []map[string]string
		want   string
		unique bool
	}{
		{nil, "app", true},
		{[]map[string]string{{"app": "a", "role": "y"}}, "role", true},
		{[]map[string]string{{"app": "a", "role": "y"}, {"app": "b", "role": "x", "zone": "1"}}, "app role", true},
		{[]map[string]string{{"app": "a", "role": "x"}, {"app": "a", "zone": "1"}, {"role": "x", "zone": "1"}}, "app role zone", true},
		{[]map[string]string{labels}, "app role zone", false},
	} {
		got, unique := fewest(labels, []string{"app", "role", "zone"}, c.others)
		if strings.Join(got, " ") != c.want || unique != c.unique {
			t.Errorf("%v: %v, %t", c.others, got, unique)
		}
	}
}
