package ipset

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var unexported = cmp.AllowUnexported(Listed{}, element{}, Command{})

// listMessage is a message of a list as the kernel writes it, with the same attributes as a create and an add.
func listMessage(l Listed) []byte {
	m := begin(nil, cmdList, 0, 1, l.Header.Family)
	m.text(attrSetName, l.Name)
	m.text(attrTypeName, string(l.Header.Type))
	m.byte(attrFamily, l.Header.Family.number())
	data := m.nest(attrData)
	m.uint32(dataHashSize, l.Header.HashSize)
	m.uint32(dataMaxElem, l.Header.MaxElem)
	m.uint32(dataElements, uint32(l.Count))
	if l.odd {
		m.uint32(dataTimeout, 60)
	}
	m.close(data)
	adt := m.nest(attrADT)
	for _, e := range l.elements {
		m.element(l.Header, e)
	}
	m.close(adt)
	return m.end()
}

func drawListed(t *rapid.T) Listed {
	l := Listed{Name: rapid.SampledFrom([]string{"felid4-a", "felid6-b"}).Draw(t, "name")}
	l.Header = Header{
		Type:   rapid.SampledFrom([]Type{HashNet, HashIPPort}).Draw(t, "type"),
		Family: rapid.SampledFrom([]Family{IPv4, IPv6}).Draw(t, "family"), MaxElem: 65536, HashSize: 64,
	}
	length := 128
	if l.Header.Family == IPv4 {
		length = 32
	}
	for i := range rapid.IntRange(0, 5).Draw(t, "members") {
		var m Member
		m.Prefix = netip.PrefixFrom(netip.IPv6Unspecified(), length)
		if l.Header.Family == IPv4 {
			m.Prefix = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), length)
		}
		if l.Header.Type == HashNet {
			m.Prefix = netip.PrefixFrom(m.Prefix.Addr(), rapid.IntRange(1, length).Draw(t, "bits")).Masked()
		} else {
			m.Protocol, m.Port = rapid.Byte().Draw(t, "protocol"), rapid.Uint16().Draw(t, "port")
		}
		l.elements = append(l.elements, newElement(l.Header.Family, m))
	}
	l.Count = len(l.elements)
	l.odd = rapid.Bool().Draw(t, "odd")
	return l
}

func TestListSurvivesTheWire(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawListed(t)
		b := listMessage(want)
		r, rest, err := nextReply(b)
		if err != nil || len(rest) > 0 {
			t.Fatal(err, rest)
		}
		got, err := decodeList(r.body, nil)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]Listed{want}, got, unexported); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
		// The second part of a large set adds to the first.
		if got, err = decodeList(r.body, got); err != nil || len(got) != 1 || len(got[0].elements) != 2*len(want.elements) {
			t.Fatalf("%v, %v", got, err)
		}
	})
}

func TestSetsOfOthersArePassedOver(t *testing.T) {
	for _, name := range []string{"others", "felid4-", "felid5-a", "xfelid4-a"} {
		r, _, err := nextReply(listMessage(Listed{Name: name, Header: Header{Type: "list:set"}}))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := decodeList(r.body, nil); err != nil || len(got) > 0 {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestSplitKeepsOrderAndLimits(t *testing.T) {
	many := make([]element, 2*maxChunk+1)
	for i := range many {
		many[i].port = uint16(i)
	}
	commands := []Command{
		{Op: OpCreate, Set: "felid4-a"}, {Op: OpAdd, Set: "felid4-a", elements: many}, {Op: OpSwap, Set: "felid4-a", Other: "felid4-b"},
	}
	var order []int
	var joined []element
	for _, p := range split(commands) {
		order = append(order, p.command)
		joined = append(joined, p.elements...)
		b := appendMembers(nil, Command{Op: OpAdd, Set: "felid6-0123456789012345678901234", Header: Header{Type: HashNet, Family: IPv6}}, p.elements, 1)
		if len(b) > 1<<16-1 {
			t.Errorf("message of %d bytes", len(b))
		}
	}
	if diff := cmp.Diff([]int{0, 1, 1, 1, 2}, order); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
	if !slices.Equal(joined, many) {
		t.Error("members are lost or out of order")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(listMessage(Listed{Name: "felid4-a", Header: Header{Type: HashNet, Family: IPv4}, elements: []element{half(true)}}))
	f.Add(listMessage(Listed{Name: "felid6-a", Header: Header{Type: HashIPPort, Family: IPv6}, elements: []element{{bits: 128, proto: 6, port: 80}}}))
	f.Add(appendCommand(nil, Command{Op: OpCreate, Set: "felid4-a", Header: Header{Type: HashNet, Family: IPv4, MaxElem: 1, HashSize: 64}}, 1, 7))
	f.Add(listRequest(1, false))
	f.Add(typeRequest(HashNet, IPv6, 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		for len(b) > 0 {
			r, rest, err := nextReply(b)
			if err != nil {
				return
			}
			if len(rest) >= len(b) {
				t.Fatal("no progress")
			}
			b = rest
			sets, err := decodeList(r.body, nil)
			for _, l := range sets {
				if !ours(l.Name) {
					t.Errorf("set %q is not ours", l.Name)
				}
			}
			if _, revisionErr := decodeRevision(r.body); err == nil && revisionErr != nil && len(r.body) >= 4 {
				t.Errorf("%x: a list, but no attributes: %v", r.body, revisionErr)
			}
			_, _ = r.errno()
		}
	})
}

// The layout is the kernel's: linux/netlink.h, linux/netfilter/ipset/ip_set.h.
func TestOneMemberOnTheWire(t *testing.T) {
	e := newElement(IPv4, Member{Prefix: netip.MustParsePrefix("10.0.0.0/8")})
	b := appendMembers(nil, Command{Op: OpAdd, Set: "felid4-a", Header: Header{Type: HashNet, Family: IPv4}}, []element{e}, 5)
	if n := binary.NativeEndian.Uint32(b); int(n) != len(b) {
		t.Errorf("length %d in a message of %d", n, len(b))
	}
	if kind, flags := binary.NativeEndian.Uint16(b[4:]), binary.NativeEndian.Uint16(b[6:]); kind != 6<<8|9 || flags != 5 {
		t.Errorf("type %#x, flags %#x", kind, flags)
	}
	if family := b[16]; family != 2 {
		t.Errorf("family %d", family)
	}
	tail := []byte{10, 0, 0, 0}
	if !slices.Contains(windows(b, 4), string(tail)) {
		t.Errorf("no address in %x", b)
	}
}

func windows(b []byte, n int) []string {
	var out []string
	for i := 0; i+n <= len(b); i++ {
		out = append(out, string(b[i:i+n]))
	}
	return out
}
