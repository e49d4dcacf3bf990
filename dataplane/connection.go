package dataplane

import "net/netip"

// Connection is one that a host tracks, as its first packet was when policy judged it: Src before source NAT, Dst after destination NAT. Ports are 0
// where the protocol has none. What can cut connections takes a function that says whether one is denied.
type Connection struct {
	Protocol uint8 // IANA number
	Src, Dst netip.AddrPort
	SentTo   netip.AddrPort // destination before destination NAT
	// ICMPType and ICMPCode are -1 where it is not ICMP or ICMPv6.
	ICMPType, ICMPCode int16
}
