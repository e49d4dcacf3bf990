package windows

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/felid-net/felid/test/windows/emulator"
	"github.com/felid-net/felid/test/windows/wine"
)

// TestProbeWithoutPackets is the operator's command where no packets can be sent (Wine has no network compartments): nothing is made, nothing is proven,
// and it says so. What the probe finds where they can is tested in dataplane_windows/probe.
func TestProbeWithoutPackets(t *testing.T) {
	node := wine.NewNode(t, emulator.Options{})
	exe := wine.Program(t, "./cmd/felid", wine.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := node.Command(ctx, exe, "node", "check", "--probe").CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Errorf("%v, want exit status 3\n%s", err, out)
	}
	for _, want := range []string{"H1 NotTried: ", "H41 NotTried: ", "error: nothing was proven on this node: packets can't be sent: this system has no network compartments"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if made, _ := node.Count(emulator.OpCreate, ""); made != 0 {
		t.Errorf("%d objects made", made)
	}
}
