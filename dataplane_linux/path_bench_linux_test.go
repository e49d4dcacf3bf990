package linux

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/policy"
	"github.com/felid-net/felid/test/bench/workload"
	vish "github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// path is two pods on a host of their own, between which connections are made.
type path struct {
	name string
	lab  *lab
	rate []float64 // new connections a second, of each round
	cost []float64 // CPU time of client and server for each connection, in µs: what the machine does besides hardly shows in it
}

const (
	crrPort   = 5201
	crrClient = "10.93.0.1"
	crrServer = "10.93.0.2"
)

// crrState is what the node of a workload with two more pods resolves to, each with n policies: the client's for egress, the server's for ingress. None
// of their rules matches the connections, but for the last one of the last policy.
func crrState(objects []v3.Object, n int) *dataplane.State {
	allow := []v3.Rule{{Action: v3.Allow}}
	objects = append(objects, &v3.Profile{ObjectMeta: metav1.ObjectMeta{Name: "crr"}, Spec: v3.ProfileSpec{Ingress: allow, Egress: allow}})
	for i, side := range []string{"client", "server"} {
		wep := workload.SizeW2.LocalEndpoint(0)
		wep.Name, wep.Spec.Pod, wep.Labels = "crr-"+side, "crr-"+side, map[string]string{"crr": side}
		wep.Spec.InterfaceName, wep.Spec.Profiles = "calicrr"+side, []string{"crr"}
		wep.Spec.IPNetworks = []string{[]string{crrClient, crrServer}[i] + "/32"}
		objects = append(objects, wep)
		for p := range n {
			gnp := workload.GlobalPolicy(200_000+100*i+p, fmt.Sprintf("crr == '%s'", side))
			gnp.Spec.Types = []v3.PolicyType{[]v3.PolicyType{v3.PolicyTypeEgress, v3.PolicyTypeIngress}[i]}
			if p == n-1 {
				last := v3.Rule{Action: v3.Allow, Protocol: &v3.Protocol{Name: "TCP"}}
				gnp.Spec.Egress, gnp.Spec.Ingress = append(gnp.Spec.Egress, last), append(gnp.Spec.Ingress, last)
			}
			objects = append(objects, gnp)
		}
	}
	host := dataplane.Host{Node: workload.Node, Owner: true, InterfacePrefix: "cali", WorkloadToHost: dataplane.Allow}
	s, _ := policy.Resolve(objects, policy.Options{Node: host.Node, Host: host})
	return s
}

// newPath makes a host with two pods; with a backend the driver holds s on it, without one it routes and knows no rules.
func newPath(b *testing.B, name, backend string, s *dataplane.State) *path {
	l := newLab(b)
	l.pod("client", "calicrrclient", crrClient)
	l.pod("server", "calicrrserver", crrServer)
	p := &path{name: name, lab: l}
	if backend == "" {
		must(b, os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644))
		for iface, addr := range map[string]string{"calicrrclient": crrClient, "calicrrserver": crrServer} {
			link, err := vish.LinkByName(iface)
			must(b, err)
			must(b, vish.RouteAdd(&vish.Route{LinkIndex: link.Attrs().Index, Dst: vish.NewIPNet(netip.MustParseAddr(addr).AsSlice()), Scope: unix.RT_SCOPE_LINK}))
		}
	} else {
		d, err := New(Config{Backend: backend, LockFile: filepath.Join(b.TempDir(), "lock")})
		must(b, err)
		b.Cleanup(func() { d.Close() })
		// The other pods of W2 have no interfaces here.
		if _, err := d.Apply(context.Background(), s, nil); err != nil {
			b.Fatal(err)
		}
	}
	p.serve(b)
	return p
}

// serve answers each connection's word with the same, in the server's pod, one connection at a time.
func (p *path) serve(b *testing.B) {
	listener := -1
	must(b, p.lab.in("server", func() (err error) {
		if listener, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0); err != nil {
			return err
		}
		return errors.Join(unix.Bind(listener, &unix.SockaddrInet4{Port: crrPort}), unix.Listen(listener, 128))
	}))
	go func() {
		buf := make([]byte, 1)
		for {
			c, _, err := unix.Accept(listener)
			if err != nil {
				return
			}
			if n, _ := unix.Read(c, buf); n == 1 {
				_, _ = unix.Write(c, buf)
			}
			_, _ = unix.Read(c, buf) // the reset
			_ = unix.Close(c)
		}
	}()
	b.Cleanup(func() { _ = unix.Shutdown(listener, unix.SHUT_RDWR); _ = unix.Close(listener) })
}

// round makes connections for some time, one after another: connect, one byte to and fro, reset.
func (p *path) round(b *testing.B, span time.Duration) {
	must(b, netns.Set(p.lab.host))
	must(b, p.lab.in("client", func() error {
		to := &unix.SockaddrInet4{Port: crrPort, Addr: netip.MustParseAddr(crrServer).As4()}
		n, start, before := 0, time.Now(), cpu()
		for ; time.Since(start) < span; n++ {
			if err := connectOnce(to); err != nil {
				return fmt.Errorf("%s: connection %d: %w", p.name, n, err)
			}
		}
		p.rate = append(p.rate, float64(n)/time.Since(start).Seconds())
		p.cost = append(p.cost, (cpu()-before).Seconds()*1e6/float64(n))
		return nil
	}))
}

func connectOnce(to unix.Sockaddr) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	buf := []byte{1}
	if err = unix.Connect(fd, to); err == nil {
		if _, err = unix.Write(fd, buf); err == nil {
			_, err = unix.Read(fd, buf)
		}
	}
	return errors.Join(err, unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}), unix.Close(fd))
}

// BenchmarkNewConnections compares how many new connections a second there are between two pods of one node: no rules at all, no policy on the
// pods, 50 policies on each. Rounds of all three take turns, and their medians count.
func BenchmarkNewConnections(b *testing.B) {
	for _, backend := range backends {
		b.Run(backend, func(b *testing.B) {
			paths := []*path{newPath(b, "bare", "", nil), newPath(b, "0", backend, crrState(workload.W2(), 0)), newPath(b, "50", backend, crrState(workload.W2(), 50))}
			for range 60 {
				for _, p := range paths {
					p.round(b, 50*time.Millisecond)
				}
			}
			median := func(values []float64) float64 { return slices.Sorted(slices.Values(values))[len(values)/2] }
			for _, p := range paths {
				b.ReportMetric(median(p.rate), p.name+"-per-s")
				b.ReportMetric(median(p.cost), p.name+"-cpu-us")
			}
			bare, none, fifty := paths[0], paths[1], paths[2]
			b.ReportMetric(100*(1-median(fifty.rate)/median(bare.rate)), "%-fewer-than-bare")
			b.ReportMetric(100*(1-median(fifty.rate)/median(none.rate)), "%-fewer-than-0")
			b.ReportMetric(100*(1-median(none.cost)/median(fifty.cost)), "%-fewer-than-0-by-cpu")
		})
	}
}
