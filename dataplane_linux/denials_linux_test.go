package linux

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/felid-net/felid/dataplane"
)

// TestDenialsAreHeard: of packets that policy denies the driver tells policy and rule, or the end of the tier, with addresses and ports, in both
// families; not of allowed ones, and of a flood no more than the limit.
func TestDenialsAreHeard(t *testing.T) {
	t.Parallel()
	for _, backend := range backends {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			l, s := pairLab(t), pairState()
			out, in := policyID("out"), policyID("server")
			port := func(n uint16) dataplane.Side { return dataplane.Side{Ports: []dataplane.PortRange{{Min: n, Max: n}}} }
			s.Policies[out] = &dataplane.Policy{ID: out, Egress: []dataplane.Rule{
				{Action: dataplane.Deny, Index: 3, Protocol: 6, Dst: port(82)}, {Action: dataplane.Allow, Index: 4},
			}}
			s.Policies[in].Ingress = []dataplane.Rule{{Action: dataplane.Allow, Protocol: 6, Dst: port(80)}}
			s.Endpoints[clientID].Tiers = []dataplane.EndpointTier{{Name: "default", Egress: []dataplane.PolicyID{out}, Default: dataplane.Deny}}
			s.Endpoints[serverID].Tiers = []dataplane.EndpointTier{{Name: "default", Ingress: []dataplane.PolicyID{in}, Default: dataplane.Deny}}
			d, err := New(Config{Backend: backend, DenyGroup: 21, LockFile: t.TempDir() + "/lock"})
			must(t, err)
			defer d.Close()
			heard := make(chan dataplane.Denial, 256)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			must(t, d.WatchDenials(ctx, func(d dataplane.Denial) { heard <- d }))
			apply(t, d, s, nil)
			for _, c := range []struct{ from, to string }{{"10.65.0.1", "10.65.0.2"}, {"fd00::1", "fd00::2"}} {
				l.expect(dataplane.Allow, "client", c.to, 80)
				l.expect(dataplane.Deny, "client", c.to, 81)
				expectDenial(t, heard, dataplane.Denial{Direction: dataplane.Ingress, Policy: in, Rule: -1, Protocol: 6}, c.from, c.to, 81)
				l.expect(dataplane.Deny, "client", c.to, 82)
				expectDenial(t, heard, dataplane.Denial{Direction: dataplane.Egress, Policy: out, Rule: 3, Protocol: 6}, c.from, c.to, 82)
			}
			again, err := New(d.cfg)
			must(t, err)
			defer again.Close()
			if res := apply(t, again, s, nil); res.Stats.Writes > 0 {
				t.Errorf("%d writes where the kernel was right", res.Stats.Writes)
			}
		})
	}
}

// expectDenial waits for a denial; only the same, of a packet that was sent again, may come besides.
func expectDenial(t *testing.T, heard <-chan dataplane.Denial, want dataplane.Denial, from, to string, port uint16) {
	t.Helper()
	want.Dst = netip.AddrPortFrom(netip.MustParseAddr(to), port)
	select {
	case got := <-heard:
		if got.Src.Addr().String() != from || got.Src.Port() == 0 {
			t.Errorf("from %s, want %s and a port", got.Src, from)
		}
		got.Src = netip.AddrPort{}
		if got != want {
			t.Errorf("heard %+v, want %+v", got, want)
		}
	case <-time.After(patience):
		t.Fatalf("waited in vain for %+v", want)
	}
	for { // what was sent again
		select {
		case got := <-heard:
			got.Src = netip.AddrPort{}
			if got != want {
				t.Errorf("heard %+v beside %+v", got, want)
			}
		default:
			return
		}
	}
}

// TestWatchDenialsNeedsAGroup: without one there is nothing to listen to.
func TestWatchDenialsNeedsAGroup(t *testing.T) {
	t.Parallel()
	newLab(t)
	d, err := New(Config{Backend: "nft", LockFile: t.TempDir() + "/lock"})
	must(t, err)
	defer d.Close()
	if err := d.WatchDenials(t.Context(), func(dataplane.Denial) {}); err == nil {
		t.Error("a driver that tells nobody says that it does")
	}
}
