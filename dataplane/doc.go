// Package dataplane is the seam between the core, which decides, and the drivers, which make a host enforce and route.
//
// State is the resolved shape of policy: no selectors, no names left to look up. Rules speak of IP sets, prefixes and ports.
// Dataplane is the interface that a driver implements; Fake is its in-memory twin, with real semantics.
//
// Invariants: a State belongs to whoever resolved it and is read-only for everybody else; all output is a function of the current
// State only; Changes are a shortcut and never the truth. The package does no I/O and imports nothing of ours.
package dataplane
