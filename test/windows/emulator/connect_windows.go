package emulator

import (
	"net"
	"testing"

	"github.com/felid-net/felid/dataplane_windows/hns"
)

// Connect gives the calls through hcsshim and the forwarder DLLs, which ask the server at HNSEMU_ADDR: this one, in the test's own process.
func (s *Server) Connect(t *testing.T) hns.Calls {
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
