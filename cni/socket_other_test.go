//go:build !windows

package cni

import (
	"net"
	"path/filepath"
	"testing"
)

// newSocket is where nobody listens yet.
func newSocket(t *testing.T) string { return filepath.Join(t.TempDir(), "s") }

func listenOn(t *testing.T, socket string) net.Listener {
	t.Helper()
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}
