// Package routing decides, from nodes, pools and address blocks, what one host routes and masquerades: a route to each block of another
// node, by that node's address; a blackhole for each block of its own, so that an address which no endpoint has is not sent around;
// VXLAN tunnel ends; and the pools whose connections to the outside are masqueraded.
//
// Resolver is incremental, Resolve is from scratch, and they agree after any sequence of updates. What can't be read is left out: what is
// wrong with an object is said by validation, not here.
//
// Invariants: the package is pure; what it says depends on the objects it has been given last, never on their order. It does not look at
// the kernel, and it does not advertise routes.
package routing
