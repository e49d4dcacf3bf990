package policy_test

import (
	"testing"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/policy"
	"github.com/felid-net/felid/test/bench/workload"
)

// BenchmarkExplain is one connection between pods of two nodes, where all 50,000 endpoints are in the State.
func BenchmarkExplain(b *testing.B) {
	state, _ := policy.Resolve(workload.W3(), policy.Options{Host: dataplane.Host{IPv6: true}})
	var from, to *dataplane.Endpoint
	for _, e := range state.Endpoints {
		switch {
		case from == nil:
			from = e
		case e.Node != from.Node:
			to = e
		}
	}
	f := policy.Flow{Src: from.Addresses[0], Dst: to.Addresses[0], Protocol: dataplane.ProtoTCP, DstPort: 80, ICMPType: -1, ICMPCode: -1}
	e := policy.NewExplainer(state)
	for name, explain := range map[string]func() policy.Answer{
		"one of many": func() policy.Answer { return e.Between(from.ID, to.ID, f) },
		"a single":    func() policy.Answer { return policy.ExplainBetween(state, from.ID, to.ID, f) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				explain()
			}
		})
	}
}
