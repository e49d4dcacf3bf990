package agent

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/internal/config"
)

// TestHostOf: every word of the configuration reaches the dataplane.
func TestHostOf(t *testing.T) {
	c := config.Defaults()
	c.Node, c.FailsafeInbound, c.FailsafeOutbound = "n", "tcp:22@10.0.0.0/8", "none"
	want := dataplane.Host{
		Node: "n", Owner: true, InterfacePrefix: "fld", IPv6: true, WorkloadToHost: dataplane.Pass,
		FailsafeInbound: []dataplane.Failsafe{{Protocol: dataplane.ProtoTCP, Port: 22, Net: netip.MustParsePrefix("10.0.0.0/8")}},
	}
	got := HostOf(c)
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{}), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for text, want := range map[string]dataplane.HostToWorkload{
		"All": dataplane.HostToWorkloadAll, "Policy": dataplane.HostToWorkloadPolicy, "ProbePorts": dataplane.HostToWorkloadProbePorts,
	} {
		c.HostToWorkload = text
		if got := HostOf(c).HostToWorkload; got != want {
			t.Errorf("hostToWorkload %s: %d, want %d", text, got, want)
		}
	}
	for text, want := range map[string]dataplane.Action{"Allow": dataplane.Allow, "Deny": dataplane.Deny, "Pass": dataplane.Pass} {
		c.WorkloadToHost = text
		if got := HostOf(c).WorkloadToHost; got != want {
			t.Errorf("workloadToHost %s: %s, want %s", text, got, want)
		}
	}
}
