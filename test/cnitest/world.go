//go:build linux

package cnitest

import (
	"testing"

	"github.com/felid-net/felid/datastore"
)

// World is a node with an agent on it. Its datastore has the pools Pool4 and Pool6, and the Profile of the namespace "web" allows
// everything.
type World interface {
	// Start starts the agent and returns when it serves.
	Start(t *testing.T)
	// Kill ends the agent as a power cut would.
	Kill(t *testing.T)
	// Netns is the name (as of "ip netns") of the node's network namespace.
	Netns() string
	Socket() string
	// Node is the node's name.
	Node() string
	// Store is the agent's datastore as it is now, seen by somebody else.
	Store() datastore.Store
}

// Faulty is a World whose agent can be held up.
type Faulty interface {
	World
	// Hold keeps new endpoints from being in force while it is true.
	Hold(t *testing.T, hold bool)
	// OutOfSync keeps the agent from being ready while it is true.
	OutOfSync(t *testing.T, out bool)
	// SetTimeout is how long the agent works on a request; it counts from the next Start on.
	SetTimeout(t *testing.T, d string)
}

// The pools of a World.
const (
	Pool4 = "10.65.0.0/16"
	Pool6 = "fd65::/64"
)
