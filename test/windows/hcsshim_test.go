package windows

import (
	"context"
	"fmt"
	"regexp"
	"testing"
	"time"

	"github.com/felid-net/felid/test/windows/emulator"
	"github.com/felid-net/felid/test/windows/wine"
)

// hcsshimTests is the number of integration tests in hcsshim v0.15.0's package hcn.
const hcsshimTests = 78

// everyVersion is each build with each version that its HNS may have.
func everyVersion() (all []emulator.Options) {
	for _, build := range []int{emulator.Server2022, emulator.Server2025} {
		for _, v := range emulator.Versions(build) {
			all = append(all, emulator.Options{Build: build, Version: v})
		}
	}
	return all
}

// TestHcsshimsOwnTests is the emulator's gate: Microsoft wrote these tests for a real host.
func TestHcsshimsOwnTests(t *testing.T) {
	exe := wine.TestProgram(t, "github.com/Microsoft/hcsshim/hcn", wine.Options{Tags: "integration"})
	for _, o := range everyVersion() {
		t.Run(fmt.Sprintf("%d-%d.%d", o.Build, o.Version.Major, o.Version.Minor), func(t *testing.T) {
			node := wine.NewNode(t, o)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			out, err := node.Command(ctx, exe, "-test.v").CombinedOutput()
			passed := len(regexp.MustCompile(`(?m)^--- PASS`).FindAll(out, -1))
			if err != nil || passed != hcsshimTests {
				t.Errorf("%d of %d tests pass, error %v\n%s", passed, hcsshimTests, err, out)
			}
		})
	}
}
