package linux

import (
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"sync"

	"github.com/felid-net/felid/dataplane"
)

// denyRate is how often each rule that denies tells of it: the match stands before the target, so that a flood costs no more than the match.
const denyRate = "1/second"

// denialBytes is how much of a packet is looked at: headers of both families, some extensions of IPv6, and ports.
const denialBytes = 128

// denial is what a packet that NFLOG reported was denied by.
func (n LogNames) denial(prefix string, packet []byte) (dataplane.Denial, error) {
	l, err := n.Read(prefix)
	if err != nil {
		return dataplane.Denial{}, err
	}
	if l.Action != dataplane.Deny {
		return dataplane.Denial{}, fmt.Errorf("NFLOG prefix %q: not of a denial", prefix)
	}
	d := dataplane.Denial{Direction: l.Direction, Policy: l.Policy, Rule: l.Rule}
	if err := readPacket(packet, &d); err != nil {
		return dataplane.Denial{}, err
	}
	return d, nil
}

// readPacket reads addresses, protocol and ports from the beginning of an IP packet (RFC 791, RFC 8200).
func readPacket(packet []byte, d *dataplane.Denial) error {
	if len(packet) == 0 {
		return fmt.Errorf("packet: empty")
	}
	var src, dst netip.Addr
	var rest []byte // from the header of the protocol on; nil: it is not there
	switch version := packet[0] >> 4; {
	case version == 4 && len(packet) >= 20:
		src, dst = netip.AddrFrom4([4]byte(packet[12:16])), netip.AddrFrom4([4]byte(packet[16:20]))
		d.Protocol = packet[9]
		header := int(packet[0]&0xf) * 4
		if offset := binary.BigEndian.Uint16(packet[6:8]) & 0x1fff; offset == 0 && header >= 20 && header <= len(packet) {
			rest = packet[header:]
		}
	case version == 6 && len(packet) >= 40:
		src, dst = netip.AddrFrom16([16]byte(packet[8:24])), netip.AddrFrom16([16]byte(packet[24:40]))
		d.Protocol, rest = skipExtensions(packet[6], packet[40:])
	default:
		return fmt.Errorf("packet: version %d, %d bytes: want an IPv4 or IPv6 header", version, len(packet))
	}
	var from, to uint16
	if hasPorts(d.Protocol) && len(rest) >= 4 {
		from, to = binary.BigEndian.Uint16(rest), binary.BigEndian.Uint16(rest[2:])
	}
	d.Src, d.Dst = netip.AddrPortFrom(src.Unmap(), from), netip.AddrPortFrom(dst.Unmap(), to)
	return nil
}

// Extension headers of IPv6 that may stand before the protocol's (IANA).
const (
	extHopByHop    = 0
	extRouting     = 43
	extFragment    = 44
	extDestination = 60
)

// skipExtensions finds the protocol, and its header; nil in a later fragment, or where it was cut off.
func skipExtensions(next byte, rest []byte) (protocol byte, header []byte) {
	for {
		length := 0
		switch next {
		case extHopByHop, extRouting, extDestination:
			if len(rest) >= 2 {
				length = 8 + 8*int(rest[1])
			}
		case extFragment:
			if len(rest) >= 4 && binary.BigEndian.Uint16(rest[2:4])&^7 != 0 {
				return rest[0], nil
			}
			length = 8
		default:
			return next, rest
		}
		if length == 0 || len(rest) < length {
			return next, nil
		}
		next, rest = rest[0], rest[length:]
	}
}

// denyNames are the names by which denials are read; it is asked beside Apply.
type denyNames struct {
	mu    sync.Mutex
	names LogNames
}

// update takes in the policies that an Apply is about; nil changes are all. Names of policies that have gone stay until then: what they denied
// may still be told.
func (n *denyNames) update(s *dataplane.State, changes *dataplane.Changes) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if changes == nil || n.names == nil {
		n.names = NamesOf(maps.Keys(s.Policies))
		return
	}
	for id := range changes.Policies {
		n.names.add(id)
	}
}

func (n *denyNames) denial(prefix string, packet []byte) (dataplane.Denial, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.names.denial(prefix, packet)
}
