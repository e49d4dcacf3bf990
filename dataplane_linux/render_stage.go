package linux

import (
	"github.com/felid-net/felid/dataplane"
)

// stage is where on its way through the host a packet meets policy. Each has chains of its own for the policies that are used there.
type stage uint8

const (
	stageLocal     stage = iota // filter: to and from pods, and what the host itself gets and sends
	stageForward                // filter: what comes in at a host endpoint and is forwarded
	stageUntracked              // raw: before connection tracking
	stagePreDNAT                // mangle PREROUTING: before destination NAT
	stageSent                   // mangle POSTROUTING: what the host itself sends and destination NAT has redirected
)

// table that the stage is in.
func (s stage) table() string {
	switch s {
	case stageUntracked:
		return "raw"
	case stagePreDNAT, stageSent:
		return "mangle"
	}
	return "filter"
}

// directions of policies that can be used at the stage. What leaves by a host endpoint and is forwarded uses the chains of stageLocal.
func (s stage) directions() []dataplane.Direction {
	switch s {
	case stageForward, stagePreDNAT:
		return directions[:1]
	case stageSent:
		return directions[1:]
	}
	return directions[:]
}

// accepts tells whether policies accept outright what they allow. What goes to a pod or to the host itself has passed everything else (egress
// policy comes first), so there the owner of the network does; anywhere else more follows.
func (r *renderer) accepts(s stage, d dataplane.Direction) bool {
	return s == stageLocal && d == dataplane.Ingress && r.host.Owner
}

// way through the policies of an endpoint.
type way struct {
	stage     stage
	direction dataplane.Direction
	allowed   string // the target of a packet that a policy has marked as allowed: "-j RETURN"
	grouped   bool   // many policies of a tier are crossed by groups
}

// of are the policies of a tier that apply on this way.
func (w *way) of(t *dataplane.EndpointTier) []dataplane.PolicyID {
	if w.direction == dataplane.Egress {
		return t.Egress
	}
	return t.Ingress
}
