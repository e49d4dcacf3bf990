package policy

import (
	v3 "github.com/felid-net/felid/api/v3"
)

// useSets counts a program as a user of its sets; those that are new are filled.
func (r *Resolver) useSets(c *compiled) {
	for id, spec := range c.sets {
		s := r.sets[id]
		if s == nil {
			s = newLiveSet(spec)
			r.sets[id], r.state.IPSets[id] = s, s.set
			if spec.service != (serviceName{}) {
				r.ofService[spec.service] = append(r.ofService[spec.service], s)
			}
			r.fill(s)
		}
		s.users++
	}
}

// releaseSets undoes useSets; those without users go.
func (r *Resolver) releaseSets(c *compiled) {
	for id := range c.sets {
		s := r.sets[id]
		if s.users--; s.users > 0 {
			continue
		}
		r.forgetPeers(s)
		delete(r.sets, id)
		delete(r.state.IPSets, id)
		delete(r.dirtySets, s)
		delete(r.nodeSets, s)
		if !s.fresh {
			r.changes.IPSets[id] = nil
		}
		if s.service != (serviceName{}) {
			setOrDelete(r.ofService, s.service, without(r.ofService[s.service], s))
		}
	}
}

// fill adds all members of an empty set, and from now on those that come.
func (r *Resolver) fill(s *liveSet) {
	r.dirtySets[s] = struct{}{}
	svc := r.services[s.service]
	r.fillNodes(s)
	s.standing(svc, s.add)
	s.peers = s.setSpec.peers(svc)
	if s.peers == nil {
		return
	}
	r.bySet.add(s, s.peers)
	r.everyone.matches(s.peers, r.profiles, func(p *livePeer) {
		p.sets = append(p.sets, s)
		r.give(s, p)
	})
}

// empty undoes fill.
func (r *Resolver) empty(s *liveSet) {
	r.forgetPeers(s)
	for m := range s.set.Members {
		delete(s.repeats, m)
		s.remove(m)
	}
	r.dirtySets[s] = struct{}{}
}

// forgetPeers takes a set from the peers that contribute to it.
func (r *Resolver) forgetPeers(s *liveSet) {
	if s.peers == nil {
		return
	}
	r.bySet.remove(s)
	r.everyone.matches(s.peers, r.profiles, func(p *livePeer) { p.sets = without(p.sets, s) })
	s.peers = nil
}

// updateService replaces one view of a service; o is nil where it is gone.
func (r *Resolver) updateService(key v3.Key, o *v3.ServiceEndpoints, read *reader) {
	name, slice := serviceOf(key.Namespace, key.Name)
	sets := r.ofService[name]
	for _, s := range sets {
		r.empty(s)
	}
	svc := r.services[name]
	if svc == nil {
		svc = newService()
		r.services[name] = svc
	}
	svc.set(key.Name, o, slice, read)
	if svc.view == nil && len(svc.slices) == 0 {
		delete(r.services, name)
	}
	for _, s := range sets {
		r.fill(s)
	}
}
