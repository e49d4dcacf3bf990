// Package controller is the cluster's loop: what one process does for all nodes. It keeps the built-in tiers there and tiers and pools that are in
// use from going, says in their status what is wrong with objects, makes automatic host endpoints, frees addresses that nobody has any more,
// and hands empty blocks from node to node.
//
// One goroutine owns everything that is known. Reconcilers are told of each change, name the items that it touches, and say for an item what
// is to be written; they do no I/O and have no clock. The loop writes what they want, several items at once, tries again with backoff what
// fails, and logs each cause once.
//
// Invariants:
//   - Every write is a compare-and-swap against the very object that it was decided on, and wanted again by whoever looks at its result:
//     a crash between any two writes, and a second controller that believes to lead, do no harm.
//   - What frees or deletes something that may be in use is decided on two looks with a grace period between them, and proven by reading
//     again, right before it is written, the objects that must not be there.
//   - Nothing is planned before everything that was there at the start has been seen.
//
// The package enforces nothing: agents neither need nor notice it, but for blocks that are handed over.
package controller
