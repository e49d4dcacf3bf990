// Package netlink makes the routes, and the kernel's settings for interfaces, of one network namespace what they should be, and
// deletes tracked connections.
//
// A Network holds what is desired and what is known to be there; Apply makes the difference. Routes of ours carry the routing protocol
// number Protocol: no other route is changed or removed, and one that stands in our way is an error. An interface that is not there yet
// is reported, and Changed tells when it has come.
//
// Invariants: what is already right is not written; a restart with everything in place makes no write. The package does not decide what
// routes there should be, makes no interfaces, and knows no policy.
package netlink
