package probe_test

import (
	"net"
	"testing"

	"github.com/felid-net/felid/dataplane_windows/hns"
	"github.com/felid-net/felid/test/windows/emulator"
)

// connect gives the calls through hcsshim and the forwarder DLLs, which ask the server at HNSEMU_ADDR: the emulator, in this process.
func connect(t *testing.T, s *emulator.Server) hns.Calls {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("HNSEMU_ADDR", l.Addr().String())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Serve(l) // ends with the listener
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return hns.Open()
}

// thin makes fewer runs of those tests that make many: a run of some 600 calls takes a second or more under Wine.
const thin = true
