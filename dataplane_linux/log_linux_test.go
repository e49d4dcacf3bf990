package linux

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/felid-net/felid/dataplane"
	nflog "github.com/florianl/go-nflog/v2"
)

// TestLogIsHeard reads back what Log rules noted, with the prefix that names policy and rule, in both families.
func TestLogIsHeard(t *testing.T) {
	t.Parallel()
	for _, backend := range backends {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			l, s := pairLab(t), pairState()
			server := s.Policies[policyID("server")]
			server.Ingress = append([]dataplane.Rule{{Action: dataplane.Log, Protocol: 6}}, server.Ingress...)
			long := dataplane.PolicyID{Kind: "GlobalNetworkPolicy", Name: "a-policy-whose-name-is-so-long-that-its-prefix-does-not-fit"}
			s.Policies[long] = &dataplane.Policy{ID: long, Egress: []dataplane.Rule{
				{Action: dataplane.Pass, Protocol: 17, Index: 0}, {Action: dataplane.Log, Index: 1, Dst: dataplane.Side{NotPorts: []dataplane.PortRange{{Min: 22, Max: 22}}}},
			}}
			s.Endpoints[clientID].Tiers = []dataplane.EndpointTier{{Name: "default", Egress: []dataplane.PolicyID{long}, Default: dataplane.Pass}}
			heard := make(chan string, 64)
			listenNFLOG(t, 7, heard)
			d, err := New(Config{Backend: backend, LogGroup: 7, LockFile: t.TempDir() + "/lock"})
			must(t, err)
			defer d.Close()
			apply(t, d, s, nil)
			for _, to := range []string{"10.65.0.2", "fd00::2"} {
				l.expect(dataplane.Allow, "client", to, 80)
				expectHeard(t, heard, []string{LogPrefix(long, dataplane.Egress, 1), LogPrefix(server.ID, dataplane.Ingress, 0)})
			}
		})
	}
}

// listenNFLOG passes the prefixes of one group in the calling thread's namespace.
func listenNFLOG(t *testing.T, group uint16, heard chan<- string) {
	t.Helper()
	nf, err := nflog.Open(&nflog.Config{Group: group, Copymode: nflog.CopyPacket, Bufsize: 128})
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); nf.Close() })
	must(t, nf.RegisterWithErrorFunc(ctx, func(a nflog.Attribute) int {
		if a.Prefix != nil {
			heard <- *a.Prefix
		}
		return 0
	}, func(error) int { return 0 }))
}

// TestVerdictsAreHeard: with LogVerdicts each new connection is reported with what decided about it, rule, end of tier or no profile, and what
// follows on an allowed one is not.
func TestVerdictsAreHeard(t *testing.T) {
	t.Parallel()
	for _, backend := range backends {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			l, s := pairLab(t), pairState()
			out, in := policyID("out"), policyID("server")
			s.Policies[out] = &dataplane.Policy{ID: out, Egress: []dataplane.Rule{
				{Action: dataplane.Pass, Index: 3, Protocol: 6, Dst: dataplane.Side{Ports: []dataplane.PortRange{{Min: 80, Max: 80}, {Min: 81, Max: 81}}}},
			}}
			s.Policies[in].Ingress = []dataplane.Rule{{Action: dataplane.Allow, Protocol: 6, Dst: dataplane.Side{Ports: []dataplane.PortRange{{Min: 80, Max: 80}}}}}
			s.Endpoints[clientID].Tiers = []dataplane.EndpointTier{{Name: "default", Egress: []dataplane.PolicyID{out}, Default: dataplane.Deny}}
			s.Endpoints[serverID].Tiers = []dataplane.EndpointTier{{Name: "default", Ingress: []dataplane.PolicyID{in}, Default: dataplane.Deny}}
			heard := make(chan string, 256)
			listenNFLOG(t, 8, heard)
			d, err := New(Config{Backend: backend, LogGroup: 8, LogVerdicts: true, LockFile: t.TempDir() + "/lock"})
			must(t, err)
			defer d.Close()
			apply(t, d, s, nil)
			profile := s.Endpoints[clientID].Profiles[0]
			passed := []string{Logged{dataplane.Pass, dataplane.Egress, out, 3}.Prefix(), Logged{dataplane.Allow, dataplane.Egress, profile, 0}.Prefix()}
			for _, to := range []string{"10.65.0.2", "fd00::2"} {
				l.expect(dataplane.Allow, "client", to, 80)
				expectHeard(t, heard, append(passed, Logged{dataplane.Allow, dataplane.Ingress, in, 0}.Prefix()))
				l.expect(dataplane.Deny, "client", to, 81)
				expectHeard(t, heard, append(passed, Logged{dataplane.Deny, dataplane.Ingress, in, -1}.Prefix()))
				l.expect(dataplane.Deny, "client", to, 82)
				expectHeard(t, heard, []string{Logged{dataplane.Deny, dataplane.Egress, out, -1}.Prefix()})
			}
		})
	}
}

// expectHeard waits until each of want has been heard, and fails on anything else. A packet that was sent again is heard again.
func expectHeard(t *testing.T, heard <-chan string, want []string) {
	t.Helper()
	for missing := slices.Clone(want); len(missing) > 0; {
		select {
		case got := <-heard:
			missing = slices.DeleteFunc(missing, func(s string) bool { return s == got })
			if !slices.Contains(want, got) {
				t.Errorf("heard %q, want one of %q", got, want)
			}
		case <-time.After(patience):
			t.Fatalf("waited in vain for %q", missing)
		}
	}
	for { // what was sent again
		select {
		case got := <-heard:
			if !slices.Contains(want, got) {
				t.Errorf("heard %q, want one of %q", got, want)
			}
		default:
			return
		}
	}
}

// TestLogRate: of the packets that a Log rule matches no more are logged than the rate lets through, and a driver that finds the limit in
// force leaves it alone.
func TestLogRate(t *testing.T) {
	t.Parallel()
	for _, backend := range backends {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			l, s := pairLab(t), pairState()
			server := s.Policies[policyID("server")]
			port := func(n uint16) dataplane.Side {
				return dataplane.Side{Ports: []dataplane.PortRange{{Min: n, Max: n}}}
			}
			server.Ingress = append([]dataplane.Rule{
				{Action: dataplane.Log, Protocol: 6, Dst: port(80)}, {Action: dataplane.Log, Protocol: 6, Dst: port(81), Index: 1},
			}, server.Ingress...)
			heard := make(chan string, 64)
			listenNFLOG(t, 9, heard)
			cfg := Config{Backend: backend, LogGroup: 9, LogRate: "1/hour", LogBurst: 2, LockFile: t.TempDir() + "/lock"}
			d, err := New(cfg)
			must(t, err)
			apply(t, d, s, nil)
			must(t, d.Close())
			want := "--dports 80 -m limit --limit 1/hour --limit-burst 2 -m comment"
			if text := l.run("iptables-"+backend+"-save", "-t", "filter"); !strings.Contains(text, want) {
				t.Errorf("want %q in\n%s", want, text)
			}
			for range 6 {
				l.expect(dataplane.Allow, "client", "10.65.0.2", 80)
			}
			l.expect(dataplane.Deny, "client", "10.65.0.2", 81) // it comes after all of the others
			limited := 0
			for last := LogPrefix(server.ID, dataplane.Ingress, 1); ; limited++ {
				if got := <-heard; got == last {
					break
				}
			}
			if limited != 2 {
				t.Errorf("%d packets of 6 were logged, want 2", limited)
			}
			again, err := New(cfg)
			must(t, err)
			defer again.Close()
			if res := apply(t, again, s, nil); res.Stats.Writes > 0 {
				t.Errorf("%d writes where the kernel was right", res.Stats.Writes)
			}
		})
	}
}
