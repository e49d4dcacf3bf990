package cli

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/felid-net/felid/dataplane/dptest"
)

func TestInvariantsHold(t *testing.T) {
	if o := call(t).ok("test", "testdata/invariants.yaml"); o.out != "5 passed, 0 failed\n" {
		t.Error(o.out)
	}
}

func TestInvariantsFail(t *testing.T) {
	o := call(t).run("test", "testdata/failing-invariants.yaml")
	if o.status != exitNo {
		t.Errorf("status %d: %s", o.status, o.err)
	}
	golden(t, "invariants-failing.txt", o.out)
	o = call(t).run("test", "-o", "json", "testdata/failing-invariants.yaml")
	var results []struct {
		Name, Error string
		Passed      bool
		Result      *struct{ Verdict string }
		Counter     *struct {
			From, To, Source, Destination, Protocol string
			Port                                    uint16
			ICMPType                                *int
		}
	}
	if err := json.Unmarshal([]byte(o.out), &results); err != nil {
		t.Fatal(err)
	}
	first, ping, nobody := results[0], results[2], results[3]
	if c := first.Counter; c == nil || c.From != "pod/web-ns/web-1" || c.To != "pod/app-ns/app-1" || first.Result.Verdict != "Allow" || c.Protocol != "TCP" {
		t.Errorf("%+v", first)
	}
	if c := ping.Counter; c == nil || c.Protocol != "ICMP" || c.ICMPType == nil || *c.ICMPType != 8 {
		t.Errorf("%+v", ping)
	}
	if nobody.Counter != nil || nobody.Result != nil || !strings.Contains(nobody.Error, "selects no endpoint") {
		t.Errorf("%+v", nobody)
	}
	if o := call(t).run("test", "-o", "junit", "testdata/failing-invariants.yaml"); !strings.Contains(o.out, `failures="7"`) {
		t.Error(o.out)
	}
}

func TestBadInvariants(t *testing.T) {
	for text, problem := range map[string]string{
		"from: {pod: 'all()'}, to: 10.0.0.1, expect: Deny":                        `"pod" says nothing of endpoints; valid: pods and namespaces`,
		"from: {}, to: 10.0.0.1, expect: Deny":                                    "from: says nothing",
		"from: {pods: 'a ='}, to: {namespaces: '('}, expect: Deny":                "to: namespaces: ",
		"from: {pods: 'all()'}, to: 10.0.0.1":                                     "expect: is missing",
		"from: {pods: 'all()'}, to: 10.0.0.1, expect: Deny, by: no profile":       "by: has no meaning",
		"from: {pods: 'all()', nets: [10.0.0.0/8]}, to: 10.0.0.1, expect: Deny":   "nets and pods can't be combined",
		"from: {nets: [ten]}, to: {pods: 'all()'}, expect: Deny":                  `nets[0]: "ten" is neither`,
		"from: {notNets: [10.0.0.0/8]}, to: {pods: 'all()'}, expect: Deny":        "nets: is no address",
		"from: {pods: 'all()'}, to: hostendpoint/h, expect: Deny":                 "invariants are about the policy of pods",
		"from: {pods: 'all()'}, to: x, expect: Deny":                              `"x" is not an end`,
		"from: {pods: 'all()'}, to: 10.0.0.1, expect: Deny, icmp: {}, port: 80":   "ICMP has no ports",
		"from: {pods: 'all()'}, to: 10.0.0.1, expect: Deny, ipVersion: 5":         "ip version: 5",
		"from: 10.0.0.1, to: 10.0.0.2, allowEmpty: true":                          "allowEmpty: is for an invariant",
		"from: {pods: 'all()'}, to: {pods: [1]}, expect: Deny, protocol: nothing": "cannot unmarshal",
	} {
		o := call(t).run("test", file(t, "t.yaml", "tests: [{"+text+"}]"))
		if o.status != exitUsage {
			t.Errorf("%s: status %d", text, o.status)
		}
		wants(t, o.err, problem)
	}
}

// TestInvariantsThatSelectNothing fail, unless that is meant; what is wrong besides is not forgiven.
func TestInvariantsThatSelectNothing(t *testing.T) {
	path := file(t, "t.yaml", `
resources: [`+wd(t)+`/testdata/cluster.yaml]
tests:
- {name: empty, from: {pods: 'none == "x"'}, to: {pods: 'none == "y"'}, expect: Deny, allowEmpty: true}
- {name: empty and wrong, from: {pods: 'none == "x"'}, to: pod/web-ns/web-9, expect: Deny, allowEmpty: true}
- {name: of different families, from: {nets: ["::/0"]}, to: pod/web-ns/web-2, expect: Deny}
`)
	o := call(t).run("test", path)
	wants(t, o.out, "1 passed, 2 failed", "FAIL empty and wrong", "web-9 does not exist", "FAIL of different families: there is no connection that it is about")
}

// TestInvariantsAreExplained: on random worlds, explain says of each counter-example what the invariant forbids.
func TestInvariantsAreExplained(t *testing.T) {
	countered := 0
	for seed := range uint64(60) {
		objects := dptest.Random(seed).Objects
		state, _ := resolve(objects)
		all := &cluster{objects: objects, state: state}
		for _, text := range []string{
			`{from: {pods: 'role == "x"'}, to: {pods: 'role != "x"'}, expect: Allow}`, `{from: {pods: 'role == "x"'}, to: {pods: 'has(role)'}, expect: Deny}`,
			`{from: {nets: [0.0.0.0/0]}, to: {namespaces: 'team == "red"'}, expect: Deny, protocol: TCP}`, `{from: {pods: 'all()'}, to: {nets: ["::/0"]}, expect: Allow, icmp: {type: 8}}`,
		} {
			file, err := parseTests("t", []byte("tests: ["+text+"]"))
			if err != nil {
				t.Fatal(err)
			}
			r := file.Tests[0].run(all)
			if r.Counter == nil {
				continue
			}
			countered++
			if r.Passed || r.Result == nil || (r.Result.Verdict.String() == file.Tests[0].Expect) != strings.HasPrefix(r.Error, "can't be proven") {
				t.Errorf("seed %d: %s: %s", seed, text, r.Error)
			}
		}
	}
	if countered < 60 {
		t.Errorf("%d counter-examples: too few to mean anything", countered)
	}
}

func wd(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
