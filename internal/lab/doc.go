// Package lab is a small virtual cluster on one machine: nodes and pods are network namespaces, agents are real processes that share
// a local datastore, and pods are connected through the real felid-cni by libcni. It is behind `felid lab`, the demo and end-to-end
// tests. Linux, and root.
//
// Every node has a namespace of its own, joined to the others by a bridge in a third; its agent has its own iptables lock, socket and
// state folder. Everything that Up made is named after the lab and is found again by its state file, so that Down, in another
// process or after a crash, removes it all. Nothing outside those namespaces and the lab's folder is touched.
package lab
