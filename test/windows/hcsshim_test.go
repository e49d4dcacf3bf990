package windows

import (
	"context"
	"regexp"
	"testing"
	"time"

	"github.com/felid-net/felid/test/windows/emulator"
	"github.com/felid-net/felid/test/windows/wine"
)

// hcsshimTests is the number of integration tests in hcsshim v0.15.0's package hcn.
const hcsshimTests = 78

// TestHcsshimsOwnTests is the emulator's gate: Microsoft wrote these tests for a real host.
func TestHcsshimsOwnTests(t *testing.T) {
	exe := wine.TestProgram(t, "github.com/Microsoft/hcsshim/hcn", wine.Options{Tags: "integration"})
	for name, build := range map[string]int{"Server2022": emulator.Server2022, "Server2025": emulator.Server2025} {
		t.Run(name, func(t *testing.T) {
			node := wine.NewNode(t, emulator.Options{Build: build})
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
