// Package ipam hands out workload addresses.
//
// Address space is cut into blocks (/26 and /122 by default). A block is affine to one node, which assigns from it; the arithmetic of a
// block is pure (block.go), and everything that is stored goes through compare-and-swap writes of a datastore.Store, without leader
// or lock. Requests of one node that come while a write is under way share the next one.
//
// Invariants:
//   - The block alone decides. An address is taken if and only if its block says so; a handle is an attribute in the block. Block
//     affinities are hints that follow the block: the node that the block names owns it.
//   - An address is written, durably, before it is returned. A crash between any two writes loses at most addresses that nobody was
//     told of, and those are found again by their handle.
//   - Assign is idempotent by handle and family. What a repeated Assign returns has been read back from the datastore in that call.
//
// Handles are looked up in memory: all blocks are listed once when the allocator is first used, and after any write whose outcome is
// unknown; from then on the index follows this allocator's own writes and every block it reads again. A Release of a handle that the
// index does not have lists the blocks again before it says that there is nothing to release.
//
// Where a node may write nothing but its own (Options.Handover), blocks change hands whole: a node asks, and the controller makes an empty
// block its own. Whoever looks after blocks beside their nodes does so by Block, whose changes are compare-and-swap writes as well.
//
// The package does not evaluate selectors (Options has predicates for those), does not read pods, and does not configure anything.
package ipam
