package policy

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/felid-net/felid/dataplane"
)

// whyNot says which field of the rule the flow does not match; "" where it matches all of them.
func (w *walk) whyNot(r *dataplane.Rule) string {
	f := w.flow
	family, ownICMP := uint8(4), dataplane.ProtoICMP
	if f.Dst.Is6() {
		family, ownICMP = 6, dataplane.ProtoICMPv6
	}
	switch {
	case r.IPVersion != 0 && r.IPVersion != family:
		return fmt.Sprintf("IP version %d is not %d", family, r.IPVersion)
	case r.Protocol != 0 && r.Protocol != f.Protocol:
		return fmt.Sprintf("protocol %s is not %s", ProtocolName(f.Protocol), ProtocolName(r.Protocol))
	case r.NotProtocol != 0 && r.NotProtocol == f.Protocol:
		return fmt.Sprintf("protocol is %s", ProtocolName(f.Protocol))
	case r.ICMP != nil && !matchesICMP(r.ICMP, f, ownICMP):
		return fmt.Sprintf("%s is not ICMP %s", icmpText(f), icmpOf(r.ICMP))
	case r.NotICMP != nil && matchesICMP(r.NotICMP, f, ownICMP):
		return fmt.Sprintf("%s is ICMP %s", icmpText(f), icmpOf(r.NotICMP))
	}
	if why := w.whyNotSide(&r.Src, "source", f.Src, f.SrcPort); why != "" {
		return why
	}
	return w.whyNotSide(&r.Dst, "destination", f.Dst, f.DstPort)
}

func matchesICMP(i *dataplane.ICMP, f Flow, own uint8) bool {
	return f.Protocol == own && int16(i.Type) == f.ICMPType && (i.Code < 0 || i.Code == f.ICMPCode)
}

func icmpText(f Flow) string {
	if f.ICMPType < 0 {
		return ProtocolName(f.Protocol)
	}
	return fmt.Sprintf("%s type %d code %d", ProtocolName(f.Protocol), f.ICMPType, f.ICMPCode)
}

func icmpOf(i *dataplane.ICMP) string {
	if i.Code < 0 {
		return fmt.Sprintf("type %d", i.Type)
	}
	return fmt.Sprintf("type %d code %d", i.Type, i.Code)
}

func (w *walk) whyNotSide(s *dataplane.Side, name string, a netip.Addr, port uint16) string {
	if len(s.Nets) > 0 && !inNets(s.Nets, a) {
		return fmt.Sprintf("%s %s is in none of %s", name, a, list(s.Nets))
	}
	for _, net := range s.NotNets {
		if net.Contains(a) {
			return fmt.Sprintf("%s %s is in %s", name, a, net)
		}
	}
	for _, id := range s.IPSets {
		if !w.inNetSet(id, a) {
			return fmt.Sprintf("%s %s is not in %s", name, a, w.set(id).Text)
		}
	}
	for _, id := range s.NotIPSets {
		if w.inNetSet(id, a) {
			return fmt.Sprintf("%s %s is in %s", name, a, w.set(id).Text)
		}
	}
	if len(s.Ports)+len(s.PortSets) > 0 && w.portIn(s.Ports, s.PortSets, a, port) == "" {
		return fmt.Sprintf("%s port %s is none of %s", name, w.portText(port), w.portsText(s.Ports, s.PortSets))
	}
	if in := w.portIn(s.NotPorts, s.NotPortSets, a, port); in != "" {
		return fmt.Sprintf("%s port %d is in %s", name, port, in)
	}
	return ""
}

// portText is the flow's port, or that its protocol has none.
func (w *walk) portText(port uint16) string {
	if !hasPorts(w.flow.Protocol) {
		return "(" + ProtocolName(w.flow.Protocol) + " has none)"
	}
	return fmt.Sprint(port)
}

// portIn is the range or set that the port is in; "" where there is none.
func (w *walk) portIn(ranges []dataplane.PortRange, sets []dataplane.IPSetID, a netip.Addr, port uint16) string {
	if !hasPorts(w.flow.Protocol) {
		return ""
	}
	for _, r := range ranges {
		if r.Min <= port && port <= r.Max {
			return rangeText(r)
		}
	}
	member := dataplane.Member{Prefix: netip.PrefixFrom(a, a.BitLen()), Protocol: w.flow.Protocol, Port: port}
	for _, id := range sets {
		if _, ok := w.set(id).Members[member]; ok {
			return w.set(id).Text
		}
	}
	return ""
}

// inNetSet looks for every prefix that may hold the address.
func (w *walk) inNetSet(id dataplane.IPSetID, a netip.Addr) bool {
	members := w.set(id).Members
	for bits := a.BitLen(); bits >= 0; bits-- {
		prefix, err := a.Prefix(bits)
		if err != nil {
			return false
		}
		if _, ok := members[dataplane.Member{Prefix: prefix}]; ok {
			return true
		}
	}
	return false
}

func (w *walk) set(id dataplane.IPSetID) *dataplane.IPSet {
	s := w.state.IPSets[id]
	if s == nil {
		panic(fmt.Sprintf("policy: the state lacks the IP set %s", id))
	}
	return s
}

func (w *walk) portsText(ranges []dataplane.PortRange, sets []dataplane.IPSetID) string {
	var texts []string
	for _, r := range ranges {
		texts = append(texts, rangeText(r))
	}
	for _, id := range sets {
		texts = append(texts, w.set(id).Text)
	}
	return strings.Join(texts, ", ")
}

func rangeText(r dataplane.PortRange) string {
	if r.Min == r.Max {
		return fmt.Sprint(r.Min)
	}
	return fmt.Sprintf("%d:%d", r.Min, r.Max)
}

// list is the first few of many.
func list[T fmt.Stringer](items []T) string {
	const most = 5
	var texts []string
	for i, item := range items {
		if i == most {
			texts = append(texts, fmt.Sprintf("%d more", len(items)-most))
			break
		}
		texts = append(texts, item.String())
	}
	return strings.Join(texts, ", ")
}

func hasPorts(protocol uint8) bool {
	switch protocol {
	case dataplane.ProtoTCP, dataplane.ProtoUDP, dataplane.ProtoSCTP, dataplane.ProtoUDPLite:
		return true
	}
	return false
}

// ProtocolName is the name of a protocol as policy writes it, or its number.
func ProtocolName(protocol uint8) string {
	switch protocol {
	case dataplane.ProtoTCP:
		return "TCP"
	case dataplane.ProtoUDP:
		return "UDP"
	case dataplane.ProtoICMP:
		return "ICMP"
	case dataplane.ProtoICMPv6:
		return "ICMPv6"
	case dataplane.ProtoSCTP:
		return "SCTP"
	case dataplane.ProtoUDPLite:
		return "UDPLite"
	}
	return fmt.Sprint(protocol)
}
