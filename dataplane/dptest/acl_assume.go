package dptest

import "strconv"

// Assumption is the number of something that felid takes for granted about HNS, as in docs/windows.md.
type Assumption uint8

// The assumptions, and what happens instead where one does not hold. Those without such a note are about calls, not packets: the emulator does
// them.
const (
	H1  Assumption = iota + 1 // the highest number decides
	H2                        // numbers are compared by tens, and of equals the last one decides
	H3                        // a rule without addresses matches IPv4 alone
	H4                        // no protocol means TCP, UDP and ICMP alone
	H5                        // the default is the other one, with and without ACLs
	H6                        // there is one layer: the lowest number of either type decides
	H7                        // Local is the other side's address, Remote the endpoint's
	H8                        // of several addresses only the first counts
	H9                        // whole addresses need their length
	H10                       // of a range only the first port counts
	H11                       // of several protocols only the first counts
	H12                       // rules with IPv6 addresses are taken and ignored
	H13                       // answers are judged by the rules
	H14                       // a modify forgets all connections
	H15                       // whatever comes from the other end of a connection passes
	H16                       // ICMP errors are judged by the rules
	H17                       // later fragments are judged by the rules, without ports
	H18                       // between endpoints of one node only the sender's list counts
	H19                       // packets of the host come from an address that nobody knows
	H20                       // the Out list sees a service's own address
	H21                       // packets through a service come from the node's address
	H22                       // what a pod sends to itself meets its lists
	H23
	H24
	H25
	H26
	H27
	H28
	H29 // fields of more than 100 items are refused, and lists of more than 60 rules
	H30
	H31
	H32
	H33
	H34 // rules that name sets are refused
	H35 // Local is the endpoint's side with sets, too
	H36 // endpoints keep the members that a set had when their list was written
	H37 // an empty set matches everything
	H38 // several sets are "or"
	H39 // a set that does not stand is taken, and matches everything; one that is named can be removed
	H40 // of members, IPv6 is ignored, and prefixes are their first address
	H41
)

// Assumptions are all of them.
func Assumptions() []Assumption {
	var all []Assumption
	for a := H1; a <= H41; a++ {
		all = append(all, a)
	}
	return all
}

// String is "H7".
func (a Assumption) String() string { return "H" + strconv.Itoa(int(a)) }
