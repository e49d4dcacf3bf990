// Package windows makes a Windows host enforce and route a dataplane.State, by the Host Networking Service (HNS).
//
// HNS knows ordered lists of ACLs per endpoint, and neither tiers nor sets, negation, named ports, types of ICMP or logging. Render
// computes exactly what can be: tiers with Pass become one list, sets are expanded, what is negated is written as its complement,
// named ports as numbers. What can't be is reported: an Allow is left out, a Deny or Pass denies all that it might cover, Log has no
// effect.
//
// Invariants: the output depends on the State alone, text for text; priorities of a direction rise with every rule, so that no two
// are equal; every list ends with a rule for everything in both directions, as the default of HNS differs between versions of
// Windows; a match without addresses leaves its rule out, because an empty field means any address to HNS; an ACL names addresses
// of one family only, and none of IPv6 where neither host nor endpoint has it.
//
// The package makes no HNS call yet. A host endpoint gets no list: it is reported as unsupported, and pods are as without it.
package windows
