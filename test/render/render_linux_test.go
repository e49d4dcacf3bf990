package render

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/felid-net/felid/internal/cli"
)

// printed is what felid prints.
func printed(t *testing.T, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	app := cli.App{In: strings.NewReader(""), Out: &out, Err: &errs, Env: func(string) (string, bool) { return "", false }}
	if status := cli.Main(t.Context(), app, args); status != 0 {
		t.Fatalf("felid %v: status %d\n%s", args, status, &errs)
	}
	return out.String()
}

// TestKernelTakesWhatIsPrinted: in a network namespace of its own, ipset makes the sets, and both variants of iptables find no fault
// with the rules.
func TestKernelTakesWhatIsPrinted(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test makes a network namespace and needs root")
	}
	const cli = "../../internal/cli/testdata/"
	for name, files := range map[string][]string{
		"tiers, ranges, ICMP, named ports": {"-f", cli + "cluster.yaml", "-f", cli + "policies.yaml"},
		"the examples":                     {"-f", cli + "cluster.yaml", "-f", "../examples", "-f", cli + "nobody.yaml"},
	} {
		for _, node := range []string{"node-1", "node-2"} {
			t.Run(name+" on "+node, func(t *testing.T) {
				dir := t.TempDir()
				for _, part := range []string{"ipset", "iptables", "ip6tables"} {
					text := printed(t, append([]string{"render", "--node", node, "--part", part}, files...)...)
					if err := os.WriteFile(filepath.Join(dir, part), []byte(text), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				for _, variant := range []string{"nft", "legacy"} {
					load(t, dir, variant)
				}
			})
		}
	}
}

// load runs the programs in a new network namespace, which goes with them.
func load(t *testing.T, dir, variant string) {
	t.Helper()
	const script = `set -e
ipset restore <ipset
iptables-$1-restore --test <iptables
ip6tables-$1-restore --test <ip6tables
iptables-$1-restore <iptables
ip6tables-$1-restore <ip6tables
iptables-$1-save | grep -c felid-fw-`
	cmd := exec.Command("sh", "-c", script, "sh", variant)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "XTABLES_LOCKFILE="+filepath.Join(dir, "lock"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", variant, err, out)
	}
}
