package knock

import (
	"net/netip"
	"testing"
	"time"
)

func TestOpen(t *testing.T) {
	for _, address := range []string{"127.0.0.1", "::1"} {
		far := Place{Address: netip.MustParseAddr(address)}
		for _, near := range []Place{far, {}} {
			for port, protocol := range map[uint16]uint8{28471: TCP, 28472: UDP} {
				c, err := Open(t.Context(), near, far, protocol, port, 5*time.Second)
				if c == nil || err != nil {
					t.Fatalf("%s, protocol %d: %v, %v", address, protocol, c, err)
				}
				for range 2 {
					if ok, err := c.Push(t.Context()); !ok || err != nil {
						t.Errorf("%s, protocol %d: push: %v, %v", address, protocol, ok, err)
					}
				}
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			}
		}
	}
}

func TestWhatCantBeAskedIsAnError(t *testing.T) {
	here, nowhere := Place{Address: netip.MustParseAddr("127.0.0.1")}, Place{Address: netip.MustParseAddr("192.0.2.7")}
	if _, err := Open(t.Context(), here, nowhere, TCP, 28473, time.Second); err == nil {
		t.Error("a far end at an address that this host does not have")
	}
	if _, err := Open(t.Context(), nowhere, here, TCP, 28473, time.Second); err == nil {
		t.Error("a near end at an address that this host does not have")
	}
	if _, err := Open(t.Context(), here, here, 132, 28473, time.Second); err == nil {
		t.Error("a protocol that can't be spoken")
	}
	if err := Listen(t.Context(), nowhere); err == nil {
		t.Error("listening at an address that this host does not have")
	}
	if err := Listen(t.Context(), here); err != nil {
		t.Error(err)
	}
}
