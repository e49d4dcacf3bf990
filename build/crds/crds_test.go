package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestGeneratedIsCurrent builds controller-gen and generates everything anew, elsewhere.
func TestGeneratedIsCurrent(t *testing.T) {
	out := t.TempDir()
	if err := generate("../..", out); err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{"deploy/crds/*.yaml", "api/*/zz_generated.deepcopy.go"} {
		want, got := read(t, "../..", pattern), read(t, out, pattern)
		if len(want) == 0 {
			t.Errorf("%s: no such files", pattern)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s is not what the types say (run make generate; -there +generated):\n%s", pattern, diff)
		}
	}
}

// read is the text of the files of a pattern, by name.
func read(t *testing.T, root, pattern string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, pattern))
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name, err := filepath.Rel(root, file)
		if err != nil {
			t.Fatal(err)
		}
		texts[name] = string(data)
	}
	return texts
}
