// Package ipset makes the kernel's IP sets hold the members they are told to, beside sets of others.
//
// Sets is told what each set should hold, as a whole or by what moved, and writes the difference over netlink, without a process: many
// members a message and many messages a call. Names that begin with Prefix4 or Prefix6 are ours; no other set is touched.
//
// Invariants: what a set holds follows what is desired now, whichever rules use it: members come in ApplyAdds, before the tables are written,
// and go in ApplyDeletes, after; sets that no rule uses any more go in ApplyRemoves. A set that can't be made is named in Result and tried again
// at each Apply; it does not keep the others out. A set that has to be made anew while rules use it is filled under another name and swapped.
//
// The kernel's hash:net has no prefix of length 0: it is held as its two halves.
//
// The package does not decide what the sets hold, keeps no clock and starts no goroutine. Sets belongs to one goroutine; only ReadBack may
// run beside it.
package ipset
