package dataplane

import "net/netip"

// Denial is a packet that policy denied: the first one of a connection, or the same again.
type Denial struct {
	Direction Direction
	// Policy whose rule denied it; at the end of a tier the last one that applied. The zero PolicyID: no profile decided.
	Policy   PolicyID
	Rule     int   // index as stored; -1: no rule, but the end of the tier, or of the profiles
	Protocol uint8 // IANA number
	// Src and Dst are as policy saw them. Ports are 0 where the protocol has none, or the packet did not tell.
	Src, Dst netip.AddrPort
}
