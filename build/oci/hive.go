package main

import (
	"encoding/binary"
	"unicode/utf16"
)

// Sizes and offsets of a registry hive, in bytes. The format is described in the msuhanov/regf specification.
const (
	hiveBlock   = 4096 // of the header, and of the one bin
	binHeader   = 32
	checkedPart = 508 // of the header; its checksum follows
	none        = 0xFFFFFFFF
)

// emptyHive is a registry hive with one key, which has nothing in it, for administrators and SYSTEM.
func emptyHive(name string) []byte {
	root, security := keyCell(), securityCell()
	binary.LittleEndian.PutUint32(root[4+44:], uint32(binHeader+len(root)))
	at := uint32(binHeader + len(root)) // of the security cell, to which it points itself: a ring of one
	binary.LittleEndian.PutUint32(security[4+4:], at)
	binary.LittleEndian.PutUint32(security[4+8:], at)

	bin := make([]byte, hiveBlock)
	copy(bin, "hbin")
	binary.LittleEndian.PutUint32(bin[8:], hiveBlock)
	used := binHeader + copy(bin[binHeader:], root)
	used += copy(bin[used:], security)
	binary.LittleEndian.PutUint32(bin[used:], uint32(hiveBlock-used)) // the rest is a free cell, whose size is not negative
	return append(hiveHeader(name), bin...)
}

func hiveHeader(name string) []byte {
	h := make([]byte, hiveBlock)
	copy(h, "regf")
	put := func(at int, v uint32) { binary.LittleEndian.PutUint32(h[at:], v) }
	put(4, 1) // two equal numbers: it was written to its end
	put(8, 1)
	put(20, 1) // version 1.3
	put(24, 3)
	put(32, 1) // loaded directly
	put(36, binHeader)
	put(40, hiveBlock)
	put(44, 1)
	for i, c := range utf16.Encode([]rune(name)) {
		binary.LittleEndian.PutUint16(h[48+2*i:], c)
	}
	var sum uint32
	for at := 0; at < checkedPart; at += 4 {
		sum ^= binary.LittleEndian.Uint32(h[at:])
	}
	switch sum {
	case 0:
		sum = 1
	case none:
		sum = none - 1
	}
	put(checkedPart, sum)
	return h
}

// keyCell is the root key, but for the place of its security descriptor.
func keyCell() []byte {
	const name = "ROOT"
	const rootOfHive, noDelete, latinName = 0x4, 0x8, 0x20
	k := make([]byte, 76, 76+len(name))
	copy(k, "nk")
	binary.LittleEndian.PutUint16(k[2:], rootOfHive|noDelete|latinName)
	for _, at := range []int{16, 28, 32, 40, 48} { // parent, lists of keys (stored, volatile), list of values, class
		binary.LittleEndian.PutUint32(k[at:], none)
	}
	binary.LittleEndian.PutUint16(k[72:], uint16(len(name)))
	return cell(append(k, name...))
}

// securityCell is a security descriptor, but for its place in the list of all.
func securityCell() []byte {
	descriptor := securityDescriptor()
	s := make([]byte, 20, 20+len(descriptor))
	copy(s, "sk")
	binary.LittleEndian.PutUint32(s[12:], 1) // key that uses it
	binary.LittleEndian.PutUint32(s[16:], uint32(len(descriptor)))
	return cell(append(s, descriptor...))
}

// cell is content in use, which a negative size says.
func cell(content []byte) []byte {
	size := (4 + len(content) + 7) &^ 7
	c := make([]byte, size)
	binary.LittleEndian.PutUint32(c, uint32(-int32(size)))
	copy(c[4:], content)
	return c
}

// securityDescriptor is O:BAG:SYD:(A;CI;KA;;;SY)(A;CI;KA;;;BA), self-relative (MS-DTYP 2.4.6).
func securityDescriptor() []byte {
	system := []byte{1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0}
	administrators := []byte{1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x20, 2, 0, 0}
	acl := []byte{2, 0, 0, 0, 2, 0, 0, 0}
	for _, who := range [][]byte{system, administrators} {
		const allowed, containerInherit = 0, 2
		ace := []byte{allowed, containerInherit, byte(8 + len(who)), 0, 0x3F, 0, 0x0F, 0} // KEY_ALL_ACCESS
		acl = append(append(acl, ace...), who...)
	}
	acl[2] = byte(len(acl))
	const header, selfRelative, hasDACL = 20, 0x80, 0x04
	owner, group := header, header+len(administrators)
	d := []byte{1, 0, hasDACL, selfRelative, byte(owner), 0, 0, 0, byte(group), 0, 0, 0, 0, 0, 0, 0, byte(group + len(system)), 0, 0, 0}
	d = append(append(d, administrators...), system...)
	return append(d, acl...)
}
