// Package selector parses, prints and evaluates label selectors, the language in which policies say what they apply to:
//
//	role == "db" && env in {"prod", "staging"} && !has(legacy)
//
// Forms, with k a label key of [A-Za-z0-9_./-] (at most 512 characters) and s a string in single or double quotes, without escape
// sequences:
//
//	k == s    k != s    k in {s, …}    k not in {s, …}    k notin {s, …}
//	k contains s    k starts with s    k ends with s
//	has(k)    all()    global()    !expr    (expr)    expr && expr    expr || expr
//
// "!" binds tighter than "&&", which binds tighter than "||". White space is blank and tab. The empty text is all(). Where a label
// is missing, != and "not in" are true, and every other comparison is false. global() stands for what belongs to no namespace.
//
// A Selector is immutable and has one canonical text: operands of && and || are flattened, sorted and without duplicates, sets
// are sorted, a set of one is ==, and a negated comparison is its opposite. Equal texts mean the same, so that a text may name an
// IP set. Printing and parsing again gives the same selector and the same text.
//
// The package does not know where labels come from, nor does it index them: Restrictions is what an index needs.
package selector
