package agent

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/datastore/dstest"
	"github.com/felid-net/felid/internal/config"
	"github.com/felid-net/felid/policy"
)

// tracker is a recorder with connections.
type tracker struct {
	*recorder
	mu          sync.Mutex
	connections []dataplane.Connection
	reads       int
	fault       error
}

func (r *tracker) CutConnections(denied func(dataplane.Connection) bool) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reads++
	before := len(r.connections)
	if r.fault == nil {
		r.connections = slices.DeleteFunc(r.connections, denied)
	}
	return before - len(r.connections), r.fault
}

// want fails unless connections to these ports are left, and the table has been read so often.
func (r *tracker) want(t *testing.T, when string, reads int, ports ...uint16) {
	t.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	var got []uint16
	for _, c := range r.connections {
		got = append(got, c.Dst.Port())
	}
	if !slices.Equal(got, ports) || r.reads != reads {
		t.Errorf("%s: connections to %v, read %d times; want %v, %d", when, got, r.reads, ports, reads)
	}
}

// startTracking starts an agent whose host has connections from 10.0.0.9 to ports of pod a.
func startTracking(t *testing.T, cut bool, ports ...uint16) (*tracker, *dstest.Memory, func()) {
	store, kernel := dstest.NewMemory(), &tracker{recorder: &recorder{Fake: dataplane.NewFake(nil)}}
	for _, p := range ports {
		kernel.connections = append(kernel.connections, connection("10.0.0.9", "10.0.0.1", p))
	}
	put(t, store, allowAll("kns.ns"))
	put(t, store, pod("a", "c1", "10.0.0.1", nil))
	rest := deny("zz-allows-the-rest", 80)
	rest.Spec.Ingress = []v3.Rule{{Action: v3.Allow}}
	put(t, store, rest)
	a := New(Options{
		Host: dataplane.Host{Node: "n1", Owner: true, IPv6: true}, Store: store, Dataplane: kernel, CutDenied: cut,
		Log: slog.New(slog.DiscardHandler), Metrics: NewMetrics(prometheus.NewRegistry()),
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	return kernel, store, func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

func put(t *testing.T, store *dstest.Memory, o v3.Object) {
	t.Helper()
	if _, err := store.Create(t.Context(), o); err != nil {
		t.Fatal(err)
	}
}

func connection(src, dst string, port uint16) dataplane.Connection {
	to := netip.AddrPortFrom(netip.MustParseAddr(dst), port)
	return dataplane.Connection{Protocol: 6, Src: netip.AddrPortFrom(netip.MustParseAddr(src), 40000), Dst: to, SentTo: to, ICMPType: -1, ICMPCode: -1}
}

// deny denies TCP to a port of every pod.
func deny(name string, port uint16) *v3.GlobalNetworkPolicy {
	p := &v3.GlobalNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}}
	p.Spec.Types = []v3.PolicyType{v3.PolicyTypeIngress}
	p.Spec.Ingress = []v3.Rule{
		{Action: v3.Deny, Protocol: &v3.Protocol{Name: "TCP"}, Destination: v3.EntityRule{Ports: []v3.Port{{Min: port, Max: port}}}},
	}
	return p
}

func TestDeniedConnectionsAreCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kernel, store, stop := startTracking(t, true, 80, 81, 82, 83)
		time.Sleep(time.Minute)
		kernel.want(t, "at the start", 1, 80, 81, 82, 83)
		put(t, store, deny("one", 81))
		time.Sleep(100 * time.Millisecond)
		kernel.want(t, "policy denies 81", 2, 80, 82, 83)
		put(t, store, deny("two", 82))
		time.Sleep(100 * time.Millisecond)
		put(t, store, deny("three", 83))
		time.Sleep(100 * time.Millisecond)
		kernel.want(t, "soon after a reading", 2, 80, 82, 83)
		time.Sleep(time.Second)
		kernel.want(t, "a second later", 3, 80)
		time.Sleep(time.Hour)
		kernel.want(t, "nothing has changed", 3, 80)
		stop()
	})
}

func TestCuttingIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kernel, store, stop := startTracking(t, true, 80)
		time.Sleep(time.Minute)
		kernel.mu.Lock()
		kernel.fault = errors.New("no buffer")
		kernel.mu.Unlock()
		put(t, store, deny("one", 80))
		time.Sleep(time.Second / 2)
		kernel.want(t, "the kernel refuses", 2, 80)
		kernel.mu.Lock()
		kernel.fault = nil
		kernel.mu.Unlock()
		time.Sleep(time.Second)
		kernel.want(t, "a second later", 3)
		stop()
	})
}

func TestNothingIsCutUnlessConfigured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kernel, store, stop := startTracking(t, false, 80)
		time.Sleep(time.Minute)
		put(t, store, deny("one", 80))
		time.Sleep(time.Minute)
		kernel.want(t, "policy denies 80", 0, 80)
		stop()
	})
	err := RunNode(t.Context(), &config.Config{PolicyChangeAction: "CutDenied"}, dstest.NewMemory(), dataplane.NewFake(nil), slog.New(slog.DiscardHandler))
	if !errors.Is(err, errNoCutter) {
		t.Errorf("a dataplane that can't cut: %v", err)
	}
}

// TestConnectionsAreJudgedAsTheyBegan: by the addresses that policy saw, whatever was translated, and only where an endpoint of this node has
// a say.
func TestConnectionsAreJudgedAsTheyBegan(t *testing.T) {
	const client, server, router = "10.0.0.1", "10.0.0.2", "10.0.0.3"
	objects := []v3.Object{
		allowAll("kns.ns"), pod("client", "c", client, map[string]string{"role": "client"}), pod("server", "s", server, map[string]string{"role": "server"}),
		&v3.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}, Spec: v3.NodeSpec{Addresses: []v3.NodeAddress{{Address: "172.18.0.1", Type: "InternalIP"}}}},
	}
	p := deny("server", 81)
	p.Spec.Selector, p.Spec.Ingress = "role == 'server'", append(p.Spec.Ingress, v3.Rule{Action: v3.Pass})
	ping := &v3.GlobalNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "ping"}}
	ping.Spec.Selector, ping.Spec.Types = "role == 'client'", []v3.PolicyType{v3.PolicyTypeEgress}
	ping.Spec.Egress = []v3.Rule{{Action: v3.Deny, Protocol: &v3.Protocol{Name: "ICMP"}, ICMP: &v3.ICMPFields{Type: new(8)}}, {Action: v3.Pass}}
	s, _ := policy.Resolve(append(objects, p, ping), policy.Options{Node: "n1", Host: dataplane.Host{Node: "n1", Owner: true, IPv6: true}})
	s.Endpoints["pod/ns/router"] = &dataplane.Endpoint{ID: "pod/ns/router", Node: "n1", Interface: "fldrouter",
		Addresses: []netip.Addr{netip.MustParseAddr(router)}, AllowedSources: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}
	service := connection(client, server, 81)
	service.SentTo = netip.MustParseAddrPort("10.96.0.1:80")
	echo := connection(client, "192.0.2.9", 0)
	echo.Protocol, echo.ICMPType, echo.ICMPCode = 1, 8, 0
	reply := echo
	reply.ICMPType = 0
	judge := denied(s)
	for _, c := range []struct {
		what string
		dataplane.Connection
		want bool
	}{
		{"to the open port", connection(client, server, 80), false},
		{"to the closed port", connection(client, server, 81), true},
		{"to a service that leads there", service, true},
		{"from elsewhere", connection("10.9.9.9", server, 81), true},
		{"from the node itself", connection("172.18.0.1", server, 81), false},
		{"out, to the same port", connection(server, "10.9.9.9", 81), false},
		{"between others", connection("10.9.9.8", "10.9.9.9", 81), false},
		{"ping", echo, true},
		{"another ICMP", reply, false},
		{"by a router for others, without profile", connection("192.0.2.7", "10.9.9.9", 80), true},
	} {
		if got := judge(c.Connection); got != c.want {
			t.Errorf("%s: denied %v, want %v", c.what, got, c.want)
		}
	}
}
