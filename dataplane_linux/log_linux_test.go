package linux

import (
	"context"
	"maps"
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
				want := map[string]bool{LogPrefix(long, dataplane.Egress, 1): true, LogPrefix(server.ID, dataplane.Ingress, 0): true}
				for missing := maps.Clone(want); len(missing) > 0; { // a packet that was sent again is heard again
					select {
					case got := <-heard:
						if delete(missing, got); !want[got] {
							t.Errorf("heard %q, want one of %v", got, want)
						}
					case <-time.After(patience):
						t.Fatalf("waited in vain for %v", missing)
					}
				}
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

func TestLogPrefixes(t *testing.T) {
	for _, test := range []struct {
		id   dataplane.PolicyID
		want string
	}{
		{policyID("allow-db"), "LE12|NetworkPolicy web-ns/allow-db"},
		{dataplane.PolicyID{Kind: "GlobalNetworkPolicy", Name: `quote"and\more`}, "LE12|GlobalNetworkPolicy quote#" + hashed(`GlobalNetworkPolicy quote"and\more`, 16)},
	} {
		if got := LogPrefix(test.id, dataplane.Egress, 12); got != test.want {
			t.Errorf("%s: %q, want %q", test.id, got, test.want)
		}
	}
}
