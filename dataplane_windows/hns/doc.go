// Package hns holds the objects of the Windows Host Networking Service as plain structs, reads and builds the JSON of schema 2 that HNS takes and gives,
// and asks HNS for them: Client over Calls. All of it compiles everywhere but Open, which gives the calls of a real host.
//
// Invariants: an ACL that somebody else put on an endpoint is kept as HNS gave it, byte for byte; every error of HNS is an *Error, judged here and not by
// hcsshim, whose own judgement misses most; nothing is remembered between calls.
//
// An operation of Calls is one or more calls to the DLLs: Version 1 (vmcompute.dll, schema 1), List 1 and 3 for each object (open, query, close), Get 4,
// Create 3 (of an endpoint 5), Modify 4 (open, modify, query, close), Delete 1. A Close never reaches the service.
//
// Nothing of policy is known here: which ACLs, on which endpoint, and when again after a failure, is the driver's to say.
package hns
