// Package flatten does exact arithmetic on what rules match, and makes tiers with Pass one ordered list without it, for dataplanes
// that know neither negation nor tiers.
//
// A Match is a product of sets: protocols, source and destination addresses, source and destination ports. Matches are closed
// under intersection; the difference of two is a list of disjoint ones. Matches writes a rule of the state as such a list, with
// nothing lost: a negated net is the complement of its prefixes, a named port becomes groups of addresses that give the name to
// the same number. Tiers puts the rules of later tiers in the place of each Pass.
//
// Allowed walks tiers with such matches, and Diff compares what two States allow, connection by connection and exactly.
//
// Everything but ICMP types is covered by Matches; a rule that asks for one is reported to the caller as the part that is exact
// and the part that is not. Exact writes types of ICMP as ports. Both families go through the same code. The package is pure.
package flatten
