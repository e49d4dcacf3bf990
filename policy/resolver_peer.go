package policy

import (
	"slices"

	v3 "github.com/felid-net/felid/api/v3"
)

// updatePeer replaces a peer; p is nil where it is gone or no peer.
func (r *Resolver) updatePeer(key v3.Key, p *peer) {
	old := r.peers[key]
	switch {
	case old == nil && p == nil:
	case old != nil && p != nil && old.contributesAs(p):
		r.relabel(old, p)
	default:
		if old != nil {
			r.leave(old)
		}
		if p != nil {
			r.enter(&livePeer{peer: p})
		}
	}
}

// contributesAs tells whether a remote peer has only changed in its labels.
func (p *livePeer) contributesAs(q *peer) bool {
	return p.endpoint == nil && q.endpoint == nil && p.created == q.created && p.pod == q.pod && p.host == q.host && p.lossy == q.lossy &&
		slices.Equal(p.nets, q.nets) && slices.Equal(p.ports, q.ports)
}

// relabel is the short way for the most frequent change of all.
func (r *Resolver) relabel(live *livePeer, p *peer) {
	r.unlist(live)
	r.claims.replace(live.peer, p)
	live.peer = p
	r.list(live)
	r.rematch(live)
}

func (r *Resolver) enter(p *livePeer) {
	r.peers[p.key] = p
	r.list(p)
	r.disputing(r.claims.rivals(p.peer), func() { r.claims.add(p.peer) })
	r.rematch(p)
	r.nominate(p)
}

func (r *Resolver) leave(p *livePeer) {
	r.withdraw(p)
	p.sets = nil
	r.dismiss(p)
	r.disputing(r.claims.rivals(p.peer), func() { r.claims.remove(p.peer) })
	r.unlist(p)
	delete(r.peers, p.key)
}

// list makes a peer known to the index and to its profiles; unlist undoes it.
func (r *Resolver) list(p *livePeer) {
	for _, parent := range p.parents {
		if parent.children == nil {
			parent.children = map[*livePeer]struct{}{}
		}
		parent.children[p] = struct{}{}
		r.profiles[parent.name] = parent
	}
	r.everyone.add(p)
}

func (r *Resolver) unlist(p *livePeer) {
	r.everyone.remove(p)
	for _, parent := range p.parents {
		delete(parent.children, p)
	}
	r.forgetProfiles(p.parents)
}

// forgetProfiles drops those that neither exist nor have children.
func (r *Resolver) forgetProfiles(profiles []*profile) {
	for _, p := range profiles {
		if p.object == nil && len(p.children) == 0 && r.profiles[p.name] == p {
			delete(r.profiles, p.name)
		}
	}
}

// disputing does what may change the owner of addresses that these peers claim.
func (r *Resolver) disputing(rivals []*peer, change func()) {
	for _, q := range rivals {
		r.withdraw(r.peers[q.key])
	}
	change()
	for _, q := range rivals {
		r.supply(r.peers[q.key])
	}
}

// withdraw takes back all that a peer contributes; supply contributes it again.
func (r *Resolver) withdraw(p *livePeer) {
	for _, s := range p.sets {
		r.take(s, p)
	}
}

func (r *Resolver) supply(p *livePeer) {
	for _, s := range p.sets {
		r.give(s, p)
	}
}

func (r *Resolver) give(s *liveSet, p *livePeer) {
	r.dirtySets[s] = struct{}{}
	s.contribute(p.peer, r.services[s.service], r.claims, s.add)
}

func (r *Resolver) take(s *liveSet, p *livePeer) {
	r.dirtySets[s] = struct{}{}
	s.contribute(p.peer, r.services[s.service], r.claims, s.remove)
}

// rematch compares the sets that a peer is in with those that it matches now.
func (r *Resolver) rematch(p *livePeer) {
	var now []*liveSet
	r.bySet.candidates(p.peer, func(s *liveSet) {
		if s.peers.Evaluate(p) {
			now = append(now, s)
		}
	})
	for _, s := range p.sets {
		if !slices.Contains(now, s) {
			r.take(s, p)
		}
	}
	for _, s := range now {
		if !slices.Contains(p.sets, s) {
			r.give(s, p)
		}
	}
	p.sets = now
}

// nominate puts a local endpoint up for its id, which several objects may claim: the newest is elected.
func (r *Resolver) nominate(p *livePeer) {
	if p.endpoint == nil {
		return
	}
	if p.endpoint.Host != nil {
		r.seat(p)
		return
	}
	id := p.endpoint.ID
	switch other := r.elected[id]; {
	case other == nil:
		r.elect(p)
	case p.compareClaim(other.peer) < 0:
		r.depose(other)
		r.defeated[id] = append(r.defeated[id], other)
		r.elect(p)
	default:
		r.defeated[id] = append(r.defeated[id], p)
	}
}

// dismiss takes a local endpoint out of the race for its id.
func (r *Resolver) dismiss(p *livePeer) {
	if p.endpoint == nil {
		return
	}
	if p.endpoint.Host != nil {
		r.unseat(p)
		return
	}
	id := p.endpoint.ID
	if !p.elected {
		setOrDelete(r.defeated, id, without(r.defeated[id], p))
		return
	}
	r.depose(p)
	others := r.defeated[id]
	if len(others) == 0 {
		return
	}
	next := slices.MinFunc(others, func(a, b *livePeer) int { return a.compareClaim(b.peer) })
	setOrDelete(r.defeated, id, without(others, next))
	r.elect(next)
}

// elect makes p the endpoint that the State holds; depose undoes it.
func (r *Resolver) elect(p *livePeer) {
	p.elected = true
	r.elected[p.endpoint.ID] = p
	r.touchEndpoint(p)
	r.locals.add(p)
	for _, named := range p.profiles {
		r.use(named.id())
	}
	r.selectPolicies(p)
}

func (r *Resolver) depose(p *livePeer) {
	for len(p.policies) > 0 {
		r.detach(p, p.policies[0])
	}
	for _, named := range p.profiles {
		r.disuse(named.id())
	}
	r.locals.remove(p)
	r.dirtyEndpoints[p.endpoint.ID] = struct{}{}
	delete(r.elected, p.endpoint.ID)
	p.elected, p.dirty = false, false
}

// selectPolicies attaches the policies that select an elected endpoint which has none yet.
func (r *Resolver) selectPolicies(p *livePeer) {
	r.byPolicy.candidates(p.peer, func(l *livePolicy) {
		if l.selects(p.peer) {
			r.attach(p, l)
		}
	})
}

// updateProfile replaces a profile; o is nil where it is gone.
func (r *Resolver) updateProfile(name string, o *v3.Profile) {
	p := r.profiles.named(name)
	r.everyone.removeProfile(p)
	r.locals.removeProfile(p)
	p.set(o)
	r.everyone.addProfile(p)
	r.locals.addProfile(p)

	r.touchProgram(p.id())
	for child := range p.children {
		r.rematch(child)
		if child.elected {
			for len(child.policies) > 0 {
				r.detach(child, child.policies[0])
			}
			r.selectPolicies(child)
			r.dirtyEndpoints[child.endpoint.ID] = struct{}{}
		}
	}
	r.forgetProfiles([]*profile{p})
}
