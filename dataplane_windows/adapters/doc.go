// Package adapters says which addresses the host itself has, and follows them: what a pod's own node may send to it comes from these.
//
// The host is asked by GetAdaptersAddresses, without GAA_FLAG_INCLUDE_PREFIX (net.Interfaces asks with it, and fails on hosts where a prefix
// can't be told), and tells of changes by NotifyUnicastIpAddressChange. Neither PowerShell nor netsh is run.
//
// Invariants: an address counts by what it is, not by its adapter: all unicast addresses in the host's own network compartment count, whatever
// virtual switch they belong to, those of pods' compartments don't; nor do loopback and link-local addresses, which are not the host's alone,
// nor one that is not yet known to be unique or is known not to be. While the host can't be asked, the last answer stands. Files with a build
// constraint only make calls.
package adapters
