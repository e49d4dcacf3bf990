package cli

import (
	"encoding/json"
	"encoding/xml"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPolicyTestsPass(t *testing.T) {
	if diff := cmp.Diff("15 passed, 0 failed\n", call(t).ok("test", "testdata/unit.yaml").out); diff != "" {
		t.Error(diff)
	}
}

func TestPolicyTestsFail(t *testing.T) {
	o := call(t).run("test", "testdata/failing.yaml", "testdata/unit.yaml")
	if o.status != exitNo {
		t.Errorf("status %d", o.status)
	}
	golden(t, "test-failing.txt", o.out)
}

func TestPolicyTestsAsJSON(t *testing.T) {
	o := call(t).run("test", "-o", "json", "testdata/failing.yaml")
	if o.status != exitNo {
		t.Errorf("status %d", o.status)
	}
	var results []struct {
		Name   string
		Passed *bool
		Error  *string
		Result *struct {
			Verdict string
			Ingress *struct{ Endpoint string }
		}
	}
	decoder := json.NewDecoder(strings.NewReader(o.out))
	if err := decoder.Decode(&results); err != nil {
		t.Fatal(err)
	}
	if len(results) != 8 {
		t.Fatalf("%d results", len(results))
	}
	first, missing, last := results[0], results[2], results[7]
	if *first.Passed || first.Result.Verdict != "Deny" || first.Result.Ingress.Endpoint != "pod/app-ns/app-1" {
		t.Errorf("first: %+v", first)
	}
	if *missing.Passed || missing.Result != nil || !strings.Contains(*missing.Error, "pod/web-ns/web-9 does not exist") {
		t.Errorf("missing: %+v", missing)
	}
	if !*last.Passed || *last.Error != "" || last.Result.Verdict != "Allow" {
		t.Errorf("last: %+v", last)
	}
}

func TestPolicyTestsAsJUnit(t *testing.T) {
	o := call(t).run("test", "-o", "junit", "testdata/failing.yaml")
	var suite junitSuite
	if err := xml.Unmarshal([]byte(o.out), &suite); err != nil {
		t.Fatal(err)
	}
	if suite.Tests != 8 || suite.Failures != 7 || len(suite.Cases) != 8 || suite.Cases[7].Failure != nil || suite.Cases[0].Failure == nil {
		t.Errorf("got %+v", suite)
	}
	if o.status != exitNo {
		t.Errorf("status %d", o.status)
	}
}

// TestPolicyTestsOnMoreResources: files given by -f are added to those that the test file names; one given twice counts once.
func TestPolicyTestsOnMoreResources(t *testing.T) {
	path := file(t, "t.yaml", "tests: [{name: a, from: pod/web-ns/web-2, to: pod/app-ns/app-1, port: 22, expect: Deny}]")
	call(t).ok("test", path, "-f", "testdata/cluster.yaml", "-f", "testdata/policies.yaml", "-f", "./testdata/policies.yaml")
	call(t).ok("get", "tiers", "-f", "../../test/examples", "-f", "../../test/examples/09-tiered-well-scoped.yaml")
	if o := call(t).run("test", path, "-f", "testdata/cluster.yaml"); o.status != exitNo || !strings.Contains(o.out, "expected Deny, but it is Allow") {
		t.Errorf("status %d:\n%s", o.status, o.out)
	}
}

func TestExampleInHelpIsATestFile(t *testing.T) {
	file, err := parseTests("help", []byte(testExample))
	if err != nil || len(file.Tests) != 2 || len(file.Tests[0].Port) != 2 || len(file.Resources) != 2 {
		t.Errorf("%+v, %v", file, err)
	}
}

func TestBadPolicyTests(t *testing.T) {
	o := call(t).run("test", "testdata/bad-tests.yaml")
	if o.status != exitUsage || o.out != "" {
		t.Errorf("status %d, printed %q", o.status, o.out)
	}
	golden(t, "bad-tests.txt", o.err)
}

func TestNotATestFile(t *testing.T) {
	for text, problem := range map[string]string{
		"tests: 3":                              "line 1",
		"test: []":                              "field test not found",
		"":                                      "tests: is empty",
		"resources: {a: b}\ntests: [{}]":        "line 1",
		"\ttests:":                              "cannot start any token",
		"tests:\n- from: [a]\n  to: 10.0.0.1\n": "t.yaml:2: tests[0] \"\": from",
	} {
		o := call(t).run("test", file(t, "t.yaml", text))
		if o.status != exitUsage {
			t.Errorf("%q: status %d", text, o.status)
		}
		wants(t, o.err, problem)
	}
}

// FuzzParseTests: what is accepted can be looked up; what is not says why.
func FuzzParseTests(f *testing.F) {
	for _, path := range []string{"testdata/unit.yaml", "testdata/failing.yaml", "testdata/bad-tests.yaml"} {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("tests: [{port: [1, \"2:3\"], icmp: {}}]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := parseTests("f", data)
		if err != nil {
			if err.Error() == "" {
				t.Error("an error without words")
			}
			return
		}
		for _, test := range file.Tests {
			if (test.flow == nil) != (test.From.many != nil || test.To.many != nil) || (test.flow == nil) == (test.invariant == nil) {
				t.Errorf("accepted without ends: %+v", test)
			}
		}
	})
}
