package policy

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
)

// anyInterface stands for all interfaces of a node that are neither workloads' nor loopback and have no endpoint of their own.
const anyInterface = "*"

// HostEndpointID is the identity of a host endpoint.
func HostEndpointID(name string) dataplane.EndpointID {
	return dataplane.EndpointID("hostendpoint/" + name)
}

// newHostEndpoint is nil for a host endpoint whose node can't be read: it is nobody's.
func newHostEndpoint(o *v3.HostEndpoint, node dataplane.NodeName, profiles profileSet, r *reader) *peer {
	if o.Spec.Node == "" {
		r.report("spec.node", ConditionInvalid, "is missing, so the host endpoint is nobody's; valid: the name of a node")
		return nil
	}
	addrs := r.addrs("spec.expectedIPs", o.Spec.ExpectedIPs)
	p := &peer{
		key: v3.KeyOf(o), own: r.ownLabels(o.Labels), nets: fullLength(addrs),
		ports: r.endpointPorts(o.Spec.Ports), created: o.CreationTimestamp.Unix(), host: dataplane.NodeName(o.Spec.Node),
	}
	p.parents = profiles.allNamed(o.Spec.Profiles)
	iface, fault := hostInterface(&o.Spec, addrs)
	if o.Spec.Invalid != "" {
		p.nets = nil // whether a rule means it is not known: it may be its labels that are lost
	}
	if fault != "" {
		r.report("spec", ConditionPartiallyInvalid, "denies everything but failsafe ports on %s: %s", interfaceText(iface), fault)
	}
	if node == "" || o.Spec.Node == string(node) {
		p.endpoint = &dataplane.Endpoint{
			ID: HostEndpointID(o.Name), Node: dataplane.NodeName(o.Spec.Node), Interface: iface, Addresses: addrs, Ports: p.ports,
			Host: &dataplane.HostEndpoint{Fault: fault},
		}
		if fault == "" {
			p.profiles = p.parents
		}
	}
	return p
}

// hostInterface is the interface that a host endpoint is for, as a State names it, and why the endpoint can't be read; "" where it can.
// Where it is the interface that can't be read, any may be meant.
func hostInterface(s *v3.HostEndpointSpec, addrs []netip.Addr) (iface, fault string) {
	if err := s.InterfaceProblem(); err != nil {
		return anyInterface, cmp.Or(s.Invalid, fmt.Sprintf("spec.interfaceName: %v", err))
	}
	if s.InterfaceName == "" && len(addrs) == 0 {
		return anyInterface, cmp.Or(s.Invalid, "neither interfaceName nor an address in expectedIPs says which interface it is for")
	}
	return s.InterfaceName, s.Invalid
}

func interfaceText(iface string) string {
	switch iface {
	case anyInterface:
		return "all interfaces that have no endpoint of their own"
	case "":
		return "the interface that has one of its addresses"
	}
	return "interface " + iface
}

// rivalry is two host endpoints for one interface: loser counts for nothing.
type rivalry struct{ loser, winner *peer }

// electHosts picks, of the host endpoints of one node, those that count: of several for one interface the first, by name, but for those that
// can't be read, which come before the others. Which interface has which address is not known here: one that is found by address counts
// unless all its addresses are those of others, and beside those found by name.
func electHosts(hosts []*peer) (elected []*peer, rivals []rivalry) {
	slices.SortFunc(hosts, func(a, b *peer) int {
		return cmp.Or(
			compareBools(a.endpoint.Host.Fault == "", b.endpoint.Host.Fault == ""), strings.Compare(a.key.Name, b.key.Name),
		)
	})
	type claim struct {
		iface   string
		address netip.Addr
	}
	taken := map[claim]*peer{}
	for _, h := range hosts {
		claimed := []claim{{iface: h.endpoint.Interface}}
		if h.endpoint.Interface == "" {
			claimed = claimed[:0]
			for _, a := range h.endpoint.Addresses {
				claimed = append(claimed, claim{address: a})
			}
		}
		if !slices.ContainsFunc(claimed, func(c claim) bool { return taken[c] == nil }) {
			rivals = append(rivals, rivalry{h, taken[claimed[0]]})
			continue
		}
		elected = append(elected, h)
		for _, c := range claimed {
			taken[c] = cmp.Or(taken[c], h)
		}
	}
	return elected, rivals
}

// condition says that the loser has no effect.
func (r rivalry) condition() Condition {
	return Condition{
		Object: r.loser.key, Field: "spec.interfaceName", Type: ConditionNotEnforced,
		Message: fmt.Sprintf("%s is for %s of node %s already, and only one counts", r.winner.key, interfaceText(r.loser.endpoint.Interface), r.loser.endpoint.Node),
	}
}

// hostTiers fills the tiers of a host endpoint, each stage with the policies that are for it.
func hostTiers(ep *dataplane.Endpoint, policies []*policy, tierOf func(name string) tier) {
	of := func(wanted func(p *policy) bool) []dataplane.EndpointTier {
		var some []*policy
		for _, p := range policies {
			if wanted(p) {
				some = append(some, p)
			}
		}
		return endpointTiers(some, tierOf)
	}
	host := *ep.Host
	ep.Tiers = of(func(p *policy) bool { return p.stage == "" })
	host.Forward = of(func(p *policy) bool { return p.stage == "" && p.forward })
	host.Untracked = withoutEnd(of(func(p *policy) bool { return p.stage == StageUntracked }))
	host.PreDNAT = withoutEnd(of(func(p *policy) bool { return p.stage == StagePreDNAT }))
	ep.Host = &host
}

// withoutEnd lets go on what no rule of a tier decides.
func withoutEnd(tiers []dataplane.EndpointTier) []dataplane.EndpointTier {
	for i := range tiers {
		tiers[i].Default = dataplane.Pass
	}
	return tiers
}
