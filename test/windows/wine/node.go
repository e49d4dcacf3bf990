package wine

import (
	"context"
	"net"
	"os/exec"
	"testing"

	"github.com/felid-net/felid/test/windows/emulator"
)

// Node is a simulated Windows node: a prefix, and an HNS of its own.
type Node struct {
	*emulator.Server
	prefix *Prefix
	env    []string
}

// NewNode starts the HNS of a node; it ends with the test. o.Build chooses the prefix too.
func NewNode(t testing.TB, o emulator.Options) *Node {
	t.Helper()
	if o.Build == 0 {
		o.Build = emulator.Server2022
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &Node{Server: emulator.New(o), prefix: New(t, o.Build), env: []string{"HNSEMU_ADDR=" + l.Addr().String()}}
	ended := make(chan error, 1)
	go func() { ended <- n.Serve(l) }()
	t.Cleanup(func() {
		_ = l.Close()
		if err := <-ended; err != nil {
			t.Errorf("emulator: %v", err)
		}
	})
	return n
}

// Command runs a Windows program on the node.
func (n *Node) Command(ctx context.Context, exe string, args ...string) *exec.Cmd {
	return n.prefix.Command(ctx, n.env, exe, args...)
}
