package policy

import (
	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
)

// Unused are the policies that select no endpoint among the objects, neither a workload nor a host endpoint, in the order of the
// objects. s is what Resolve made of the same objects for every node. A policy that can't be read counts as absent.
func Unused(objects []v3.Object, s *dataplane.State) []v3.Key {
	used := map[dataplane.PolicyID]bool{}
	for _, e := range s.Endpoints {
		eachPolicy(e, func(id dataplane.PolicyID) { used[id] = true })
	}
	var out []v3.Key
	for _, o := range objects {
		p := newPolicy(o, &reader{key: v3.KeyOf(o)})
		if p != nil && !used[p.id()] {
			out = append(out, p.key)
		}
	}
	return out
}

// eachPolicy visits the policies that select an endpoint; one may be visited more than once.
func eachPolicy(e *dataplane.Endpoint, visit func(dataplane.PolicyID)) {
	stages := [][]dataplane.EndpointTier{e.Tiers}
	if h := e.Host; h != nil {
		stages = append(stages, h.Untracked, h.PreDNAT, h.Forward)
	}
	for _, tiers := range stages {
		for _, t := range tiers {
			for _, id := range t.Ingress {
				visit(id)
			}
			for _, id := range t.Egress {
				visit(id)
			}
		}
	}
}

// BuiltInTier tells whether a tier of that name is there even where no Tier object is.
func BuiltInTier(name string) bool {
	_, ok := builtInTiers[name]
	return ok
}
