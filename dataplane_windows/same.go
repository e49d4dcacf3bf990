package windows

import (
	"slices"
	"strings"

	"github.com/felid-net/felid/dataplane_windows/hns"
)

// sameACLs tells whether two lists of ours do the same, in whatever order and writing HNS gave one of them back. What the rules are called by their
// IDs is for people, and no reason to write a list.
func sameACLs(a, b []hns.ACL) bool {
	return sameText(a, b) || len(a) == len(b) && slices.Equal(inOrder(a), inOrder(b))
}

// sameText is sameACLs of two lists in our own order and writing.
func sameText(a, b []hns.ACL) bool {
	return sameSlice(a, b) || slices.EqualFunc(a, b, func(x, y hns.ACL) bool { x.ID = y.ID; return x == y })
}

// inOrder is the list with its fields in one form, sorted.
func inOrder(acls []hns.ACL) []hns.ACL {
	out := make([]hns.ACL, len(acls))
	for i := range acls {
		out[i] = tidy(acls[i])
	}
	slices.SortFunc(out, func(x, y hns.ACL) int {
		if c := strings.Compare(string(x.Direction)+string(x.RuleType), string(y.Direction)+string(y.RuleType)); c != 0 {
			return c
		}
		if x.Priority != y.Priority {
			return int(x.Priority) - int(y.Priority)
		}
		return strings.Compare(x.RemoteAddresses+x.LocalAddresses+x.RemotePorts, y.RemoteAddresses+y.LocalAddresses+y.RemotePorts)
	})
	return out
}

// tidy is an ACL with its fields in one form.
func tidy(a hns.ACL) hns.ACL {
	a.ID = ""
	a.Protocols = tidyList(a.Protocols, "256", "")
	a.LocalAddresses, a.RemoteAddresses = tidyList(a.LocalAddresses, "/32", "/128"), tidyList(a.RemoteAddresses, "/32", "/128")
	a.LocalPorts, a.RemotePorts = tidyList(a.LocalPorts, "", ""), tidyList(a.RemotePorts, "", "")
	if a.RuleType == "" {
		a.RuleType = hns.Switch
	}
	if a.RuleType == hns.Host {
		a.Priority = 0 // HNS gives them one of its own
	}
	return a
}

// tidyList sorts what is between commas, without spaces and without these endings.
func tidyList(text, ending, or string) string {
	items := strings.Split(text, ",")
	for i, item := range items {
		item = strings.TrimSpace(item)
		if strings.Contains(item, ":") {
			item = strings.TrimSuffix(item, or)
		} else {
			item = strings.TrimSuffix(item, ending)
		}
		items[i] = item
	}
	slices.Sort(items)
	return strings.Join(items, ",")
}
