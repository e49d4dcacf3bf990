// Package preflight decides whether felid may be installed, or start, beside what a cluster and a host have already: another owner of
// projectcalico.org, another policy engine. Pure: what was found comes in, findings come out.
//
// Invariants: as the owner of the network felid never starts over somebody else's API or rules; as a guest it reads the resources that
// somebody else serves, and says which of them it can't. A finding says what is there, where, and what to do. Nothing is ever removed.
package preflight
