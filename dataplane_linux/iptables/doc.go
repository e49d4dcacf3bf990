// Package iptables makes one iptables table hold exactly the chains it is told to, beside whatever others keep there.
//
// A Driver runs one variant of the iptables programs in one network namespace; a Table is one table of one address family. Chains whose
// name begins with Prefix are ours, as are rules of the kernel's own chains (FORWARD …) whose last comment begins with Mark. Nothing
// else is read closely or touched.
//
// Every rule is written with a comment that holds a hash of its chain's name and of itself; a chain's sum is made of those in order. So reading back
// compares numbers and not text, and an agent without memory adopts what is already right without a write. A chain of which few rules change is
// edited where nobody else has written since it was known; else it is written whole.
//
// Invariants: a write is one iptables-restore call and is atomic per table. A chain that the kernel refuses holds one rule that drops,
// is named in Result.Failed, and does not keep the others out. Any doubt about what the kernel holds leads to a read before the next
// write.
//
// The package does not decide what the chains hold, keeps no clock and starts no goroutine. A Table and its Driver belong to one goroutine;
// only Table.ReadBack may run beside it.
package iptables
