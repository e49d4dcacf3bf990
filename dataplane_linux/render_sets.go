package linux

import (
	"cmp"
	"iter"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane_linux/ipset"
)

// Set is an IP set of the kernel: those members of a set of the state that are of one family.
type Set struct {
	Name   string
	Type   ipset.Type
	Family Family
	About  string
	// members may be of both families.
	members iter.Seq[dataplane.Member]
}

// Members are those of the set's family, in no order.
func (s *Set) Members() iter.Seq[dataplane.Member] {
	return func(yield func(dataplane.Member) bool) {
		for m := range s.members {
			if s.Family.of(m.Prefix.Addr()) && !yield(m) {
				return
			}
		}
	}
}

// elements are the members, sorted, as the kernel holds them: a prefix of length 0 is two halves, because hash:net can't hold one.
func (s *Set) elements() []dataplane.Member {
	var out []dataplane.Member
	for m := range s.Members() {
		if m.Prefix.Bits() > 0 {
			out = append(out, m)
			continue
		}
		low, high := halves(m.Prefix)
		out = append(out, dataplane.Member{Prefix: low}, dataplane.Member{Prefix: high})
	}
	slices.SortFunc(out, compareMembers)
	return slices.Compact(out)
}

func compareMembers(a, b dataplane.Member) int {
	return cmp.Or(a.Prefix.Compare(b.Prefix), cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Port, b.Port))
}

// stateSet is the kernel's set for one of the state's.
func stateSet(f Family, set *dataplane.IPSet) Set {
	t := ipset.HashNet
	if set.Type == dataplane.SetAddrPorts {
		t = ipset.HashIPPort
	}
	return Set{Name: setName(f, string(set.ID)), Type: t, Family: f, About: set.Text, members: func(yield func(dataplane.Member) bool) {
		for m := range set.Members {
			if !yield(m) {
				return
			}
		}
	}}
}

// prefixSet is a set of prefixes of one family.
func prefixSet(f Family, name, about string, prefixes []netip.Prefix) Set {
	return Set{Name: name, Type: ipset.HashNet, Family: f, About: about, members: func(yield func(dataplane.Member) bool) {
		for _, p := range prefixes {
			if !yield(dataplane.Member{Prefix: p}) {
				return
			}
		}
	}}
}

// netsSet is the set for several nets of a rule: its name says what is in it, so that rules with the same nets share it.
func netsSet(f Family, nets []netip.Prefix) Set {
	var b strings.Builder
	for _, n := range nets {
		b.WriteString(n.String() + " ")
	}
	return prefixSet(f, setName(f, "nets-"+hashed(b.String(), 18)), "nets of a rule", nets)
}

// natSets are the two sets by which felid-postrouting chooses what to masquerade.
func natSets(f Family, nat *dataplane.NAT) []Set {
	return []Set{
		prefixSet(f, setName(f, setMasquerade), "pools with natOutgoing", nat.Masquerade),
		prefixSet(f, setName(f, setPools), "all pools", nat.Exclude),
	}
}

// probes tells whether pods' probe ports are open to their own host.
func (r *renderer) probes() bool { return r.host.HostToWorkload == dataplane.HostToWorkloadProbePorts }

// probeSet is the set of the ports that the probes of this host's pods name.
func probeSet(f Family, members iter.Seq[dataplane.Member]) Set {
	return Set{Name: setName(f, setProbes), Type: ipset.HashIPPort, Family: f, About: "ports of pods' probes", members: members}
}

// probeMembers are an endpoint's own, of both families.
func probeMembers(ep *dataplane.Endpoint) []dataplane.Member {
	var out []dataplane.Member
	for _, a := range ep.Addresses {
		for _, p := range ep.Probes {
			out = append(out, dataplane.Member{Prefix: netip.PrefixFrom(a, a.BitLen()), Protocol: p.Protocol, Port: p.Port})
		}
	}
	slices.SortFunc(out, compareMembers)
	return slices.Compact(out)
}

// hasFamily tells whether a prefix is of the family.
func hasFamily(f Family) func(netip.Prefix) bool {
	return func(p netip.Prefix) bool { return f.of(p.Addr()) }
}

// familyNets are the prefixes of one family, sorted, without duplicates. The slice is nets itself where that is so already.
func familyNets(f Family, nets []netip.Prefix) []netip.Prefix {
	ours := hasFamily(f)
	if !slices.ContainsFunc(nets, func(p netip.Prefix) bool { return !ours(p) }) &&
		(len(nets) < 2 || slices.IsSortedFunc(nets, netip.Prefix.Compare) && !adjacentEqual(nets)) {
		return nets
	}
	var out []netip.Prefix
	for _, p := range nets {
		if ours(p) {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, netip.Prefix.Compare)
	return slices.Compact(out)
}

func adjacentEqual(nets []netip.Prefix) bool {
	for i := 1; i < len(nets); i++ {
		if nets[i] == nets[i-1] {
			return true
		}
	}
	return false
}

// halves are the two prefixes of length 1 that make up one of length 0.
func halves(p netip.Prefix) (low, high netip.Prefix) {
	if p.Addr().Is4() {
		return netip.PrefixFrom(p.Addr(), 1), netip.PrefixFrom(netip.AddrFrom4([4]byte{0x80}), 1)
	}
	return netip.PrefixFrom(p.Addr(), 1), netip.PrefixFrom(netip.AddrFrom16([16]byte{0x80}), 1)
}

// memberText is a member as ipset writes it: "10.0.0.0/8", "10.0.0.1,tcp:80".
func memberText(t ipset.Type, m dataplane.Member) string {
	if t == ipset.HashNet {
		return m.Prefix.String()
	}
	return m.Prefix.Addr().String() + "," + protocolName(m.Protocol) + ":" + strconv.Itoa(int(m.Port))
}

// protocolName is how iptables and ipset print a protocol: by name where they know one without looking it up.
func protocolName(p uint8) string {
	switch p {
	case dataplane.ProtoICMP:
		return "icmp"
	case dataplane.ProtoTCP:
		return "tcp"
	case dataplane.ProtoUDP:
		return "udp"
	case dataplane.ProtoICMPv6:
		return "ipv6-icmp"
	case dataplane.ProtoSCTP:
		return "sctp"
	case dataplane.ProtoUDPLite:
		return "udplite"
	}
	return strconv.Itoa(int(p))
}
