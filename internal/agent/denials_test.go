package agent

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/datastore"
)

func TestDenialText(t *testing.T) {
	policy := dataplane.PolicyID{Kind: "NetworkPolicy", Namespace: "web", Name: "allow-db"}
	at := netip.MustParseAddrPort
	for want, c := range map[string]struct {
		d    dataplane.Denial
		tier string
	}{
		"Denied egress TCP 10.0.0.5:80 by NetworkPolicy web/allow-db rule 2": {
			dataplane.Denial{Direction: dataplane.Egress, Policy: policy, Rule: 2, Protocol: 6, Src: at("10.0.0.1:999"), Dst: at("10.0.0.5:80")}, "default"},
		"Denied egress UDP [fd00::5]:53 by the end of tier default: NetworkPolicy web/allow-db selects the pod, and no rule allows it": {
			dataplane.Denial{Direction: dataplane.Egress, Policy: policy, Rule: -1, Protocol: 17, Src: at("[fd00::1]:999"), Dst: at("[fd00::5]:53")}, "default"},
		"Denied ingress TCP port 80 from 10.0.0.1 by NetworkPolicy web/allow-db rule 0": {
			dataplane.Denial{Policy: policy, Protocol: 6, Src: at("10.0.0.1:999"), Dst: at("10.0.0.5:80")}, ""},
		"Denied ingress ICMP from 10.0.0.1 by the end of all tiers: no profile allows it": {
			dataplane.Denial{Rule: -1, Protocol: 1, Src: at("10.0.0.1:0"), Dst: at("10.0.0.5:0")}, ""},
		"Denied egress protocol 47 10.0.0.5 by the end of its tier: NetworkPolicy web/allow-db selects the pod, and no rule allows it": {
			dataplane.Denial{Direction: dataplane.Egress, Policy: policy, Rule: -1, Protocol: 47, Src: at("10.0.0.1:0"), Dst: at("10.0.0.5:0")}, ""},
	} {
		if got := denialText(&c.d, c.tier); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
}

func TestDenyLimit(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	l := newDenyLimit(now)
	key := func(i int) denialKey { return denialKey{endpoint: dataplane.EndpointID(fmt.Sprint(i)), rule: i} }
	if !l.take(key(0), now) || l.take(key(0), now.Add(denyAgain-time.Second)) || !l.take(key(0), now.Add(denyAgain)) {
		t.Error("the same is not told once in denyAgain")
	}
	now = now.Add(time.Hour)
	told := 0
	for i := range 10 * maxDenials { // a flood of different ones
		if l.take(key(i+1), now.Add(time.Duration(i)*time.Millisecond)) {
			told++
		}
	}
	if want := denyBurst + 10*maxDenials*denyEventsPerMinute/60_000; told < want-1 || told > want+1 {
		t.Errorf("%d of a flood were told, want %d", told, want)
	}
	for i := range 2 * maxDenials { // at a rate that is allowed, for long
		now = now.Add(time.Minute)
		if !l.take(key(-i-1), now) {
			t.Fatalf("%d was not told", i)
		}
	}
	if len(l.told) > maxDenials {
		t.Errorf("%d are remembered", len(l.told))
	}
}

// denier is a dataplane that is told what it denies.
type denier struct {
	*recorder
	each func(dataplane.Denial)
}

func (d *denier) WatchDenials(_ context.Context, each func(dataplane.Denial)) error {
	d.each = each
	return nil
}

// TestDenialsBecomeEvents: of a pod of this node, once for each rule; not of others, and not while there is no agent to ask.
func TestDenialsBecomeEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := startNode(t, allowAll("kns.ns"), versioned("p", 1), pod("a", "c1", "10.0.0.1", nil))
		d := &denier{recorder: n.kernel}
		settle()
		n.o.Dataplane, n.o.DenyEvents = d, true
		reports, stop := reporting(t, n)
		defer stop()
		synctest.Wait()
		id := dataplane.PolicyID{Kind: "NetworkPolicy", Namespace: "ns", Name: "p"}
		in := dataplane.Denial{Policy: id, Rule: -1, Protocol: 6, Src: netip.MustParseAddrPort("10.0.0.9:999"), Dst: netip.MustParseAddrPort("10.0.0.1:81")}
		foreign := in
		foreign.Direction = dataplane.Egress // of 10.0.0.9, which is not here
		began := time.Now()
		for range 5 {
			d.each(in)
			d.each(foreign)
		}
		settle()
		want := []datastore.PodEvent{{
			Namespace: "ns", Pod: "a", Node: "n1", Warning: true, Reason: "DeniedIngress", Action: "Deny", Time: began,
			Message: "Denied ingress TCP port 81 from 10.0.0.9 by the end of tier default: NetworkPolicy ns/p selects the pod, and no rule allows it",
		}}
		if diff := cmp.Diff(want, reports.Events()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		time.Sleep(denyAgain)
		d.each(in)
		settle()
		if got := len(reports.Events()); got != 2 {
			t.Errorf("%d events, want the second after %s", got, denyAgain)
		}
	})
}
