// Package probe tries on a Windows host what felid takes for granted about HNS (docs/windows.md, H1 to H41): on a network of its own, with two
// endpoints of its own, it writes ACLs in each form that the renderer uses, sends packets, and compares. What comes of it chooses the form of the
// node's lists: sets only where they were proven there, IPv6 likewise, and a node on which something is false that nothing but packets shows
// denies everything.
//
// Invariants: nothing of others is touched: the probe's objects have IDs and names of their own, by which what a probe left behind that was cut
// off is found and taken away; an assumption counts as false only if it is so twice, the second time without haste; what could not be tried is
// never called proven.
//
// How packets are sent is behind a seam, Packets. On a real host they go between sockets in the network compartments of the two endpoints: that part
// (sockets_windows.go) has not run on a real host yet.
package probe
