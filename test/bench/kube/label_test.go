//go:build linux

package kube

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/felid-net/felid/internal/lab"
)

// BenchmarkLabel: from a Pod's label change, accepted by the API server, to the set in another node's kernel. Bars: p50 10 ms, p99 40 ms. The
// watch may be ahead of the answer to the change: then the time counts as none. sent-… counts from before the call.
func BenchmarkLabel(b *testing.B) {
	s := newBed(b, 2)
	if _, err := s.pod("node-1", "target", map[string]string{"app": "target"}); err != nil {
		b.Fatal(err)
	}
	if _, err := s.pod("node-2", "anchor", map[string]string{"flag": "on"}); err != nil {
		b.Fatal(err)
	}
	p, err := s.pod("node-2", "peer", nil)
	if err != nil {
		b.Fatal(err)
	}
	s.post("/apis/projectcalico.org/v3/globalnetworkpolicies", allowFrom("flagged", "app == 'target'", "flag == 'on'"))
	anchor, _ := s.Pod("pod/default/anchor")
	space := s.NodeSpace("node-1")
	set, err := setWith(space, anchor.Addr[0])
	if err != nil {
		b.Fatal(err)
	}
	var accepted, sent []time.Duration
	for i := range 200 {
		on := i%2 == 0
		var value any
		if on {
			value = "on"
		}
		start := time.Now()
		answered := make(chan time.Time, 1)
		go func() {
			answered <- s.patch("/api/v1/namespaces/default/pods/peer", map[string]any{"metadata": map[string]any{"labels": map[string]any{"flag": value}}})
		}()
		there, err := whenMember(space, set, p.Addr[0], on)
		if err != nil {
			b.Fatal(err)
		}
		accepted = append(accepted, max(0, there.Sub(<-answered)))
		sent = append(sent, there.Sub(start))
		time.Sleep(50 * time.Millisecond)
	}
	for name, times := range map[string][]time.Duration{"accepted": accepted, "sent": sent} {
		for _, p := range []int{50, 99} {
			b.ReportMetric(float64(percentile(times, p).Microseconds())/1000, fmt.Sprintf("%s-p%d-ms", name, p))
		}
	}
}

// pod makes a Pod in namespace default and connects it.
func (s *bed) pod(node, name string, labels map[string]string, ports ...uint16) (*lab.Pod, error) {
	s.post("/api/v1/namespaces/default/pods", podObject(node, name, labels))
	return s.AddPod(s.b.Context(), node, "default", name, ports)
}

// setWith finds the set in a namespace's kernel that holds an address.
func setWith(space, address string) (name string, err error) {
	err = lab.Within(space, func() error {
		for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
			sets, err := netlink.IpsetListAll()
			if err != nil {
				return err
			}
			for _, set := range sets {
				for _, e := range set.Entries {
					if e.IP.Equal(net.ParseIP(address)) && strings.HasPrefix(set.SetName, "felid4-") {
						name = set.SetName
						return nil
					}
				}
			}
		}
		return fmt.Errorf("no set has %s", address)
	})
	return name, err
}

// whenMember waits until an address is in a set of a namespace's kernel, or out of it.
func whenMember(space, set, address string, in bool) (at time.Time, err error) {
	err = lab.Within(space, func() error {
		entry := &netlink.IPSetEntry{IP: net.ParseIP(address), CIDR: 32}
		for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Microsecond) {
			there, err := netlink.IpsetTest(set, entry)
			if err != nil {
				return err
			}
			if there == in {
				at = time.Now()
				return nil
			}
		}
		return errors.New("the set does not follow")
	})
	return at, err
}
