package cli

import (
	"encoding/json"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane/dptest"
	"github.com/felid-net/felid/dataplane/flatten"
)

// withFix are resources with a fix made, and nothing else.
func withFix(objects []v3.Object, f *fix) []v3.Object {
	out := slices.DeleteFunc(slices.Clone(objects), func(o v3.Object) bool {
		return slices.Contains(f.Deletes, v3.KeyOf(o).String()) ||
			slices.ContainsFunc(f.objects, func(other v3.Object) bool { return v3.KeyOf(other) == v3.KeyOf(o) })
	})
	return append(out, f.objects...)
}

// mustDo holds a fix to what it says of itself, by resolving everything from scratch.
func mustDo(t *testing.T, c *cluster, found *finding, f *fix) {
	t.Helper()
	now, _ := resolve(withFix(c.objects, f))
	real := newDiffAnswer(flatten.Diff(c.state, now))
	switch {
	case f.Keeps && real.differs():
		t.Errorf("%s %s %s: %q is said to keep every verdict, but opens %v and closes %v", found.Rule, found.Object, found.Field, f.Title, real.Opens, real.Closes)
	case f.Effect != nil:
		if diff := cmp.Diff(jsonText(t, f.Effect), jsonText(t, real)); diff != "" {
			t.Errorf("%s %s %s: %q does otherwise than said (-said +done):\n%s", found.Rule, found.Object, found.Field, f.Title, diff)
		}
	}
}

func jsonText(t *testing.T, v any) string {
	t.Helper()
	text, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestFixesDoWhatTheySay is of every rule, in random clusters.
func TestFixesDoWhatTheySay(t *testing.T) {
	keep, change := map[string]int{}, map[string]int{}
	for seed := range uint64(24) {
		objects := dptest.Random(seed).Objects
		state, _ := resolve(objects)
		c := &cluster{objects: objects, state: state}
		for _, found := range c.lint() {
			for _, f := range found.Fixes {
				mustDo(t, c, &found, &f)
				if f.Keeps {
					keep[found.Rule]++
				} else if f.Effect != nil {
					change[found.Rule]++
				}
			}
		}
	}
	t.Logf("fixes that keep every verdict: %v; others: %v", keep, change)
	for _, rule := range []string{"unused", "poor-scope", "baked-in", "shadowed"} {
		if keep[rule] == 0 {
			t.Errorf("no fix of %s keeps every verdict: too few to mean anything", rule)
		}
	}
}

// TestEveryRuleProposes is of a cluster with a mistake of each kind: which fixes there are, and that the mistake is gone with the first
// one that keeps every verdict.
func TestEveryRuleProposes(t *testing.T) {
	args := []string{"-f", "testdata/cluster.yaml", "-f", "testdata/lint.yaml", "-f", "testdata/lint-more.yaml"}
	objects, err := readObjects(t, args[1], args[3], args[5])
	if err != nil {
		t.Fatal(err)
	}
	state, _ := resolve(objects)
	c := &cluster{objects: objects, state: state}
	fixed := map[string]bool{}
	for _, found := range c.lint() {
		if len(found.Fixes) == 0 && found.Proposal == "" {
			t.Errorf("%s %s proposes nothing", found.Rule, found.Object)
		}
		for n, f := range found.Fixes {
			mustDo(t, c, &found, &f)
			if !f.Keeps && f.Effect == nil {
				t.Errorf("%s %s: %q does not say what it opens and closes: %s", found.Rule, found.Object, f.Title, f.Unknown)
			}
			if n > 0 {
				continue
			}
			fixed[found.Rule] = true
			after := withFix(objects, &f)
			now, _ := resolve(after)
			for _, other := range (&cluster{objects: after, state: now}).lint() {
				if other.Rule == found.Rule && other.Object == found.Object && other.Field == found.Field && other.Message == found.Message {
					t.Errorf("%s %s %s is found again after: %s", found.Rule, found.Object, found.Field, f.Title)
				}
			}
		}
	}
	for _, rule := range lintRules {
		if !fixed[rule.name] {
			t.Errorf("no finding of %s has a fix", rule.name)
		}
	}
	golden(t, "lint.txt", call(t).run(append([]string{"lint"}, args...)...).out)
	golden(t, "lint-fix.txt", call(t).run(append([]string{"lint", "--fix"}, args...)...).out)
}

func readObjects(t *testing.T, files ...string) ([]v3.Object, error) {
	t.Helper()
	env := func(string) (string, bool) { return "", false }
	in := &input{app: &App{In: strings.NewReader(""), Out: io.Discard, Err: io.Discard, Env: env}, files: files}
	return in.objects(t.Context())
}

// TestExamplesArePlanned is the contract for the examples: each finding proposes a change and says what it would open or close.
func TestExamplesArePlanned(t *testing.T) {
	for _, files := range [][]string{{examples}, {examples, "testdata/cluster.yaml", "testdata/examples.yaml"}} {
		args := []string{"lint", "-o", "json"}
		for _, f := range files {
			args = append(args, "-f", f)
		}
		var found []finding
		if err := json.Unmarshal([]byte(call(t).ok(args...).out), &found); err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			said := slices.ContainsFunc(f.Fixes, func(x fix) bool {
				return x.Keeps || x.Effect != nil || len(files) == 1 && (x.Unknown != "" || strings.Contains(x.Title, "without endpoints")) ||
					f.Object == "GlobalNetworkPolicy allow-cluster-internal-ingress" && strings.Contains(x.Unknown, "host endpoints")
			})
			if !said {
				t.Errorf("%s %s %s: no fix says what it opens and closes: %q", f.Rule, f.Object, f.Field, f.Proposal)
			}
		}
	}
}
