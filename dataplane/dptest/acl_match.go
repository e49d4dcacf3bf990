package dptest

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/felid-net/felid/dataplane"
)

// matches tells whether a rule matches a packet.
func (p *HNSPort) matches(r *aclRule, k *HNSPacket) bool {
	m := &p.net.model
	if !m.matchesProtocol(r, k.Protocol) || !m.matchesFamily(r, k.Family()) {
		return false
	}
	lport, rport := k.SrcPort, k.DstPort
	if r.in {
		lport, rport = rport, lport
	}
	if k.Later && len(r.lports)+len(r.rports) > 0 {
		return false
	}
	local, remote := m.sides(r, k.Src, k.Dst)
	return inRanges(lport, r.lports) && inRanges(rport, r.rports) && p.inField(r.local, local) && p.inField(r.remote, remote)
}

// sides are the addresses that the fields Local and Remote are compared with. Going in, the packet's destination is the endpoint.
func (m *HNS) sides(r *aclRule, src, dst netip.Addr) (local, remote netip.Addr) {
	swap := r.in
	switch {
	case r.namesSets() && !m.False[H35]:
		swap = false
	case !r.namesSets() && m.False[H7]:
		swap = !r.in
	}
	if swap {
		return dst, src
	}
	return src, dst
}

func (m *HNS) matchesProtocol(r *aclRule, protocol uint8) bool {
	protocols := r.protocols
	if protocols == nil && m.False[H4] {
		protocols = []uint8{dataplane.ProtoTCP, dataplane.ProtoUDP, dataplane.ProtoICMP, dataplane.ProtoICMPv6}
	}
	return protocols == nil || slices.Contains(protocols, protocol)
}

func (m *HNS) matchesFamily(r *aclRule, family uint8) bool {
	nowhere := r.local.any() && r.remote.any()
	return family == 4 || !(nowhere && m.False[H3] || len(r.local.prefixes)+len(r.remote.prefixes) > 0 && m.False[H12])
}

func (p *HNSPort) inField(field aclAddrs, a netip.Addr) bool {
	switch {
	case field.any():
		return true
	case len(field.prefixes) > 0:
		return within(a, field.prefixes)
	}
	in := func(id string) bool { return p.net.model.contains(p.sets(), id, a) }
	if p.net.model.False[H38] {
		return slices.ContainsFunc(field.sets, in)
	}
	return !slices.ContainsFunc(field.sets, func(id string) bool { return !in(id) })
}

// inRanges is true for no ranges at all.
func inRanges(port uint16, ranges []dataplane.PortRange) bool {
	for _, r := range ranges {
		if r.Min <= port && port <= r.Max {
			return true
		}
	}
	return len(ranges) == 0
}

// Lint finds two rules between which HNS would decide as it likes.
func (p *HNSPort) Lint() error {
	type place struct {
		in, host bool
		priority uint16
	}
	at := map[place][]*aclRule{}
	for _, a := range p.rules {
		where := place{a.in, a.host, a.Priority}
		for _, b := range at[where] {
			if a.Action != b.Action && overlap(a, b) {
				return fmt.Errorf("ACLs %d (%s) and %d (%s) overlap with priority %d and differ in action", b.index, b.ID, a.index, a.ID, a.Priority)
			}
		}
		at[where] = append(at[where], a)
	}
	return nil
}

// Unmatched finds a direction in which a packet may be left to HNS's default (H5): one without a rule for everything.
func (p *HNSPort) Unmatched() error {
	for name, in := range map[string]bool{"In": true, "Out": false} {
		if !slices.ContainsFunc(p.rules, func(r *aclRule) bool { return r.in == in && !r.host && r.everything() }) {
			return fmt.Errorf("no rule for everything %s", name)
		}
	}
	return nil
}

func (r *aclRule) everything() bool {
	return r.protocols == nil && r.local.any() && r.remote.any() && len(r.lports)+len(r.rports) == 0
}

func overlap(a, b *aclRule) bool {
	common := func(p uint8) bool { return slices.Contains(b.protocols, p) }
	return (a.protocols == nil || b.protocols == nil || slices.ContainsFunc(a.protocols, common)) &&
		netsOverlap(a.local.prefixes, b.local.prefixes) && netsOverlap(a.remote.prefixes, b.remote.prefixes) &&
		portsOverlap(a.lports, b.lports) && portsOverlap(a.rports, b.rports)
}

func netsOverlap(a, b []netip.Prefix) bool {
	for _, p := range a {
		for _, q := range b {
			if p.Overlaps(q) {
				return true
			}
		}
	}
	return len(a) == 0 || len(b) == 0
}

func portsOverlap(a, b []dataplane.PortRange) bool {
	for _, p := range a {
		for _, q := range b {
			if p.Min <= q.Max && q.Min <= p.Max {
				return true
			}
		}
	}
	return len(a) == 0 || len(b) == 0
}
