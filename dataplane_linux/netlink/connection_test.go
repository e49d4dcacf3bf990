package netlink

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// attr is one attribute with its padding.
func attr(kind uint16, value ...byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
	b = append(binary.NativeEndian.AppendUint16(b, kind), value...)
	return append(b, make([]byte, (4-len(b)%4)%4)...)
}

func nested(kind uint16, values ...[]byte) []byte {
	return attr(kind|0x8000, slices.Concat(values...)...)
}

// tupleOf is a tuple of TCP over IPv4.
func tupleOf(kind uint16, src, dst string, sport, dport byte) []byte {
	return nested(kind,
		nested(ctaTupleIP, attr(ctaIPv4Src, netip.MustParseAddr(src).AsSlice()...), attr(ctaIPv4Src+1, netip.MustParseAddr(dst).AsSlice()...)),
		nested(ctaTupleProto, attr(ctaProtoNum, 6), attr(ctaProtoSrcPort, 0, sport), attr(ctaProtoDstPort, 0, dport)))
}

func TestReadTracked(t *testing.T) {
	orig, id := tupleOf(ctaTupleOrig, "10.65.0.1", "10.96.0.1", 40, 80), attr(ctaID, 1, 2, 3, 4)
	message := slices.Concat(orig, tupleOf(ctaTupleReply, "10.65.0.2", "172.18.0.1", 81, 40), attr(3, 0, 0, 0, 8), id)
	got, err := readTracked(message)
	if err != nil {
		t.Fatal(err)
	}
	want := Connection{Protocol: 6, Src: netip.MustParseAddrPort("10.65.0.1:40"), Dst: netip.MustParseAddrPort("10.65.0.2:81"),
		SentTo: netip.MustParseAddrPort("10.96.0.1:80"), ICMPType: -1, ICMPCode: -1}
	if diff := cmp.Diff(want, got.connection, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" || got.related {
		t.Errorf("related %v, -want +got\n%s", got.related, diff)
	}
	if !slices.Equal(got.handle, slices.Concat(orig, id)) {
		t.Errorf("handle %x", got.handle)
	}
	if got, err = readTracked(append(message, tupleOf(ctaTupleMaster, "10.65.0.1", "10.65.0.2", 1, 21)...)); err != nil || !got.related {
		t.Errorf("related %v, %v", got.related, err)
	}
	for n := range message {
		if _, err := readTracked(message[:n]); err == nil && n < len(message)-len(id)-8 {
			t.Errorf("no error where %d bytes are left", n)
		}
	}
}

func FuzzReadTracked(f *testing.F) {
	f.Add(slices.Concat(tupleOf(ctaTupleOrig, "10.65.0.1", "10.96.0.1", 40, 80), tupleOf(ctaTupleReply, "10.65.0.2", "172.18.0.1", 81, 40)))
	f.Add(nested(ctaTupleOrig, nested(ctaTupleIP, attr(3, make([]byte, 16)...)), nested(ctaTupleProto, attr(ctaProtoNum, 58), attr(8, 128), attr(9))))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := readTracked(b)
		if c := got.connection; err == nil && (!c.Src.IsValid() || !c.Dst.IsValid() || !c.SentTo.IsValid()) {
			t.Errorf("%x: %+v", b, c)
		}
	})
}
