package dptest

import (
	"maps"
	"net/netip"

	"github.com/felid-net/felid/dataplane"
)

// HNSPort is an endpoint of the model: a port of the switch with a list of ACLs and the connections that it let through.
type HNSPort struct {
	net   *HNSNetwork
	rules []*aclRule
	flows map[hnsFlow]struct{}
	// old are the sets as they were when the list was written, where H36 does not hold.
	old map[string]hnsSet
}

// hnsFlow is a connection by its first packet. Of ICMP it is an echo request.
type hnsFlow struct {
	dir              dataplane.Direction
	src, dst         netip.Addr
	protocol         uint8
	srcPort, dstPort uint16
}

// HNSPacket is a packet of which there is more to know than a Tuple.
type HNSPacket struct {
	Tuple
	Later bool   // it is a later fragment, which shows no ports
	About *Tuple // it is an ICMP error about this packet
}

// NewPort is an endpoint without ACLs.
func (n *HNSNetwork) NewPort() *HNSPort {
	p := &HNSPort{net: n, flows: map[hnsFlow]struct{}{}}
	n.ports = append(n.ports, p)
	return p
}

// RemovePort takes an endpoint away.
func (n *HNSNetwork) RemovePort(p *HNSPort) {
	for i, q := range n.ports {
		if p == q {
			n.ports = append(n.ports[:i], n.ports[i+1:]...)
			return
		}
	}
}

// Check finds what HNS would refuse in a JSON list of ACL settings.
func (p *HNSPort) Check(list []byte) error {
	_, err := p.net.parseACLs(list)
	return err
}

// SetACLs makes these the endpoint's ACLs, and no others. After an error the old ones stand.
func (p *HNSPort) SetACLs(list []byte) error {
	rules, err := p.net.parseACLs(list)
	if err != nil {
		return err
	}
	p.rules = rules
	if p.net.model.False[H36] {
		p.old = maps.Clone(p.net.sets)
	}
	if p.net.model.False[H14] {
		clear(p.flows)
	}
	return nil
}

func (p *HNSPort) sets() map[string]hnsSet {
	if p.old != nil {
		return p.old
	}
	return p.net.sets
}

// Forget makes the endpoint know no connection.
func (p *HNSPort) Forget() { clear(p.flows) }

// Pass judges a packet to (Ingress) or from the endpoint, and remembers the connection that it opens.
func (p *HNSPort) Pass(dir dataplane.Direction, t Tuple) ACLTrace {
	return p.PassPacket(dir, HNSPacket{Tuple: t})
}

// PassPacket judges a packet to (Ingress) or from the endpoint, and remembers the connection that it opens. A connection lasts as long as the list
// lets its first packet through: what the opener sends is judged each time, and answers pass where that does.
func (p *HNSPort) PassPacket(dir dataplane.Direction, k HNSPacket) ACLTrace {
	m := &p.net.model
	known := ACLTrace{Action: dataplane.Allow, Index: -1, Established: true}
	k.Later = k.Later && m.False[H17]
	switch {
	case k.About != nil && !m.False[H16]:
		if p.knows(hnsFlowOf(dir, *k.About)) || p.knowsAnswer(dir, *k.About) || p.knowsAnswer(other(dir), *k.About) || p.knows(hnsFlowOf(other(dir), *k.About)) {
			return known
		}
	case k.About == nil && !k.Later && !m.False[H13] && p.knowsAnswer(dir, k.Tuple):
		return known
	}
	t := p.judge(dir, &k)
	if opens := !k.Later && k.About == nil && (k.ICMPType < 0 || asksEcho(k.Tuple)); opens && t.Action == dataplane.Allow {
		p.flows[hnsFlowOf(dir, k.Tuple)] = struct{}{}
	}
	return t
}

// knows tells whether a connection was let through, and would be now.
func (p *HNSPort) knows(f hnsFlow) bool {
	if _, ok := p.flows[f]; !ok {
		return false
	}
	k := HNSPacket{Tuple: f.tuple()}
	if p.judge(f.dir, &k).Action == dataplane.Allow {
		return true
	}
	delete(p.flows, f)
	return false
}

// knowsAnswer tells whether a packet answers one that went the other way.
func (p *HNSPort) knowsAnswer(dir dataplane.Direction, t Tuple) bool {
	if p.net.model.False[H15] {
		for f := range p.flows {
			if f.dir != dir && f.src == t.Dst && f.dst == t.Src && p.knows(f) {
				return true
			}
		}
	}
	toItself := t.Src == t.Dst && t.SrcPort == t.DstPort // looks like its own answer
	if t.ICMPType >= 0 && !answersEcho(t) || t.ICMPType < 0 && toItself {
		return false
	}
	f := hnsFlowOf(other(dir), t)
	f.src, f.dst, f.srcPort, f.dstPort = f.dst, f.src, f.dstPort, f.srcPort
	return p.knows(f)
}

func other(dir dataplane.Direction) dataplane.Direction {
	if dir == dataplane.Ingress {
		return dataplane.Egress
	}
	return dataplane.Ingress
}

func hnsFlowOf(dir dataplane.Direction, t Tuple) hnsFlow {
	return hnsFlow{dir: dir, src: t.Src, dst: t.Dst, protocol: t.Protocol, srcPort: t.SrcPort, dstPort: t.DstPort}
}

func (f hnsFlow) tuple() Tuple {
	t := Tuple{Src: f.src, Dst: f.dst, Protocol: f.protocol, SrcPort: f.srcPort, DstPort: f.dstPort, ICMPType: -1, ICMPCode: -1}
	switch f.protocol {
	case dataplane.ProtoICMP:
		t.ICMPType, t.ICMPCode = 8, 0
	case dataplane.ProtoICMPv6:
		t.ICMPType, t.ICMPCode = 128, 0
	}
	return t
}

func asksEcho(t Tuple) bool {
	return t.Protocol == dataplane.ProtoICMP && t.ICMPType == 8 || t.Protocol == dataplane.ProtoICMPv6 && t.ICMPType == 128
}

func answersEcho(t Tuple) bool {
	return t.Protocol == dataplane.ProtoICMP && t.ICMPType == 0 || t.Protocol == dataplane.ProtoICMPv6 && t.ICMPType == 129
}

// HNSWay is where a packet goes.
type HNSWay struct {
	// From and To are the endpoints at its ends; nil where that end is none, or of no Windows node.
	From, To *HNSPort
	SameNode bool
	// FromHost: the host of To itself sends it.
	FromHost bool
	// SentTo is the service that it was sent to, where the sender's node makes of that the destination; else it is zero.
	SentTo netip.AddrPort
	// SenderNode is an address of the sender's node.
	SenderNode netip.Addr
	// Later and About are as in HNSPacket.
	Later bool
	About *Tuple
}

// HNSVerdict is what both ends say; those that are not asked have Action 0.
type HNSVerdict struct {
	Action  dataplane.Action
	Out, In ACLTrace
}

// unknownAddress is nobody's.
var unknownAddress = map[uint8]netip.Addr{4: netip.MustParseAddr("169.254.77.7"), 6: netip.MustParseAddr("fe80::77:7")}

// Send judges a packet by the Out list of its sender and then by the In list of its receiver.
func (m HNS) Send(w HNSWay, t Tuple) HNSVerdict {
	v := HNSVerdict{Action: dataplane.Allow}
	if w.From != nil && w.From == w.To && !w.SentTo.IsValid() && !m.False[H22] {
		return v
	}
	if w.From != nil {
		out := t
		if w.SentTo.IsValid() && m.False[H20] {
			out.Dst, out.DstPort = w.SentTo.Addr(), w.SentTo.Port()
		}
		if v.Out = w.From.PassPacket(dataplane.Egress, HNSPacket{out, w.Later, w.About}); v.Out.Action != dataplane.Allow {
			v.Action = v.Out.Action
			return v
		}
	}
	if w.To == nil || w.From != nil && w.SameNode && m.False[H18] {
		return v
	}
	switch {
	case w.FromHost && m.False[H19]:
		t.Src = unknownAddress[t.Family()]
	case w.SentTo.IsValid() && m.False[H21] && w.SenderNode.IsValid():
		t.Src = w.SenderNode
	}
	v.In = w.To.PassPacket(dataplane.Ingress, HNSPacket{t, w.Later, w.About})
	v.Action = v.In.Action
	return v
}
