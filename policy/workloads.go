package policy

import (
	"maps"
	"slices"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/policy/selector"
)

// Workloads are the workload endpoints among the objects that a selector selects, by the labels that policies go by: their own, and those
// of their namespace, service account and profiles. Sorted; those without an address are none.
func Workloads(objects []v3.Object, s *selector.Selector) []dataplane.EndpointID {
	profiles := profileSet{}
	found := map[dataplane.EndpointID]*peer{}
	for _, o := range objects {
		switch o := o.(type) {
		case *v3.Profile:
			profiles.named(o.Name).set(o)
		case *v3.WorkloadEndpoint:
			p := newWorkload(o, "", profiles, &reader{key: v3.KeyOf(o)})
			if p == nil {
				continue
			}
			if other := found[p.endpoint.ID]; other == nil || p.compareClaim(other) < 0 {
				found[p.endpoint.ID] = p
			}
		}
	}
	maps.DeleteFunc(found, func(_ dataplane.EndpointID, p *peer) bool { return !s.Evaluate(p) })
	return slices.Sorted(maps.Keys(found))
}
