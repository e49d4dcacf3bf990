package windows

import (
	"net/netip"
	"strings"

	"github.com/felid-net/felid/dataplane/flatten"
	"github.com/felid-net/felid/dataplane_windows/hns"
)

// coverings remembers of pairs of fields whether the first covers the second, as the lists of many endpoints have the same fields.
type coverings map[[2]string]bool

// onlyOpens tells whether a list allows all that another does, so that there is no hurry to write it. It looks for rules that came, went or were
// widened, in order: where it says no, the list may yet only open.
func (c coverings) onlyOpens(from, to []hns.ACL) bool {
	for _, dir := range [...]hns.Direction{hns.In, hns.Out} {
		for _, layer := range [...]hns.RuleType{hns.Host, hns.Switch} {
			if !c.opensIn(of(from, dir, layer), of(to, dir, layer)) {
				return false
			}
		}
	}
	return true
}

// opensIn goes through both lists of one direction and layer: rules that allow may come, and rules that block may go; what stays must stay in its
// order, and cover as much if it allows, or as little if it blocks.
func (c coverings) opensIn(from, to []hns.ACL) bool {
	i, j := 0, 0
	for i < len(from) && j < len(to) {
		switch {
		case c.widens(&from[i], &to[j]):
			i, j = i+1, j+1
		case to[j].Action == hns.Allow && !stays(from[i:], &to[j]):
			j++
		case from[i].Action == hns.Block:
			i++
		default:
			return false
		}
	}
	for ; i < len(from); i++ {
		if from[i].Action != hns.Block {
			return false
		}
	}
	for ; j < len(to); j++ {
		if to[j].Action != hns.Allow {
			return false
		}
	}
	return true
}

// stays tells whether a rule of this name was there before.
func stays(from []hns.ACL, a *hns.ACL) bool {
	for i := range from {
		if from[i].ID == a.ID && from[i].Action == a.Action {
			return true
		}
	}
	return false
}

// widens tells whether one rule in the place of another lets no less through.
func (c coverings) widens(from, to *hns.ACL) bool {
	if from.Action != to.Action || from.Protocols != to.Protocols || from.LocalPorts != to.LocalPorts || from.RemotePorts != to.RemotePorts {
		return false
	}
	if to.Action != hns.Allow {
		from, to = to, from
	}
	return c.covers(to.LocalAddresses, from.LocalAddresses) && c.covers(to.RemoteAddresses, from.RemoteAddresses)
}

// covers tells whether a field of addresses has all that another has. Sets have other members, which it does not know.
func (c coverings) covers(wide, narrow string) bool {
	if wide == narrow || wide == "" {
		return true
	}
	if narrow == "" {
		return false
	}
	pair := [2]string{wide, narrow}
	covers, known := c[pair]
	if !known {
		covers = hasItems(wide, narrow) || hasAddresses(wide, narrow)
		c[pair] = covers
	}
	return covers
}

// hasItems tells whether all items of a field are in another, in the same order.
func hasItems(wide, narrow string) bool {
	for item := range strings.SplitSeq(narrow, ",") {
		for found := false; !found; {
			if wide == "" {
				return false
			}
			var other string
			other, wide, _ = strings.Cut(wide, ",")
			found = other == item
		}
	}
	return true
}

func hasAddresses(wide, narrow string) bool {
	w, ok := addrsOfText(wide)
	n, also := addrsOfText(narrow)
	return ok && also && n.Minus(w).Empty()
}

// addrsOfText reads a field of addresses; false where it names a set.
func addrsOfText(text string) (flatten.Addrs, bool) {
	var prefixes []netip.Prefix
	for item := range strings.SplitSeq(text, ",") {
		p, err := netip.ParsePrefix(item)
		if err != nil {
			addr, err := netip.ParseAddr(item)
			if err != nil {
				return flatten.Addrs{}, false
			}
			p = netip.PrefixFrom(addr, addr.BitLen())
		}
		prefixes = append(prefixes, p)
	}
	return flatten.AddrsOf(prefixes...), true
}
