package cli

import (
	"encoding/json"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestValidateExamples(t *testing.T) {
	paths, err := filepath.Glob("../../test/examples/*.yaml")
	if err != nil || len(paths) != 13 {
		t.Fatalf("%d examples (%v)", len(paths), err)
	}
	for _, path := range paths {
		if o := call(t).ok("validate", "-o", "json", "-f", path); o.out != "[]\n" {
			t.Errorf("%s: %s", path, o.out)
		}
	}
	wants(t, call(t).ok("validate", "-f", "../../test/examples").out, "16 valid")
}

func TestValidateStandardInput(t *testing.T) {
	c := call(t)
	c.in = "apiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {name: a}\nspec:\n  order: first\n"
	o := c.run("validate", "-o", "json", "-f", "-")
	if o.status != exitNo {
		t.Errorf("status %d", o.status)
	}
	var faults []map[string]any
	if err := json.Unmarshal([]byte(o.out), &faults); err != nil {
		t.Fatal(err)
	}
	if len(faults) != 1 {
		t.Fatalf("got %v", faults)
	}
	if text, _ := faults[0]["error"].(string); text == "" {
		t.Error("no words")
	}
	delete(faults[0], "error")
	if diff := cmp.Diff(map[string]any{"object": "Tier a", "file": "-", "line": 5., "field": "spec.order"}, faults[0]); diff != "" {
		t.Error(diff)
	}
}

func TestValidateCountsWhatIsNotOurs(t *testing.T) {
	wants(t, call(t).ok("validate", "-f", "testdata/cluster.yaml").out,
		"11 valid\n", "1 of apps/v1 Deployment left alone\n")
}

// TestValidateSaysAll: what can't be read at all does not hide what else is wrong.
func TestValidateSaysAll(t *testing.T) {
	o := call(t).run("validate", "-f", "testdata/all-wrong.yaml")
	if o.status != exitNo || o.err != "" {
		t.Errorf("status %d, printed %q", o.status, o.err)
	}
	golden(t, "all-wrong.txt", o.out)
}
