// Package flatten does exact arithmetic on what rules match, and makes tiers with Pass one ordered list without it, for dataplanes
// that know neither negation nor tiers.
//
// # Sets
//
// A Match is a product of sets: protocols, source and destination addresses, source and destination ports. Matches are closed
// under intersection; the difference of two is a list of disjoint ones. Matches writes a rule of the state as such a list, with
// nothing lost: a negated net is the complement of its prefixes, a named port becomes groups of addresses that give the name to
// the same number.
//
// Everything but ICMP types is covered by Matches; a rule that asks for one is reported to the caller as the part that is exact
// and the part that is not. Exact writes types of ICMP as ports. Both families go through the same code.
//
// # One list
//
// Tiers works from the last tier to the first. What the later tiers do is one list, after, of m rules. A tier of n rules, p of which are Pass
// and in this order, becomes one list with it in the cheapest of these forms:
//
//   - Substituted: in the place of Pass rule i stands what after does with its packets. That is n - p + m(1) + … + m(p) rules, where m(i) is the
//     number of rules of after, made tidy, that Pass rule i meets up to the one that has all that is left of it.
//   - Sifted: the rules that decide, each less what Pass rules before it pass, and then after as a whole. That is d + m rules, where d is the
//     number of matches that the deciding rules fall into. It replaces a product by a sum: Pass rules cost what is cut out of the rules behind them.
//   - The first up to one of the Pass rules, and the second from there on.
//
// So a list never costs more than the first form, n - p + p·m rules at most; and t tiers whose Pass rules leave the rules behind them in d matches each
// are at most t·d + m rules, where the first form has up to p^(t-1)·m. (The tests compare the two, on random tiers and on usual ones.)
//
// Each list is made tidy before and after. A rule goes when earlier rules have all of its packets; when later ones do the same to all of them;
// or when no packet can be in it. Two rules with the same action become one when they differ in one set alone and the rules between them
// either do the same or have nothing of the one that moves. Neighbours that do the same stand in one order, whatever order they came in. Thus Pass before tiers that do the same to everything is that action, and Pass
// rules that differ in one set are one. Rules are compared with the 128 nearest, so the work for a list of n rules grows as n.
//
// "Cheap" counts rules, and what a dataplane writes them as: a rule for each family, prefixes for ranges, numbers for protocols.
//
// # Symbols
//
// A dataplane that has IP sets of its own needs no members: Symbols leaves a set that is all that a side of a rule asks of addresses as a name in
// the Match, and lists hold whoever the members are. What would take members to know (whether one set is within another) counts as not known,
// so that a list may be longer than that of its members. Where a result can't be said without them (the intersection of two sets, a set less some
// prefixes), they are taken, and which sets those were is noted: only when these move, the list may be another. Of the forms of a tier before
// others one that takes no members is chosen where there is one.
//
// # Answers
//
// Walk.Allowed is what tiers and profiles allow of matches. Diff compares what two States allow, connection by connection and exactly; Prove
// tells whether a claim on many connections holds, and finds one that breaks it.
//
// The package is pure. It does not know what is decided before policy is asked, but for what Prove says of a node and its own endpoints, and it
// knows workloads' policy alone: neither the stages of host endpoints besides the normal one, nor failsafe ports.
package flatten
