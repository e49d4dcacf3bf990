// Package delta compares what should be with what is known to be, one key at a time.
//
// A Map is told of both sides, in any order and any number of times, and names the keys at which they differ: updates (wanted, and absent
// or different) and removals (there, and not wanted). Entries that agree are stored once, and iteration costs what differs and not what
// is held.
//
// Invariants: a key is either in agreement or pending, never both; Updates and Removals are disjoint. The package is pure: it
// does no I/O, takes no lock, and a Map is not safe for use by several goroutines.
package delta
