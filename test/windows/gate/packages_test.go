// Package gate_test runs the gate of a Windows node under Wine: felid-cni.exe, an agent, its pipe, and HNS emulated.
package gate_test

import (
	"context"
	"testing"
	"time"

	"github.com/felid-net/felid/test/windows/emulator"
	"github.com/felid-net/felid/test/windows/wine"
)

// TestPackages runs the tests of the packages of the gate as they are on Windows.
func TestPackages(t *testing.T) {
	node := wine.NewNode(t, emulator.Options{})
	for _, pkg := range []string{"./cni", "./cni/install", "./cni/server"} {
		t.Run(pkg, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			cmd := node.Command(ctx, wine.TestProgram(t, pkg, wine.Options{}), "-test.v")
			cmd.Dir = "../../../" + pkg
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			} else if testing.Verbose() {
				t.Logf("%s", out)
			}
		})
	}
}
