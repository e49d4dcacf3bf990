// Package probe tries on a Linux host, in network namespaces of its own, each form of rules that the renderer writes: the driver enforces a small
// State there, packets are sent through it, and what became of them is compared with what policy says. So a kernel or an iptables that does something
// else is found before pods lean on it.
//
// Invariants: nothing outside of the namespaces is changed, and they are gone with the process, however it ends; a trial whose rules can't be written,
// or whose packets can't be sent, proves nothing.
//
// Run must be called in a process that is in a network namespace of its own, empty but for loopback: it refuses to run in any other.
package probe
