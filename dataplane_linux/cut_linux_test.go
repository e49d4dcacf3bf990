package linux

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/policy"
)

// TestDeniedConnectionsAreCut with real packets, in both families: what policy denies by now ends, whoever speaks first after it; the rest goes on.
func TestDeniedConnectionsAreCut(t *testing.T) {
	t.Parallel()
	for _, backend := range backends {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			l, s := pairLab(t), pairState()
			server := *s.Policies[policyID("server")]
			server.Ingress = []dataplane.Rule{{Action: dataplane.Allow, Protocol: 6, Src: dataplane.Side{IPSets: []dataplane.IPSetID{"clients"}}}}
			s.Policies[server.ID] = &server
			d, err := New(Config{Backend: backend, CutDenied: true, LockFile: t.TempDir() + "/lock"})
			must(t, err)
			defer d.Close()
			apply(t, d, s, nil)
			cutDenied(t, d, s, 0)
			type pair struct{ open, closed, silent, server net.Conn }
			speaker := l.speaker("server", 82)
			var pairs []pair
			for _, to := range []string{"10.65.0.2", "fd00::2"} {
				var p pair
				for port, c := range map[int]*net.Conn{80: &p.open, 81: &p.closed, 82: &p.silent} {
					conn, err := l.dial("client", "", to, port, patience)
					must(t, err)
					*c = conn
				}
				p.server = <-speaker
				pairs = append(pairs, p)
			}
			cutDenied(t, d, s, 0)
			only80 := server
			only80.Ingress = []dataplane.Rule{server.Ingress[0]}
			only80.Ingress[0].Dst.Ports = []dataplane.PortRange{{Min: 80, Max: 80}}
			s.Policies[server.ID] = &only80
			apply(t, d, s, changed(nil, server.ID))
			for _, p := range pairs {
				must(t, say(p.closed, patience)) // the rules alone cut nothing
			}
			cutDenied(t, d, s, 4)
			for _, p := range pairs {
				must(t, say(p.open, patience))
				if say(p.closed, denied) == nil {
					t.Errorf("%v goes on", p.closed.RemoteAddr())
				}
				if _, err := p.server.Write([]byte("word")); err != nil {
					t.Error(err)
				}
				if hears(p.silent) || say(p.silent, denied) == nil {
					t.Errorf("%v goes on, because its server may begin connections", p.silent.RemoteAddr())
				}
			}
			cutDenied(t, d, s, 0)
		})
	}
}

// cutDenied cuts by the state, as the agent does.
func cutDenied(t *testing.T, d *Dataplane, s *dataplane.State, want int) {
	t.Helper()
	cut, err := d.CutConnections(func(c dataplane.Connection) bool {
		f := policy.Flow{Src: c.Src.Addr(), Dst: c.Dst.Addr(), Protocol: c.Protocol, SrcPort: c.Src.Port(), DstPort: c.Dst.Port(), ICMPType: -1, ICMPCode: -1}
		return policy.Explain(s, f).Verdict == dataplane.Deny
	})
	if err != nil || cut != want {
		t.Errorf("%d connections were cut, %v; want %d", cut, err, want)
	}
}

// speaker answers one word on each connection to a port of a pod, and then hands over its end.
func (l *lab) speaker(pod string, port int) <-chan net.Conn {
	ends := make(chan net.Conn, 8)
	must(l.t, l.in(pod, func() error {
		ln, err := net.Listen("tcp", fmt.Sprint(":", port))
		if err != nil {
			return err
		}
		l.t.Cleanup(func() { ln.Close() })
		go func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				word := make([]byte, 4)
				if _, err := io.ReadFull(c, word); err == nil {
					_, _ = c.Write(word)
				}
				ends <- c
			}
		}()
		return nil
	}))
	return ends
}

// hears tells whether a word comes that nobody asked for.
func hears(c net.Conn) bool {
	_ = c.SetReadDeadline(time.Now().Add(denied))
	n, _ := c.Read(make([]byte, 4))
	return n > 0
}
