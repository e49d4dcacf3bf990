package policy

import (
	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
)

// Unused are the policies that select no endpoint among the objects, neither a workload nor a host endpoint, in the order of the
// objects. s is what Resolve made of the same objects for every node. A policy that can't be read counts as absent.
func Unused(objects []v3.Object, s *dataplane.State) []v3.Key {
	hosts := hostPeers(objects)
	var out []v3.Key
	for _, o := range objects {
		p := newPolicy(o, &reader{key: v3.KeyOf(o)})
		if p != nil && s.Policies[p.id()] == nil && !selectsAny(p, hosts) {
			out = append(out, p.key)
		}
	}
	return out
}

func selectsAny(p *policy, hosts []*peer) bool {
	if p.namespace != "" {
		return false // host endpoints are in no namespace
	}
	for _, h := range hosts {
		if p.selector.Evaluate(h) {
			return true
		}
	}
	return false
}

func hostPeers(objects []v3.Object) []*peer {
	profiles := profileSet{}
	var hosts []*peer
	for _, o := range objects {
		switch o := o.(type) {
		case *v3.Profile:
			profiles.named(o.Name).set(o)
		case *v3.HostEndpoint:
			hosts = append(hosts, newHostEndpoint(o, profiles, &reader{key: v3.KeyOf(o)}))
		}
	}
	return hosts
}

// BuiltInTier tells whether a tier of that name is there even where no Tier object is.
func BuiltInTier(name string) bool {
	_, ok := builtInTiers[name]
	return ok
}
