// Package knock opens connections between two places of one host, network namespaces or compartments, and says whether they are answered: with it a
// node tries on itself what its dataplane takes for granted. It uses sockets alone, and nothing of the network is changed.
//
// Invariants: a connection counts as answered only if bytes went both ways; every socket is made on a thread that is in its place; what nobody
// answered is no error, what could not be asked is.
package knock
