package probe

import (
	"fmt"
	"strconv"
	"strings"
)

// Assumption is the number of something that felid takes for granted about HNS, as in docs/windows.md.
type Assumption uint8

const last Assumption = 41

// String is "H7".
func (a Assumption) String() string { return "H" + strconv.Itoa(int(a)) }

// MarshalText writes "H7".
func (a Assumption) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads "H7".
func (a *Assumption) UnmarshalText(b []byte) error {
	digits, ok := strings.CutPrefix(string(b), "H")
	n, err := strconv.ParseUint(digits, 10, 8)
	if !ok || err != nil || n < 1 || n > uint64(last) {
		return fmt.Errorf("assumption %q: valid are H1 to %s", b, last)
	}
	*a = Assumption(n)
	return nil
}

// The parts that assumptions play. Those in none of the lists are about calls, and show when they fail.
var (
	// plain are what lists of plain addresses lean on, and what nothing but a trial shows: where one is false, a list may let through what
	// policy denies. (Where H23 is false, each list but the first does.)
	plain = []Assumption{1, 2, 3, 4, 6, 7, 8, 10, 11, 15, 18, 23}
	// sets are what lists that name sets lean on besides.
	sets = []Assumption{34, 35, 36, 39, 40, 41}
	// ipv6 is what ACLs with IPv6 addresses lean on besides.
	ipv6 = []Assumption{12}
)

// texts are what the assumptions say, for people; docs/windows.md has more.
var texts = map[Assumption]string{
	1: "the matching ACL with the lowest priority decides", 2: "every priority from 100 to 65500 is a rank of its own",
	3: "no addresses are all addresses", 4: "no protocols are all protocols", 5: "an endpoint without ACLs is open",
	6: "rules of type Switch decide beside those of type Host", 7: "Local is the endpoint's side, Remote the other",
	8: "commas between addresses are \"or\"", 9: "addresses with and without length, and prefixes, are taken",
	10: "port ranges and lists of them", 11: "commas between protocols are \"or\"", 12: "ACLs with IPv6 addresses",
	13: "answers pass", 14: "a connection survives a modify that still allows it", 15: "only answers are answers",
	16: "ICMP errors about a connection pass", 17: "later fragments are as the first",
	18: "both ends' lists hold between endpoints of one node", 19: "the host comes from an address of its own",
	20: "the sender's list sees the destination behind a service", 21: "sources stay as they are", 22: "what a pod sends to itself is not seen",
	23: "an update replaces all ACLs", 24: "an update of ACLs leaves other policies alone", 25: "a modify is one step to packets",
	26: "a list is in force when the modify returns", 27: "a list stays when a modify is refused", 28: "ACLs are given back as written, with their Id",
	29: "thousands of addresses, ports and ACLs", 30: "lists stay as long as the endpoint",
	31: "attached endpoints are found by state", 32: "one endpoint has an address", 33: "what a restart of the service forgets",
	34: "an address field names a set", 35: "with sets, Local is the source and Remote the destination", 36: "a set's new members count at once",
	37: "an empty set matches nothing", 38: "commas between sets are \"and\"", 39: "an ACL that names no set is refused",
	40: "sets have prefixes, of both families", 41: "the version says what there is",
}

// Text says what is assumed.
func (a Assumption) Text() string { return texts[a] }
