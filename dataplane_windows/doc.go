// Package windows makes a Windows host enforce a dataplane.State, by the Host Networking Service (HNS).
//
// # Lists
//
// HNS knows ordered lists of ACLs per endpoint, and neither tiers, negation, named ports, types of ICMP nor logging. A Renderer
// computes exactly what can be: tiers with Pass become one list, what is negated is written as its complement, named ports as
// numbers. What can't be is reported: an Allow is left out, a Deny or Pass denies all that it might cover, Log has no effect.
// What is taken for granted about HNS has numbers, H1 to H41, in docs/windows.md.
//
// There are two forms. In the plain one IP sets are expanded: the member of a set is in every list that uses it. In the form with
// sets, a rule that asks for one IP set and nothing else of an address names a set of the network, one for each family, and a member
// moves that set alone. Members are written all the same where more is asked (several sets, nets and a set, a negated set), where
// tiers have to be intersected by them, and for a named port of a protocol other than TCP, as an ACL that names a set has no room for
// addresses. A rule whose set is empty is left out, so that no empty set need stand on a network. A List says which sets it
// names, whose members it was made from, and which came and went; an Index finds the lists that a change may concern.
//
// Invariants: the output depends on the State and the Options alone, text for text, and rules that mean the same in another order, twice or
// in parts give the same text but for their IDs, which name policy and rule; priorities of a direction rise with every rule, so that no two
// are equal; every list ends with a rule for everything in both directions, as the default of HNS differs between versions of
// Windows; a match without addresses leaves its rule out, because an empty field means any address to HNS; an ACL names addresses
// of one family only, and none of IPv6 where neither host nor endpoint has it; a field has at most 4,000 items and a direction of an
// endpoint at most 9,900 ACLs: what is more is denied, and reported.
//
// Compose puts a list among the ACLs of others on an endpoint: what they block stays blocked, what they allow comes behind
// ours, their settings stay as they are. Where another policy engine has written, it says which, and nothing is to be written.
//
// A host endpoint gets no list: it is reported as unsupported, and pods are as without it.
//
// # Driver
//
// A Driver finds the endpoints of the State in HNS and holds their lists and sets there. Its files make no decision about policy.
package windows
