package ipset

import (
	"encoding/binary"
)

// Numbers of linux/netfilter/ipset/ip_set.h and linux/netlink.h.
const (
	subsysIPSet = 6
	protocol    = 6 // of the kernels since 2.6.39

	cmdList = 7
	cmdType = 13

	attrProtocol = 1
	attrSetName  = 2
	attrTypeName = 3 // in a swap: the other set's name
	attrRevision = 4
	attrFamily   = 5
	attrFlags    = 6
	attrData     = 7
	attrADT      = 8
	attrLine     = 9

	dataIP       = 1
	dataIPTo     = 2
	dataCIDR     = 3
	dataPort     = 4
	dataTimeout  = 6
	dataProto    = 7
	dataFlags    = 8
	dataHashSize = 18
	dataMaxElem  = 19
	dataNetmask  = 20
	dataElements = 24

	addrIPv4 = 1
	addrIPv6 = 2

	flagListHeader = 1 << 2

	nested   = 1 << 15
	netOrder = 1 << 14

	msgError   = 2
	msgDone    = 3
	flgRequest = 1
	flgAck     = 4
	flgExcl    = 0x200
	flgDump    = 0x300

	familyIPv4 = 2
	familyIPv6 = 10
)

// maxChunk is how many members go into one message: their list is an attribute, whose length has 16 bits.
const maxChunk = 1000

// message is one netlink message being written: lengths are filled in as parts end.
type message struct {
	buf   []byte
	start int
}

// begin starts a message after those already in buf.
func begin(buf []byte, cmd uint8, flags uint16, sequence uint32, family Family) message {
	m := message{buf, len(buf)}
	m.buf = append(m.buf, 0, 0, 0, 0)
	m.buf = binary.NativeEndian.AppendUint16(m.buf, subsysIPSet<<8|uint16(cmd))
	m.buf = binary.NativeEndian.AppendUint16(m.buf, flgRequest|flags)
	m.buf = binary.NativeEndian.AppendUint32(m.buf, sequence)
	m.buf = append(m.buf, 0, 0, 0, 0)
	m.buf = append(m.buf, family.number(), 0, 0, 0)
	m.byte(attrProtocol, protocol)
	return m
}

// number is the address family's in sockets; 0 for none.
func (f Family) number() byte {
	switch f {
	case IPv4:
		return familyIPv4
	case IPv6:
		return familyIPv6
	}
	return 0
}

// end fills in the length of the message.
func (m *message) end() []byte {
	binary.NativeEndian.PutUint32(m.buf[m.start:], uint32(len(m.buf)-m.start))
	return m.buf
}

func (m *message) attr(kind uint16, length int) {
	m.buf = binary.NativeEndian.AppendUint16(m.buf, uint16(4+length))
	m.buf = binary.NativeEndian.AppendUint16(m.buf, kind)
}

func (m *message) byte(kind uint16, v byte) {
	m.attr(kind, 1)
	m.buf = append(m.buf, v, 0, 0, 0)
}

func (m *message) uint16(kind uint16, v uint16) {
	m.attr(kind|netOrder, 2)
	m.buf = append(binary.BigEndian.AppendUint16(m.buf, v), 0, 0)
}

func (m *message) uint32(kind uint16, v uint32) {
	m.attr(kind|netOrder, 4)
	m.buf = binary.BigEndian.AppendUint32(m.buf, v)
}

func (m *message) bytes(kind uint16, v []byte) {
	m.attr(kind, len(v))
	m.buf = append(m.buf, v...)
}

// text is ended by a zero, and padded to four bytes.
func (m *message) text(kind uint16, s string) {
	m.attr(kind, len(s)+1)
	m.buf = append(append(m.buf, s...), 0)
	for (len(m.buf)-m.start)%4 != 0 {
		m.buf = append(m.buf, 0)
	}
}

// nest starts an attribute that holds others; close ends it.
func (m *message) nest(kind uint16) (at int) {
	at = len(m.buf)
	m.attr(kind|nested, 0)
	return at
}

func (m *message) close(at int) {
	binary.NativeEndian.PutUint16(m.buf[at:], uint16(len(m.buf)-at))
}

// appendCommand encodes a command other than Add and Delete. The revision is the set type's.
func appendCommand(buf []byte, c Command, sequence uint32, revision uint8) []byte {
	var flags uint16 = flgAck
	if c.Op == OpCreate {
		flags |= flgExcl
	}
	m := begin(buf, uint8(c.Op), flags, sequence, c.Header.Family)
	m.text(attrSetName, c.Set)
	switch c.Op {
	case OpSwap:
		m.text(attrTypeName, c.Other)
	case OpCreate:
		m.text(attrTypeName, string(c.Header.Type))
		m.byte(attrRevision, revision)
		m.byte(attrFamily, c.Header.Family.number())
		data := m.nest(attrData)
		if c.Header.HashSize > 0 {
			m.uint32(dataHashSize, c.Header.HashSize)
		}
		if c.Header.MaxElem > 0 {
			m.uint32(dataMaxElem, c.Header.MaxElem)
		}
		m.close(data)
	}
	return m.end()
}

// appendMembers encodes an Add or Delete of at most maxChunk members. They are not exclusive: adding what is there and deleting what is
// not are no errors.
func appendMembers(buf []byte, c Command, elements []element, sequence uint32) []byte {
	m := begin(buf, uint8(c.Op), flgAck, sequence, c.Header.Family)
	m.text(attrSetName, c.Set)
	if len(elements) == 1 {
		m.element(c.Header, elements[0])
		return m.end()
	}
	m.uint32(attrLine, 0)
	adt := m.nest(attrADT)
	for _, e := range elements {
		m.element(c.Header, e)
	}
	m.close(adt)
	return m.end()
}

func (m *message) element(h Header, e element) {
	data := m.nest(attrData)
	ip := m.nest(dataIP)
	if h.Family == IPv4 {
		m.bytes(addrIPv4|netOrder, e.addr[:4])
	} else {
		m.bytes(addrIPv6|netOrder, e.addr[:])
	}
	m.close(ip)
	if h.Type == HashNet {
		m.byte(dataCIDR, e.bits)
	} else {
		m.uint16(dataPort, e.port)
		m.byte(dataProto, e.proto)
	}
	m.close(data)
}

// listRequest asks for all sets.
func listRequest(sequence uint32, members bool) []byte {
	m := begin(nil, cmdList, flgDump, sequence, 0)
	if !members {
		m.uint32(attrFlags, flagListHeader)
	}
	return m.end()
}

// typeRequest asks for the revisions of a set type that the kernel knows.
func typeRequest(t Type, f Family, sequence uint32) []byte {
	m := begin(nil, cmdType, 0, sequence, f)
	m.text(attrTypeName, string(t))
	m.byte(attrFamily, f.number())
	return m.end()
}
