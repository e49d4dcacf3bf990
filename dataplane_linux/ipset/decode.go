package ipset

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"
)

var errShort = errors.New("ipset: netlink message is cut short")

// reply is one message from the kernel.
type reply struct {
	kind     uint16
	sequence uint32
	body     []byte // after nlmsghdr
}

// nextReply splits the first message off.
func nextReply(b []byte) (r reply, rest []byte, err error) {
	if len(b) < 16 {
		return r, nil, errShort
	}
	length := int(binary.NativeEndian.Uint32(b))
	if length < 16 || length > len(b) {
		return r, nil, errShort
	}
	r = reply{binary.NativeEndian.Uint16(b[4:]), binary.NativeEndian.Uint32(b[8:]), b[16:length]}
	return r, b[min((length+3)&^3, len(b)):], nil
}

// errno of an error message, or of the end of a dump; 0: well done.
func (r reply) errno() (syscall.Errno, error) {
	if len(r.body) < 4 {
		if r.kind == msgDone {
			return 0, nil
		}
		return 0, errShort
	}
	return syscall.Errno(-int32(binary.NativeEndian.Uint32(r.body))), nil
}

// eachAttr calls f for each attribute, with its kind without flags.
func eachAttr(b []byte, f func(kind uint16, v []byte) error) error {
	for len(b) > 0 {
		if len(b) < 4 {
			return errShort
		}
		length := int(binary.NativeEndian.Uint16(b))
		if length < 4 || length > len(b) {
			return errShort
		}
		if err := f(binary.NativeEndian.Uint16(b[2:])&^(nested|netOrder), b[4:length]); err != nil {
			return err
		}
		b = b[min((length+3)&^3, len(b)):]
	}
	return nil
}

func number(v []byte) uint32 {
	switch len(v) {
	case 1:
		return uint32(v[0])
	case 2:
		return uint32(binary.BigEndian.Uint16(v))
	case 4:
		return binary.BigEndian.Uint32(v)
	}
	return 0
}

// text is without the zero at its end.
func text(v []byte) []byte {
	for i, c := range v {
		if c == 0 {
			return v[:i]
		}
	}
	return v
}

// decodeList takes one message of a list, and adds to the sets. A set of many members comes in several messages, one after the other; members
// of sets that are not ours are passed over.
func decodeList(body []byte, sets []Listed) ([]Listed, error) {
	if len(body) < 4 {
		return sets, errShort
	}
	var l Listed
	var name, data, members []byte
	err := eachAttr(body[4:], func(kind uint16, v []byte) error {
		switch kind {
		case attrSetName:
			name = text(v)
		case attrTypeName:
			l.Header.Type = Type(text(v))
		case attrFamily:
			l.Header.Family = familyOf(v)
		case attrData:
			data = v
		case attrADT:
			members = v
		}
		return nil
	})
	if err != nil || !ours(name) {
		return sets, err
	}
	if n := len(sets); n == 0 || sets[n-1].Name != string(name) {
		l.Name = string(name)
		if err := l.header(data); err != nil {
			return sets, err
		}
		sets = append(sets, l)
	}
	return sets, sets[len(sets)-1].addMembers(members)
}

func familyOf(v []byte) Family {
	switch number(v) {
	case familyIPv4:
		return IPv4
	case familyIPv6:
		return IPv6
	}
	return 0
}

func (l *Listed) header(data []byte) error {
	return eachAttr(data, func(kind uint16, v []byte) error {
		switch kind {
		case dataHashSize:
			l.Header.HashSize = number(v)
		case dataMaxElem:
			l.Header.MaxElem = number(v)
		case dataElements:
			l.Count = int(number(v))
		case dataTimeout, dataNetmask:
			l.odd = true
		case dataFlags: // counters, comments, forceadd
			l.odd = l.odd || number(v) != 0
		}
		return nil
	})
}

// addMembers reads a list of members. Those of set types or forms that are never used make the set odd.
func (l *Listed) addMembers(list []byte) error {
	if l.Header.Type != HashNet && l.Header.Type != HashIPPort {
		l.odd = true
		return nil
	}
	return eachAttr(list, func(kind uint16, v []byte) error {
		e := element{bits: 32}
		if l.Header.Family == IPv6 {
			e.bits = 128
		}
		err := eachAttr(v, func(kind uint16, v []byte) error {
			switch kind {
			case dataIP:
				return e.address(v)
			case dataCIDR:
				e.bits = uint8(number(v))
			case dataPort:
				e.port = uint16(number(v))
			case dataProto:
				e.proto = uint8(number(v))
			case dataIPTo, dataTimeout, dataFlags: // nomatch
				l.odd = true
			}
			return nil
		})
		if err == nil {
			l.elements = append(l.elements, e)
		}
		return err
	})
}

func (e *element) address(nest []byte) error {
	return eachAttr(nest, func(kind uint16, v []byte) error {
		if kind == addrIPv4 && len(v) != 4 || kind == addrIPv6 && len(v) != 16 {
			return fmt.Errorf("ipset: address of %d bytes", len(v))
		}
		copy(e.addr[:], v)
		return nil
	})
}

// decodeRevision reads the answer to typeRequest.
func decodeRevision(body []byte) (uint8, error) {
	if len(body) < 4 {
		return 0, errShort
	}
	var revision uint32
	err := eachAttr(body[4:], func(kind uint16, v []byte) error {
		if kind == attrRevision {
			revision = number(v)
		}
		return nil
	})
	return uint8(revision), err
}
