// Package linux makes a Linux host enforce and route a dataplane.State, with iptables, ipset and netlink.
//
// The pure half (render*.go) turns the state into chains and IP sets; the other half (apply.go and the packages below this folder)
// makes the kernel hold them. How packets cross the chains is told in render.go.
//
// Invariants: all names of ours in the kernel begin with "felid", so that an agent without memory knows them; what the renderer
// gives depends on the State alone; a rule never names a set that is not there (sets first, then tables, then members that leave,
// then routes, then the sets that are left over); what can't be rendered is dropped, never opened.
//
// It resolves nothing: selectors, names and services are behind the State. Overlays and BGP are not here yet.
package linux
