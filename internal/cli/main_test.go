package cli

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite golden files")

// caller runs commands as a shell would.
type caller struct {
	t   *testing.T
	env map[string]string
	in  string
}

// outcome is what came of a call.
type outcome struct {
	status   int
	out, err string
}

func (c caller) run(args ...string) outcome {
	c.t.Helper()
	var out, errs bytes.Buffer
	env := func(key string) (string, bool) {
		v, ok := c.env[key]
		return v, ok
	}
	status := Main(c.t.Context(), App{In: strings.NewReader(c.in), Out: &out, Err: &errs, Env: env}, args)
	return outcome{status, out.String(), errs.String()}
}

// ok runs a command that must succeed.
func (c caller) ok(args ...string) outcome {
	c.t.Helper()
	o := c.run(args...)
	if o.status != 0 {
		c.t.Fatalf("felid %s: status %d\n%s", strings.Join(args, " "), o.status, o.err)
	}
	return o
}

func call(t *testing.T) caller { return caller{t: t} }

// golden compares text with a file, or rewrites the file.
func golden(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join("testdata", "golden", name)
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), text); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// file makes a file and returns its path.
func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// wants checks that text holds each of the parts.
func wants(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("no %q in:\n%s", part, text)
		}
	}
}
