//go:build !windows

package emulator

import (
	"testing"

	"github.com/felid-net/felid/dataplane_windows/hns"
)

// Connect gives the calls in process; a test on Windows gets those through hcsshim and the DLLs.
func (s *Server) Connect(*testing.T) hns.Calls { return s.Calls() }
