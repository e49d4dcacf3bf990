// Package server is the agent's side of CNI: it assigns addresses, connects containers to the host, gives their endpoints to the node
// loop, and answers the plugin when policy is in force.
//
// # Order
//
// ADD makes the pair of interfaces (marked with network, container and interface; the host's side down), assigns addresses, configures
// them and brings the host's side up, then gives the endpoint to the loop and writes its record, both at once, and answers when the
// loop has it in force and the record is durable. DEL goes the other way: out of the kernel's rules, with the tracked connections; the
// interface; the addresses; the record. An ADD that fails, runs out of time or whose plugin hangs up is undone by DEL's steps.
//
// So, whenever the agent dies:
//   - An interface is there before an address is assigned. Its alias is the owner's name: an address that was assigned for an ADD that did
//     not end is found by it, and released.
//   - An address is released after its interface has gone and its tracked connections with it; no two pods ever have it at once.
//   - A host's interface that no endpoint in force has is dropped by the dataplane, so nothing passes before policy, nor after DEL
//     has begun.
//   - A record is erased last, so a DEL that did not end leaves what the next one needs.
//
// Rebuild puts this to use when an agent without memory starts: it adopts what has both a record and an interface that says the same,
// and takes away the rest, by DEL's steps. On a machine that was started anew, interfaces are gone, and so all records are leftovers.
//
// # Invariants
//
//   - Requests for one record (a pod's interface, or that of a container without a pod) are served one at a time, others side by side.
//   - The newest sandbox of a pod has the pod's record and interface. A DEL for one before it releases what that one's handle has, and
//     touches nothing else. Nobody erases the record of another container, or another node.
//   - Whatever is missing is no error for DEL.
//   - An error that is not the request's own fault has code 11: the runtime tries again.
//
// # On Linux
//
// A pod has /32 and /128 addresses and default routes by 169.254.1.1 and fe80::ecee:eeff:feee:eeee with a permanent neighbour
// entry, so that its first packet waits for nothing. An interface of a pod that has a default route already gets a routing table of
// its own, looked up by its source address. Nothing forks, no sysctl is waited for, and IPv6 addresses skip duplicate address detection.
// Host routes, proxy ARP and sysctls of the host's side are the dataplane's.
//
// # As a guest
//
// Beside another network plugin the server is the gate at the end of the plugin's list (Options.Guest). ADD finds the host's interface as the
// other end of the pod's, takes the addresses from the result of the plugins before, and does the last step above: endpoint and record.
// DEL takes both back. Interfaces and addresses are the other plugin's. Pods that were there before the gate have no record.
//
// # On Windows
//
// The server is a guest there, and nothing else in this version. The network namespace of a request is one of HNS, by its GUID, and the host's end of a
// pod is the HNS endpoint that is attached to it, which must have the addresses of the result and be the only one: another would be without
// policy. Its ID is the record's interface. Calls of HNS can't be ended: one that does not return is left behind when the request's time is over. The
// socket is a named pipe, which the first agent has for itself.
//
// It does not evaluate policy or choose pools.
package server
