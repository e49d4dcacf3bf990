package cli

import (
	"encoding/json"
	"slices"
	"testing"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane/dptest"
	"github.com/felid-net/felid/dataplane/flatten"
)

func TestLintFixOfScope(t *testing.T) {
	pods := []string{"-f", "testdata/scope-tier.yaml", "-f", "testdata/pods.yaml"}
	fixed := call(t).ok(append([]string{"lint", "--fix", "-f", poorlyScoped}, pods...)...).out
	golden(t, "lint-fix-scope.txt", fixed)

	// What is printed is what it says: no verdict changes, and the finding is gone.
	path := file(t, "fixed.yaml", fixed)
	wants(t, call(t).ok(append([]string{"diff", "--exit-code", poorlyScoped, path}, pods...)...).out, "nothing opens or closes\n")
	if found := lintOf(t, path, pods[1], pods[3]); found["poor-scope"] != nil {
		t.Errorf("after the fix: %q", found)
	}
}

func TestLintScopeEffect(t *testing.T) {
	var found []finding
	out := call(t).ok("lint", "-o", "json", "-f", poorlyScoped, "-f", "testdata/scope-tier.yaml", "-f", "testdata/pods.yaml").out
	if err := json.Unmarshal([]byte(out), &found); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(found, func(f finding) bool { return f.Rule == "poor-scope" })
	if i < 0 || len(found[i].Fixes) != 2 || found[i].Fixes[0].Effect != nil || found[i].Fixes[1].Effect == nil {
		t.Fatalf("want a fix that keeps every verdict, then one with an effect: %+v", found)
	}
	effect := found[i].Fixes[1].Effect
	if len(effect.Opens) != 1 || effect.Opens[0].String() != "pod/web-ns/web-2 to anywhere, IPv4, all protocols" || len(effect.Closes) != 0 {
		t.Errorf("the narrow policy opens %v and closes %v", effect.Opens, effect.Closes)
	}
	wants(t, found[i].Message, "would release pod/web-ns/web-2 from it")
	wants(t, call(t).ok("lint", "--fix", "-f", examples).out, "# Alternative: the narrower policy alone; without endpoints it can't be said what it opens.\n")
}

// TestScopeFixesHold makes the first fix of every finding in random worlds: where it is offered, nothing opens or closes.
func TestScopeFixesHold(t *testing.T) {
	held := 0
	for seed := range uint64(60) {
		objects := dptest.Random(seed).Objects
		state, _ := resolve(objects)
		for _, f := range poorScopes(&cluster{objects: objects, state: state}) {
			if len(f.Fixes) < 2 {
				continue
			}
			held++
			changed := slices.DeleteFunc(slices.Clone(objects), func(o v3.Object) bool { return v3.KeyOf(o) == f.key })
			now, _ := resolve(append(changed, f.Fixes[0].objects...))
			if a := newDiffAnswer(flatten.Diff(state, now)); a.differs() {
				t.Errorf("seed %d: %s %s: the fix opens %v and closes %v", seed, f.Object, f.Field, a.Opens, a.Closes)
			}
		}
	}
	if held < 20 {
		t.Errorf("%d fixes: too few to mean anything", held)
	}
}
