package netlink

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// Connection is one that the host tracks, as its first packet was when policy judged it: Src before source NAT, Dst after destination NAT. Ports
// are 0 where the protocol has none.
type Connection struct {
	Protocol uint8 // IANA number
	Src, Dst netip.AddrPort
	SentTo   netip.AddrPort // destination before destination NAT
	// ICMPType and ICMPCode are -1 where it is not ICMP or ICMPv6.
	ICMPType, ICMPCode int16
}

// Protocol numbers (IANA).
const (
	protoICMP   = 1
	protoICMPv6 = 58
)

// Attributes of a tracked connection; linux/netfilter/nfnetlink_conntrack.h.
const (
	ctaTupleOrig   = 1
	ctaTupleReply  = 2
	ctaID          = 12
	ctaTupleMaster = 14
	ctaZone        = 18

	ctaTupleIP    = 1
	ctaTupleProto = 2

	ctaIPv4Src = 1 // destination: 2; IPv6: 3, 4
	ctaIPv6Dst = 4

	ctaProtoNum      = 1
	ctaProtoSrcPort  = 2
	ctaProtoDstPort  = 3
	ctaProtoICMPType = 5 // code: 6; ICMPv6: 8, 9
	ctaProtoICMPCode = 6
)

// entry is a connection as the kernel tells of it.
type entry struct {
	connection Connection
	// related to another by a helper: policy judged that one, and not this.
	related bool
	// handle is what a request to delete exactly this one holds: attributes as they were read.
	handle []byte
}

var errCutShort = errors.New("netlink: message is cut short")

// attributes calls f with each attribute of b: its type without flags, its value, and all of it with header and padding.
func attributes(b []byte, f func(kind uint16, value, whole []byte) error) error {
	for len(b) >= 4 {
		size := int(binary.NativeEndian.Uint16(b))
		if size < 4 || size > len(b) {
			return errCutShort
		}
		padded := min((size+3)&^3, len(b))
		if err := f(binary.NativeEndian.Uint16(b[2:])&0x3fff, b[4:size], b[:padded]); err != nil {
			return err
		}
		b = b[padded:]
	}
	if len(b) > 0 {
		return errCutShort
	}
	return nil
}

// readTracked reads the attributes of IPCTNL_MSG_CT_NEW.
func readTracked(b []byte) (entry, error) {
	var t entry
	var orig, reply tuple
	err := attributes(b, func(kind uint16, value, whole []byte) (err error) {
		switch kind {
		case ctaTupleOrig:
			t.handle = append(t.handle, whole...)
			err = orig.read(value)
		case ctaTupleReply:
			err = reply.read(value)
		case ctaID, ctaZone:
			t.handle = append(t.handle, whole...)
		case ctaTupleMaster:
			t.related = true
		}
		return err
	})
	if err != nil {
		return t, err
	}
	if !orig.src.IsValid() || !orig.dst.IsValid() || !reply.src.IsValid() {
		return t, errCutShort
	}
	t.connection = Connection{
		Protocol: orig.protocol, Src: netip.AddrPortFrom(orig.src, orig.srcPort), SentTo: netip.AddrPortFrom(orig.dst, orig.dstPort),
		Dst: netip.AddrPortFrom(reply.src, reply.srcPort), ICMPType: -1, ICMPCode: -1,
	}
	if orig.protocol == protoICMP || orig.protocol == protoICMPv6 {
		t.connection.ICMPType, t.connection.ICMPCode = int16(orig.icmpType), int16(orig.icmpCode)
	}
	return t, nil
}

// tuple is one direction of a connection.
type tuple struct {
	src, dst           netip.Addr
	protocol           uint8
	srcPort, dstPort   uint16
	icmpType, icmpCode uint8
}

func (t *tuple) read(b []byte) error {
	return attributes(b, func(kind uint16, value, _ []byte) error {
		switch kind {
		case ctaTupleIP:
			return attributes(value, t.address)
		case ctaTupleProto:
			return attributes(value, t.proto)
		}
		return nil
	})
}

func (t *tuple) address(kind uint16, value, _ []byte) error {
	a, ok := netip.AddrFromSlice(value)
	if !ok {
		return errCutShort
	}
	switch {
	case kind < ctaIPv4Src || kind > ctaIPv6Dst:
	case kind%2 == 1:
		t.src = a
	default:
		t.dst = a
	}
	return nil
}

func (t *tuple) proto(kind uint16, value, _ []byte) error {
	size := 1
	if kind == ctaProtoSrcPort || kind == ctaProtoDstPort {
		size = 2
	}
	if len(value) < size {
		return errCutShort
	}
	switch kind {
	case ctaProtoNum:
		t.protocol = value[0]
	case ctaProtoSrcPort:
		t.srcPort = binary.BigEndian.Uint16(value)
	case ctaProtoDstPort:
		t.dstPort = binary.BigEndian.Uint16(value)
	case ctaProtoICMPType, ctaProtoICMPType + 3:
		t.icmpType = value[0]
	case ctaProtoICMPCode, ctaProtoICMPCode + 3:
		t.icmpCode = value[0]
	}
	return nil
}
