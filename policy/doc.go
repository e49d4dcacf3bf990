// Package policy turns stored resources into what one host has to enforce, and says what that does to a flow.
//
// Resolve does it from scratch and is the definition; Resolver does it step by step as resources change, and always gives the State
// that Resolve would give for the resources of now. Both speak the same small language, one file a concept:
//
//	label.go     labels, own and inherited
//	peer.go      endpoint or network set: what selectors select
//	host.go      host endpoints: which of them count, and the stages at which they are asked
//	claims.go    whose an address is that several endpoints claim
//	scope.go     a policy: whom it is for; tier.go: when its turn comes
//	compile.go   stored rules to rules of the dataplane, and the sets that they need
//	sets.go      what an IP set means, and what each peer contributes to it
//	reader.go    elements of objects, those that can't be read left out and reported
//
// Resolve is resolve.go. Resolver is resolver.go, with an index by label (index.go) and what it keeps of each thing (live.go).
//
// Evaluate walks a State as a dataplane does and says what decided, EvaluateForward what a host endpoint does with what its host
// forwards; Explain does so for both ends of a flow and for the host endpoints on the way (way.go). All are about first packets: connection
// tracking is not modelled.
//
// Promote puts staged policies in the place of those that they stand for (staged.go). Status says what becomes of one policy (status.go),
// PeersOf what the selectors of its rules match (rulepeers.go), Unused which select nothing.
//
// Invariants: output is a function of the resources of now only, never of their history. Objects are never changed. What can't be
// read never opens anything, and is named in the Report. The package does no I/O and has no clock, goroutine, lock or logger.
//
// It does not route (dataplane/routing), and does not read Kubernetes' own objects (policy/kube). It does not know which interface of a
// host has which address: that is for the dataplane.
package policy
