package install

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// envRuns: this process is a plugin that runs until its input ends.
const envRuns = "FELID_TEST_RUNS"

func TestMain(m *testing.M) {
	if os.Getenv(envRuns) != "" {
		_, _ = io.WriteString(os.Stdout, "runs\n")
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestUpgradeWhilePodsStart: the program is exchanged while it runs, twice, and what was put aside goes when it has ended.
func TestUpgradeWhilePodsStart(t *testing.T) {
	from, dir := t.TempDir(), t.TempDir()
	bin := binFolder{dir: dir, from: from, windows: true}
	self, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	for version := range 3 {
		program := append(bytes.Clone(self), byte(version)) // what follows a program is no part of it
		if err := os.WriteFile(filepath.Join(from, "felid-cni.exe"), program, 0o755); err != nil {
			t.Fatal(err)
		}
		if _, err := bin.install(true); err != nil {
			t.Fatalf("version %d: %v", version, err)
		}
		if now, err := os.ReadFile(bin.path(pluginName)); err != nil || !bytes.Equal(now, program) {
			t.Fatalf("version %d: %v, %d bytes", version, err, len(now))
		}
		t.Cleanup(run(t, bin.path(pluginName)))
	}
	if err := bin.remove(); err != nil {
		t.Errorf("removing it while it runs: %v", err)
	}
	if _, err := os.Stat(bin.path(pluginName)); !os.IsNotExist(err) {
		t.Errorf("it is still there: %v", err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 3 {
		t.Errorf("put aside: %v, %v; want the three that run", left, err)
	}
	for _, d := range left {
		if !strings.HasPrefix(d.Name(), asidePrefix) {
			t.Errorf("left: %s", d.Name())
		}
	}
}

// run starts a program, and returns when it runs.
func run(t *testing.T, path string) (stop func()) {
	t.Helper()
	cmd := exec.Command(path)
	cmd.Env = append(os.Environ(), envRuns+"=yes")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
}
