package probe

import (
	"context"
	"net/netip"
)

// Packets sends packets between the ends of a probe.
type Packets interface {
	// Usable says why packets can't be sent on this host at all, before anything is made; nil: they can.
	Usable() error
	// Ready waits until sockets can have the ends' addresses.
	Ready(ctx context.Context, ends []End) error
	// Open opens a connection from one end to a port of another (of UDP: sends and gets an answer), from another port each time. The Conn is nil where
	// no answer came in time. Connections to different ports may be opened beside each other.
	Open(ctx context.Context, from, to End, protocol uint8, port uint16) (Conn, error)
}

// Conn is a connection that was answered.
type Conn interface {
	// Push sends from the far end, and tells whether the near end got it.
	Push(ctx context.Context) (bool, error)
	Close() error
}

// End is where a packet comes from or goes to.
type End struct {
	Endpoint    string // ID; "" for the host itself
	Compartment uint32 // of its namespace; 0 for the host's own
	Address     netip.Addr
}
