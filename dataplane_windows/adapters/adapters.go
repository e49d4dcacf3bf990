package adapters

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// Adapter is a network adapter of the host.
type Adapter struct {
	// Index of the interface: that of IPv4, or of IPv6 where the adapter has no IPv4.
	Index uint32
	// LUID is the interface's locally unique identifier, which outlives a restart of the host.
	LUID        uint64
	Name        string // "Ethernet", "vEthernet (azure)"
	Description string // "Hyper-V Virtual Ethernet Adapter"
	// Compartment is the network compartment: 1 is the host's own, those of pods have higher numbers; 0 where it is not told.
	Compartment uint32
	Up          bool
	Loopback    bool
	MTU         uint32 // bytes
	Addresses   []Address
	Gateways    []netip.Addr
}

// Address is a unicast address of an adapter, with the prefix that is on the link.
type Address struct {
	netip.Prefix // not masked, without a zone
	State        State
}

// State of an address, as duplicate address detection has it (NL_DAD_STATE of nldef.h).
type State int32

// The states.
const (
	Invalid State = iota
	Tentative
	Duplicate
	Deprecated
	Preferred
)

// hostCompartment is the network compartment of the host itself (NET_IF_COMPARTMENT_ID_PRIMARY of ifdef.h).
const hostCompartment = 1

// HostAddresses are the addresses by which the host itself sends and is reached, of both families; sorted, each once.
func HostAddresses(all []Adapter) []netip.Addr {
	var out []netip.Addr
	for i := range all {
		a := &all[i]
		if a.Loopback || a.Compartment > hostCompartment {
			continue
		}
		for _, address := range a.Addresses {
			if address.counts() {
				out = append(out, address.Addr())
			}
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out)
}

// counts tells whether an address is the host's and nobody else's. One that another machine may have, or that every machine has, must not
// open what policy closes.
func (a Address) counts() bool {
	ip := a.Addr()
	settled := a.State == Preferred || a.State == Deprecated
	return settled && ip.IsValid() && !ip.IsUnspecified() && !ip.IsLoopback() && !ip.IsLinkLocalUnicast() && !ip.IsMulticast() && ip != broadcast
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// Families of a sockaddr, by winsock2.h.
const (
	familyInet  = 2
	familyInet6 = 23
)

// addrOf reads the address of a sockaddr_in or sockaddr_in6, without its zone; false where it is neither.
func addrOf(sockaddr []byte) (netip.Addr, bool) {
	if len(sockaddr) < 2 {
		return netip.Addr{}, false
	}
	switch family := binary.LittleEndian.Uint16(sockaddr); {
	case family == familyInet && len(sockaddr) >= 8: // family, port, address
		return netip.AddrFrom4([4]byte(sockaddr[4:8])), true
	case family == familyInet6 && len(sockaddr) >= 24: // family, port, flow, address
		return netip.AddrFrom16([16]byte(sockaddr[8:24])).Unmap(), true
	}
	return netip.Addr{}, false
}

// addressOf is an address with its prefix; false where the host gave none that can be read.
func addressOf(sockaddr []byte, bits uint8, state int32) (Address, bool) {
	ip, ok := addrOf(sockaddr)
	if !ok {
		return Address{}, false
	}
	return Address{netip.PrefixFrom(ip, min(int(bits), ip.BitLen())), State(state)}, true
}
