package windows

import (
	"strings"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane_windows/hns"
)

// List is what HNS is given for one endpoint.
type List struct {
	// ACLs for both directions. Their IDs begin with "felid/". None for what gets no list: a host endpoint.
	ACLs []hns.ACL
	// Sets that the ACLs name, sorted; they must stand on the endpoint's network, with their members, before the ACLs are written.
	Sets []SetRef
	// Expanded are IP sets whose members ACLs were made from, sorted: whenever they move, the list may be another.
	Expanded []dataplane.IPSetID
	// Present are sets with members that rules ask for, and Absent those without, sorted: HNS may take an empty set for anything (H37), so a
	// rule is left out as long as its set is empty. The list may be another when one comes to have members, or loses the last.
	Present, Absent []SetRef
	// Unsupported is what could not be expressed as it was written.
	Unsupported []dataplane.Unsupported
}

// SetRef names a set of HNS: the members of one family of an IP set.
type SetRef struct {
	Set    dataplane.IPSetID
	Family uint8 // 4 or 6
}

// setMark begins the ID of every set of ours; after it come the family and the id of the IP set.
const setMark = "felid"

// ID of the set in HNS, and its name: "felid4-ID".
func (r SetRef) ID() string {
	return setMark + string('0'+rune(r.Family)) + "-" + string(r.Set)
}

// OwnSet is what a set of HNS stands for, if it is one of ours.
func OwnSet(id string) (SetRef, bool) {
	for _, family := range []uint8{4, 6} {
		prefix := SetRef{Family: family}.ID()
		if set, ok := strings.CutPrefix(id, prefix); ok && set != "" {
			return SetRef{Set: dataplane.IPSetID(set), Family: family}, true
		}
	}
	return SetRef{}, false
}

// Own tells whether an ACL is one of ours (H28).
func Own(a hns.ACL) bool { return strings.HasPrefix(a.ID, aclMark) }

// aclMark begins the ID of every ACL of ours.
const aclMark = "felid/"

// Closed is the list of an endpoint of which nothing is known that may pass. Without the pair of type Host, which would open it all where there is one
// layer alone (H6).
func Closed() []hns.ACL {
	return []hns.ACL{closed(hns.In, policyPriority), closed(hns.Out, policyPriority)}
}

// closed blocks everything in a direction.
func closed(dir hns.Direction, priority uint16) hns.ACL {
	return hns.ACL{ID: aclMark + "closed/" + strings.ToLower(string(dir)), Action: hns.Block, Direction: dir, RuleType: hns.Switch, Priority: priority}
}

// hostPair lets everything through the layer of the host's compartment, as networks of type L2Bridge need it (H6).
func hostPair() []hns.ACL {
	return []hns.ACL{
		{ID: aclMark + "host/in", Action: hns.Allow, Direction: hns.In, RuleType: hns.Host},
		{ID: aclMark + "host/out", Action: hns.Allow, Direction: hns.Out, RuleType: hns.Host},
	}
}
