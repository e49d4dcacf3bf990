package policy

import (
	"slices"

	"github.com/felid-net/felid/dataplane"
)

// hostSeats are the local host endpoints of one node, few, and those of them that count for nothing.
type hostSeats struct {
	all    []*livePeer
	rivals []rivalry
}

// seat puts a local host endpoint up for its interface; unseat takes it out of the race.
func (r *Resolver) seat(p *livePeer) {
	node := p.endpoint.Node
	if r.hosts[node] == nil {
		r.hosts[node] = &hostSeats{}
	}
	r.hosts[node].all = append(r.hosts[node].all, p)
	r.electHosts(node)
}

func (r *Resolver) unseat(p *livePeer) {
	node := p.endpoint.Node
	r.hosts[node].all = without(r.hosts[node].all, p)
	if p.elected {
		r.depose(p)
	}
	r.electHosts(node)
	if len(r.hosts[node].all) == 0 {
		delete(r.hosts, node)
	}
}

// electHosts elects and deposes the host endpoints of a node as they count now.
func (r *Resolver) electHosts(node dataplane.NodeName) {
	seats := r.hosts[node]
	peers := make([]*peer, len(seats.all))
	for i, p := range seats.all {
		peers[i] = p.peer
	}
	var elected []*peer
	elected, seats.rivals = electHosts(peers)
	r.report = nil
	for _, p := range seats.all {
		switch wanted := slices.Contains(elected, p.peer); {
		case wanted && !p.elected:
			r.elect(p)
		case !wanted && p.elected:
			r.depose(p)
		}
	}
}
