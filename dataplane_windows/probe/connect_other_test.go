//go:build !windows

package probe_test

import (
	"testing"

	"github.com/felid-net/felid/dataplane_windows/hns"
	"github.com/felid-net/felid/test/windows/emulator"
)

// connect gives the calls to an emulator, in process.
func connect(_ *testing.T, s *emulator.Server) hns.Calls { return s.Calls() }

// thin makes fewer runs of those tests that make many: not here.
const thin = false
