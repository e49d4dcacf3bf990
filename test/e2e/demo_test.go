//go:build linux

package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// demo is the command that `make demo` runs, in a folder of the test's.
func demo(t *testing.T) (cmd *exec.Cmd, out *bytes.Buffer, folder string) {
	t.Helper()
	out, folder = &bytes.Buffer{}, t.TempDir()
	cmd = exec.Command(filepath.Join(bin, "felid"), "lab", "demo", "../demo/demo.yaml")
	cmd.Env = append(os.Environ(), "TMPDIR="+folder)
	cmd.Stdout, cmd.Stderr = out, out
	return cmd, out, folder
}

func TestDemoAgreesWithExplain(t *testing.T) {
	cmd, out, folder := demo(t)
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text := out.String()
	for _, want := range []string{"passed   Allow", "dropped  Deny", "end of tier application", "Every real connection was as explain predicted."} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	nothingLeft(t, cmd, folder)
}

func TestInterruptedDemoCleansUp(t *testing.T) {
	cmd, out, folder := demo(t)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the demo to have made its namespaces", func() error {
		_, err := os.Stat("/run/netns/" + demoSpace(cmd, "node-2"))
		return err
	})
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Errorf("exit status 0 after an interrupt:\n%s", out)
	}
	nothingLeft(t, cmd, folder)
}

func demoSpace(cmd *exec.Cmd, name string) string {
	return "felid-demo-" + strconv.Itoa(cmd.Process.Pid) + "-" + name
}

// nothingLeft looks for namespaces, files and processes of a demo that has ended.
func nothingLeft(t *testing.T, cmd *exec.Cmd, folder string) {
	t.Helper()
	spaces, err := filepath.Glob("/run/netns/" + demoSpace(cmd, "*"))
	if err != nil || len(spaces) > 0 {
		t.Errorf("namespaces left: %v %v", spaces, err)
	}
	files, err := os.ReadDir(folder)
	if err != nil || len(files) > 0 {
		t.Errorf("files left: %v %v", files, err)
	}
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		if line, err := os.ReadFile(p); err == nil && bytes.Contains(line, []byte(folder)) {
			t.Errorf("process left: %s", bytes.ReplaceAll(line, []byte{0}, []byte(" ")))
		}
	}
}
