package windows

import (
	"context"
	"testing"
	"time"

	"github.com/felid-net/felid/test/windows/emulator"
	"github.com/felid-net/felid/test/windows/wine"
)

// pure are tests of dataplane_windows that take long and are of what is the same everywhere: rendering, and errors that have been tried natively.
const pure = "SharedCases|TiersWithPass|EveryError|Composed|Thousand|TooMany|Lists.*Decide|EqualMeaning"

// lane are the packages whose tests run as Windows programs too: what the agent and the plugin are made of there and may differ there, by files, pipes,
// clocks, DLLs or goroutines. (Pure packages are the same everywhere.) Race says that they run with the race detector besides.
var lane = []struct {
	pkg  string
	race bool
	args []string
}{
	{pkg: "./cni"},
	{pkg: "./cni/install"},
	{pkg: "./cni/server", race: true},
	{pkg: "./dataplane/knock"},
	{pkg: "./dataplane_windows", race: true, args: []string{"-test.skip=" + pure}},
	{pkg: "./dataplane_windows/adapters", race: true},
	{pkg: "./dataplane_windows/hns", race: true},
	{pkg: "./dataplane_windows/probe"},
	{pkg: "./internal/config"},
	{pkg: "./internal/cli", args: []string{"-test.run=Service|Crash"}}, // the rest is the same everywhere
	{pkg: "./internal/preflight"},
	{pkg: "./datastore/kube", args: []string{"-test.run=HostProcess"}},
}

func TestPackagesOnWindows(t *testing.T) {
	for _, l := range lane {
		t.Run(l.pkg, func(t *testing.T) {
			t.Run("plain", func(t *testing.T) { runTests(t, l.pkg, wine.Options{}, l.args) })
			if l.race {
				t.Run("race", func(t *testing.T) { runTests(t, l.pkg, wine.Options{Race: true}, l.args) })
			}
		})
	}
}

func runTests(t *testing.T, pkg string, o wine.Options, args []string) {
	t.Helper()
	exe := wine.TestProgram(t, pkg, o)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := wine.NewNode(t, emulator.Options{}).Command(ctx, exe, args...)
	cmd.Dir = wine.Folder(t, pkg)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
