package server

import (
	"net/netip"
)

// plan is what there should be between the host and a container.
type plan struct {
	attachment
	host  string // name of the host's interface
	netns string // path of the container's network namespace
	mtu   int
	addrs []netip.Addr
}

// hostLink is an interface of the host that carries our prefix.
type hostLink struct {
	name  string
	alias string
	// half: nobody but felid makes interfaces like this one, and it has no alias yet: its maker died in between.
	half bool
}

// podTable is the routing table, inside a pod, of an interface that found a default route there already. Its own addresses are
// looked up in it, so that answers leave by the interface that the question came in by.
func podTable(ifIndex int) int { return 1000 + ifIndex }

// podRulePriority is that of the rule for it: after "local" (0), before "main" (32766).
const podRulePriority = 1000
