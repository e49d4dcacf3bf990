//go:build linux

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestLabCommands goes through felid lab as a person does: up with pods, status, a program in a pod, down.
func TestLabCommands(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "lab")
	felid := func(want int, args ...string) string {
		t.Helper()
		cmd := exec.Command(filepath.Join(bin, "felid"), append([]string{"lab", "--dir", dir}, args...)...)
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != want {
			t.Fatalf("felid lab %v: %v, want status %d\n%s", args, err, want, out)
		}
		return string(out)
	}
	t.Cleanup(func() {
		if _, err := os.Stat(dir); err == nil {
			felid(0, "down")
		}
	})
	felid(3, "status")
	felid(0, "up", "-f", "../demo/cluster.yaml")
	felid(3, "up")
	if status := felid(0, "status"); strings.Count(status, "running") != 2 || !strings.Contains(status, "pod/web-ns/web-3") {
		t.Errorf("status:\n%s", status)
	}
	if addrs := felid(0, "exec", "pod/web-ns/web-1", "--", "ip", "-br", "addr", "show", "eth0"); !strings.Contains(addrs, "10.65.") || !strings.Contains(addrs, "fd00:65::") {
		t.Errorf("addresses: %s", addrs)
	}
	felid(7, "exec", "node/node-1", "--", "sh", "-c", "exit 7")
	felid(2, "exec", "pod/no/such", "--", "true")
	felid(0, "down")
	if _, err := os.Stat(dir); err == nil {
		t.Error("the lab's folder is still there")
	}
}
