package linux

import (
	"slices"
)

// maxBranch is how many interfaces a chain of a dispatch tree tells apart by full name. Beyond, it tells them apart by their next
// character.
const maxBranch = 16

// dispatchTree renders the chains that take a packet to the chain of its endpoint, by the name of the interface; option is "-i" or "-o",
// names are sorted. An interface that is not among them is dropped. The tree is a function of the names alone, and one name more or
// less changes the chain it is in, seldom one above. Every step is a goto, so that an endpoint's chain returns to whoever entered the
// root.
func (r *renderer) dispatchTree(root, option string, names []string, leaf func(iface string) string) []Chain {
	var out []Chain
	var branch func(chain string, names []string)
	branch = func(chain string, names []string) {
		type below struct {
			prefix string
			names  []string
		}
		var later []below
		if len(names) <= maxBranch {
			for _, n := range names {
				r.w.add(option, " ", n, " -g ", leaf(n))
			}
		} else {
			for depth := commonPrefix(names); len(names) > 0; {
				n := sameAt(names, depth)
				if n == 1 {
					r.w.add(option, " ", names[0], " -g ", leaf(names[0]))
				} else {
					prefix := names[0][:depth+1]
					r.w.add(option, " ", prefix, "+ -g ", root, "-", prefix)
					later = append(later, below{prefix, names[:n]})
				}
				names = names[n:]
			}
		}
		r.w.add("-j DROP")
		out = append(out, r.w.chain(chain, ""))
		for _, b := range later {
			branch(root+"-"+b.prefix, b.names)
		}
	}
	branch(root, names)
	return out
}

// commonPrefix is the length of the longest prefix of all names, which are sorted.
func commonPrefix(names []string) int {
	first, last := names[0], names[len(names)-1]
	n := 0
	for n < len(first) && n < len(last) && first[n] == last[n] {
		n++
	}
	return n
}

// sameAt counts the names, from the first on, that have the same character at depth; a name that ends there stands alone.
func sameAt(names []string, depth int) int {
	if len(names[0]) <= depth {
		return 1
	}
	n := slices.IndexFunc(names, func(s string) bool { return len(s) <= depth || s[depth] != names[0][depth] })
	if n < 0 {
		return len(names)
	}
	return n
}
