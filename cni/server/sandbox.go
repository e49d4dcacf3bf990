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
