package linux

import (
	"maps"
	"slices"
	"testing"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/policy"
	"github.com/felid-net/felid/test/bench/workload"
)

// largeState is that of the node of workload W2: 250 endpoints, 1,000 policies in the cluster, 10,000 endpoints elsewhere; IPv4 alone.
func largeState() *dataplane.State {
	host := dataplane.Host{Node: "peer-node0", Owner: true, InterfacePrefix: "cali", WorkloadToHost: dataplane.Allow}
	s, _ := policy.Resolve(workload.W2(), policy.Options{Node: host.Node, Host: host})
	s.NAT = dataplane.NAT{Masquerade: prefixes("10.64.0.0/12"), Exclude: prefixes("10.64.0.0/12")}
	return s
}

// largePick is an endpoint of largeState with a policy and a set that its packets meet.
func largePick(s *dataplane.State) (*dataplane.Endpoint, *dataplane.Policy, *dataplane.IPSet) {
	ep := s.Endpoints[slices.Min(slices.Collect(maps.Keys(s.Endpoints)))]
	p := s.Policies[ep.Tiers[0].Ingress[0]]
	return ep, p, s.IPSets[p.Ingress[0].Src.IPSets[0]]
}

// BenchmarkRenderLarge renders everything and writes it out as text.
func BenchmarkRenderLarge(b *testing.B) {
	s := largeState()
	b.ReportAllocs()
	for b.Loop() {
		r := Render(s, RenderConfig{})
		if len(r.RestoreText(IPv4, "filter"))+len(r.IPSetText()) < 1<<20 {
			b.Fatal("too little text")
		}
	}
}

// BenchmarkRecordLarge is what the driver does instead, at its start.
func BenchmarkRecordLarge(b *testing.B) {
	s := largeState()
	b.ReportAllocs()
	for b.Loop() {
		newHeld().take(b, s, nil)
	}
}

// BenchmarkRecordEndpoint is one endpoint that comes and goes.
func BenchmarkRecordEndpoint(b *testing.B) {
	s, h := largeState(), newHeld()
	h.take(b, s, nil)
	ep, _, _ := largePick(s)
	id := ep.ID
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if delete(s.Endpoints, id); i%2 == 1 {
			s.Endpoints[id] = ep
		}
		h.take(b, s, changed([]dataplane.EndpointID{id}))
	}
}

// BenchmarkRecordHostEndpoint is one host endpoint that comes and goes beside another and the pods: all chains of host endpoints, and the ways to
// the pods' are rendered anew.
func BenchmarkRecordHostEndpoint(b *testing.B) {
	s, h := largeState(), newHeld()
	hosts := hostState(true)
	for _, name := range []string{"eth0", "rest"} {
		s.Endpoints[hostID(name)] = hosts.Endpoints[hostID(name)]
	}
	maps.Copy(s.Policies, hosts.Policies)
	h.take(b, s, nil)
	id := hostID("eth0")
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if delete(s.Endpoints, id); i%2 == 1 {
			s.Endpoints[id] = hosts.Endpoints[id]
		}
		h.take(b, s, changed([]dataplane.EndpointID{id}))
	}
}

// changed names endpoints and policies.
func changed(endpoints []dataplane.EndpointID, policies ...dataplane.PolicyID) *dataplane.Changes {
	c := dataplane.NewChanges()
	for _, id := range endpoints {
		c.Endpoints[id] = struct{}{}
	}
	for _, id := range policies {
		c.Policies[id] = struct{}{}
	}
	return c
}
