package server

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felid-net/felid/dataplane_windows/hns"
)

func TestEndpointOf(t *testing.T) {
	addrs := func(texts ...string) (all []netip.Addr) {
		for _, text := range texts {
			all = append(all, netip.MustParseAddr(text))
		}
		return all
	}
	four, both := hns.Endpoint{ID: "FOUR", Addresses: addrs("10.0.0.1")}, hns.Endpoint{ID: "BOTH", Addresses: addrs("10.0.0.1", "fd00::1")}
	for _, tt := range []struct {
		name  string
		eps   []hns.Endpoint
		addrs []netip.Addr
		want  string // ID, or what the error says
	}{
		{"one family", []hns.Endpoint{four}, addrs("10.0.0.1"), "FOUR"},
		{"both families, in another order", []hns.Endpoint{both}, addrs("fd00::1", "10.0.0.1"), "BOTH"},
		{"the result names one family of two, as win-bridge does", []hns.Endpoint{both}, addrs("10.0.0.1"), "BOTH"},
		{"the result has an address that the endpoint has not", []hns.Endpoint{four}, addrs("10.0.0.1", "fd00::1"), "fd00::1 is of something else"},
		{"none", nil, addrs("10.0.0.1"), "no endpoint is attached; prevResult has [10.0.0.1]"},
		{"a second one, without the address", []hns.Endpoint{four, {ID: "OTHER", Addresses: addrs("10.9.9.9")}}, addrs("10.0.0.1"), "FOUR and OTHER"},
	} {
		got, err := endpointOf(tt.eps, tt.addrs)
		if err == nil && got.ID != tt.want || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %s, %v; want %s", tt.name, got.ID, err, tt.want)
		}
	}
}

// TestAwait: a call that hangs is left behind when the request's time is over, and what it gives later is nobody's.
func TestAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("not done in a second"))
		defer cancel()
		for _, tt := range []struct {
			takes time.Duration
			want  int
			says  string
		}{{time.Millisecond, 7, "as the call says"}, {time.Hour, 0, "HNS has not answered: not done in a second"}} {
			got, err := await(ctx, func() (int, error) {
				time.Sleep(tt.takes)
				return 7, errors.New("as the call says")
			})
			if got != tt.want || err == nil || err.Error() != tt.says {
				t.Errorf("%s: %d, %v", tt.takes, got, err)
			}
		}
		time.Sleep(2 * time.Hour) // of the bubble's clock: it ends, and no race is seen
	})
}
