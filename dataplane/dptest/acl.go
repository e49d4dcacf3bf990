package dptest

import (
	"maps"

	"github.com/felid-net/felid/dataplane"
)

// HNS is the model of what the Windows Host Networking Service does with packets: the one that all tests judge by, and the emulator too. What it
// takes for granted is numbered in docs/windows.md; each of these assumptions can be made false here, and then the model does the worst that is
// likely instead (see the comments of the constants).
//
// A packet to or from an endpoint meets, in its direction: the connections that the endpoint knows, whose answers pass (H13 to H17); the layer
// of rules of type Host, where a Block that wins ends it and all else goes on (H6); the layer of type Switch, where the matching rule with the
// lowest priority number decides (H1, H2); and where none matches, the default, which differs by build (H5).
//
// A rule matches by protocol, by the addresses of both sides, and by ports. Plain addresses are seen from the endpoint (H7); in rules that name
// sets Local is the source and Remote the destination (H35). What is empty matches everything (H3, H4).
//
// What HNS refuses, and what felid never writes because nobody knows what HNS would make of it, is an error: addresses with host bits or words
// in their place, ports without a protocol that has them, priorities out of range, families mixed in one rule, sets mixed with addresses,
// fields of more than 4000 items, sets that do not stand.
type HNS struct {
	Major, Minor int // version of HNS: sets stand since 13.0
	// DefaultAllow lets a packet through that none of an endpoint's ACLs match.
	DefaultAllow bool
	// IPv6: the network is dual stack; else ACLs with IPv6 addresses are refused.
	IPv6 bool
	// False are the assumptions that do not hold.
	False map[Assumption]bool
}

// HNSOf is the model of a build of Windows Server: 20348 (2022) or 26100 (2025). That versions before 2025 let through what nothing matches is
// the worse of what was reported.
func HNSOf(build int) HNS {
	switch build {
	case 20348:
		return HNS{Major: 13, Minor: 2, DefaultAllow: true, IPv6: true}
	case 26100:
		return HNS{Major: 15, Minor: 4, IPv6: true}
	}
	panic("dptest: unknown build of Windows")
}

// Without is the model where these assumptions do not hold either.
func (m HNS) Without(these ...Assumption) HNS {
	m.False = maps.Clone(m.False)
	if m.False == nil {
		m.False = map[Assumption]bool{}
	}
	for _, a := range these {
		m.False[a] = true
	}
	return m
}

func (m HNS) hasSets() bool { return m.Major >= 13 && !m.False[H34] }

// ACLTrace is what the ACLs of an endpoint say of a packet.
type ACLTrace struct {
	Action dataplane.Action // Allow or Deny
	// Index of the rule that decided in the list, and its Id; -1 where none did.
	Index int
	ID    string
	// Established: the packet belongs to a connection that was let through.
	Established bool
	// Tie: another rule of the same priority and the other action matches too, and HNS decides as it likes.
	Tie bool
}

// TraceACLs runs the first packet of a connection through the ACLs of one endpoint, given as a JSON list of HNS ACL settings, on the newest build.
// Rules of equal priority that overlap and differ in action are an error, because HNS decides between them as it likes; so is everything that
// HNS would refuse.
func TraceACLs(list []byte, dir dataplane.Direction, t Tuple) (ACLTrace, error) {
	port := HNSOf(26100).NewNetwork().NewPort()
	if err := port.SetACLs(list); err != nil {
		return ACLTrace{}, err
	}
	if err := port.Lint(); err != nil {
		return ACLTrace{}, err
	}
	return port.Pass(dir, t), nil
}

// judge is what the list alone says of a packet that begins something.
func (p *HNSPort) judge(dir dataplane.Direction, k *HNSPacket) ACLTrace {
	m := &p.net.model
	nothing := ACLTrace{Action: dataplane.Deny, Index: -1}
	if allow := len(p.rules) == 0 || m.DefaultAllow; allow != m.False[H5] {
		nothing.Action = dataplane.Allow
	}
	in := dir == dataplane.Ingress
	if m.False[H6] {
		return p.best(nothing, in, k, func(*aclRule) bool { return true })
	}
	host := p.best(nothing, in, k, func(r *aclRule) bool { return r.host })
	if host.Index >= 0 && host.Action == dataplane.Deny {
		return host
	}
	return p.best(nothing, in, k, func(r *aclRule) bool { return !r.host })
}

// best is what the winner among the matching rules of a layer says, or else is returned.
func (p *HNSPort) best(otherwise ACLTrace, in bool, k *HNSPacket, layer func(*aclRule) bool) ACLTrace {
	var best *aclRule
	tie := false
	for _, r := range p.rules {
		if r.in != in || !layer(r) || best != nil && p.before(best, r) || !p.matches(r, k) {
			continue
		}
		tie = best != nil && !p.before(r, best) && (tie || r.Action != best.Action)
		if best == nil || p.before(r, best) || p.net.model.False[H2] {
			best = r
		}
	}
	if best == nil {
		return otherwise
	}
	t := ACLTrace{Action: dataplane.Allow, Index: best.index, ID: best.ID, Tie: tie}
	if best.Action == "Block" {
		t.Action = dataplane.Deny
	}
	return t
}

// before tells whether a is asked before b; neither is of two with equal rank.
func (p *HNSPort) before(a, b *aclRule) bool {
	x, y := a.Priority, b.Priority
	if p.net.model.False[H2] {
		x, y = x/10, y/10
	}
	if p.net.model.False[H1] {
		x, y = y, x
	}
	return x < y
}
