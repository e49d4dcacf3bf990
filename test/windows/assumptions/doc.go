// Package assumptions holds the test that makes every assumption about HNS (docs/windows.md, H1 to H41) false in turn, on simulated Windows nodes with
// the real driver and the real probe, and says what becomes of policy then: the same, closed, open, reported. Its table is what docs/windows.md
// says of each.
package assumptions
