package knock

import (
	"net/netip"
	"testing"
	"time"

	"github.com/felid-net/felid/dataplane/dptest"
)

// TestNobodyAnswers: the far end listens in another network namespace, to which no way leads.
func TestNobodyAnswers(t *testing.T) {
	one, other := dptest.NewNamespace(t), dptest.NewNamespace(t)
	far := Place{In: other.Do, Address: netip.MustParseAddr("127.0.0.1")}
	for _, protocol := range []uint8{TCP, UDP} {
		if c, err := Open(t.Context(), Place{In: one.Do}, far, protocol, 80, 100*time.Millisecond); c != nil || err != nil {
			t.Errorf("protocol %d: %v, %v", protocol, c, err)
		}
	}
	near := Place{Address: netip.MustParseAddr("127.0.0.1")} // this namespace's loopback is up: the datagram arrives where nobody listens
	for _, protocol := range []uint8{TCP, UDP} {
		if c, err := Open(t.Context(), near, far, protocol, 28474, 100*time.Millisecond); c != nil || err != nil {
			t.Errorf("protocol %d on loopback: %v, %v", protocol, c, err)
		}
	}
}
