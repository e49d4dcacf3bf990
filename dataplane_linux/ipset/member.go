package ipset

import (
	"fmt"
	"net/netip"
)

// Type is a kernel set type.
type Type string

// The types that are used.
const (
	HashNet    Type = "hash:net"     // members are prefixes
	HashIPPort Type = "hash:ip,port" // members are (address, protocol, port)
)

// Family is an address family: its number is the IP version.
type Family uint8

// The families.
const (
	IPv4 Family = 4
	IPv6 Family = 6
)

// Names of sets of ours begin with one of these, by family, and have at most MaxName characters.
const (
	Prefix4 = "felid4-"
	Prefix6 = "felid6-"
	MaxName = 31
)

// ours tells whether a set has a name of ours. Both prefixes are equally long.
func ours[S string | []byte](name S) bool {
	return len(name) > len(Prefix4) && (string(name[:len(Prefix4)]) == Prefix4 || string(name[:len(Prefix6)]) == Prefix6)
}

// Member of a set. In HashNet, Protocol and Port are 0; in HashIPPort, Prefix has full length.
type Member struct {
	Prefix   netip.Prefix
	Protocol uint8 // IANA number
	Port     uint16
}

// String is "10.0.0.0/8" or "10.0.0.1,6:80".
func (m Member) String() string {
	if m.Protocol == 0 && m.Port == 0 {
		return m.Prefix.String()
	}
	return fmt.Sprintf("%s,%d:%d", m.Prefix.Addr(), m.Protocol, m.Port)
}

// element is a member as the kernel holds it, without pointers.
type element struct {
	addr  [16]byte // IPv4: the first four
	bits  uint8    // 1 to 32 or 128
	proto uint8
	port  uint16
}

// newElement packs a member of a set of family f. A member of another family is a broken invariant.
func newElement(f Family, m Member) element {
	a := m.Prefix.Addr()
	e := element{bits: uint8(m.Prefix.Bits()), proto: m.Protocol, port: m.Port}
	switch {
	case f == IPv4 && a.Is4():
		four := a.As4()
		copy(e.addr[:], four[:])
	case f == IPv6 && a.Is6() && !a.Is4In6():
		e.addr = a.As16()
	default:
		panic(fmt.Sprintf("ipset: member %s in a set of IPv%d", m, f))
	}
	return e
}

// member unpacks.
func (e element) member(f Family) Member {
	a := netip.AddrFrom16(e.addr)
	if f == IPv4 {
		a = netip.AddrFrom4([4]byte(e.addr[:4]))
	}
	return Member{netip.PrefixFrom(a, int(e.bits)), e.proto, e.port}
}

// half is one half of the whole address space.
func half(upper bool) element {
	e := element{bits: 1}
	if upper {
		e.addr[0] = 0x80
	}
	return e
}

func (e element) isHalf() (upper, ok bool) { return e.addr[0]&0x80 != 0, e.bits == 1 }
