// Package datastore is the contract of a store of resources: compare-and-swap writes, lists, watches; the sentinels of its errors;
// the Syncer that turns lists and watches into batches of updates; and the conformance suite that every back end passes.
//
// Invariants: an object that a store has handed out is never changed by anybody; a revision is opaque text, equal only for equal
// content; a watch delivers what changed after its revision, once and in order per object (a receiver that is slower than the changes
// may be given only the latest of an object), or ends with ErrExpired.
package datastore
