//go:build !windows

package cni

import (
	"context"
	"net"
)

// DefaultSocket is where the agent listens unless the configuration says otherwise.
const DefaultSocket = "/run/felid/cni.sock"

const pipes = false

// Dial connects to the agent. That it is one, the mode of the socket's folder vouches for.
func Dial(ctx context.Context, socket string) (Conn, error) {
	return new(net.Dialer).DialContext(ctx, "unix", socket)
}
