package linux

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/felid-net/felid/dataplane"
)

// How packets cross the chains of host endpoints (both families alike; "ih", "oh", "if", "of": in, out, forwarded in, forwarded out; the chain of
// "*" ends in "+"):
//
//	raw PREROUTING ────► felid-prerouting ──► felid-ih-IFACE ► felid-pi-POLICY …    doNotTrack
//	raw OUTPUT ────────► felid-output ──────► felid-oh-IFACE ► felid-po-POLICY …
//	mangle PREROUTING ─► felid-prerouting ──► felid-ih-IFACE ► felid-pi-POLICY …    preDNAT
//	INPUT ─────────────► felid-input ───────► felid-ih-IFACE ► felid-pi-POLICY …    normal
//	OUTPUT ────────────► felid-output ──────► felid-oh-IFACE ► felid-po-POLICY …
//	mangle POSTROUTING ► felid-postrouting ─► felid-oh-IFACE ► felid-po-POLICY …    normal, of what destination NAT has redirected
//	FORWARD ► felid-forward ► felid-forward-in ─► felid-if-IFACE ► felid-hi-POLICY …    applyOnForward
//	                        ► felid-forward-out ► felid-of-IFACE ► felid-po-POLICY …
//
// A chain is there only where an endpoint has such policy, and so are tables raw and mangle as a whole. Pods' interfaces are kept out. What raw or
// mangle allows keeps the mark of an allowed packet, and the chains that follow at the same endpoint in the same direction let it pass. The
// interface and destination of a packet of the host itself that destination NAT redirects are not known before POSTROUTING: OUTPUT
// marks it for there.

// everyOther is the interface name of an endpoint for all that have none of their own.
const everyOther = "*"

// hosts are the host endpoints by the interfaces that they police.
type hosts struct {
	named  []hostInterface     // sorted by interface
	rest   *dataplane.Endpoint // of everyOther; nil: none
	faults map[dataplane.EndpointID]error
}

type hostInterface struct {
	name string
	ep   *dataplane.Endpoint
}

// any tells whether an interface is policed.
func (h *hosts) any() bool { return len(h.named) > 0 || h.rest != nil }

// all are the endpoints by the suffix of their chains' names.
func (h *hosts) all() iter.Seq2[string, *dataplane.Endpoint] {
	return func(yield func(string, *dataplane.Endpoint) bool) {
		for _, n := range h.named {
			if !yield(n.name, n.ep) {
				return
			}
		}
		if h.rest != nil {
			yield(restSuffix, h.rest)
		}
	}
}

// restSuffix takes the place of an interface in the names of chains; no interface that is taken has it.
const restSuffix = "+"

// hosts finds the interfaces of each host endpoint. Of two for one interface the first counts, those that can't be read before the others; one that
// is left without any is a fault.
func (r *renderer) hosts(eps iter.Seq[*dataplane.Endpoint]) *hosts {
	h := &hosts{faults: map[dataplane.EndpointID]error{}}
	taken := map[string]dataplane.EndpointID{}
	for _, ep := range slices.SortedFunc(eps, hostOrder) {
		names, err := r.hostInterfaces(ep)
		got := false
		for _, name := range names {
			if first, is := taken[name]; is {
				err = fmt.Errorf("%s: interface %s: %s comes first; want one host endpoint for an interface", ep.ID, name, first)
				continue
			}
			if taken[name], got = ep.ID, true; name == everyOther {
				h.rest = ep
				continue
			}
			h.named = append(h.named, hostInterface{name, ep})
		}
		if !got {
			h.faults[ep.ID] = err
		}
	}
	slices.SortFunc(h.named, func(a, b hostInterface) int { return strings.Compare(a.name, b.name) })
	return h
}

func hostOrder(a, b *dataplane.Endpoint) int {
	fault := func(ep *dataplane.Endpoint) int {
		if ep.Host.Fault != "" {
			return 0
		}
		return 1
	}
	return cmp.Or(cmp.Compare(fault(a), fault(b)), cmp.Compare(a.ID, b.ID))
}

// hostInterfaces are the names of the interfaces that an endpoint is for, or everyOther; without one it is an error.
func (r *renderer) hostInterfaces(ep *dataplane.Endpoint) ([]string, error) {
	switch name := ep.Interface; {
	case name == everyOther:
	case name == "":
		return r.interfacesByAddress(ep)
	case strings.HasPrefix(name, r.host.InterfacePrefix):
		return nil, fmt.Errorf("%s: interface %s begins with %q, the prefix of pods' interfaces on this host", ep.ID, name, r.host.InterfacePrefix)
	case !interfaceName(name):
		return nil, fmt.Errorf("%s: interface %q: want at most 15 letters, digits, \".\", \"-\" and \"_\"", ep.ID, name)
	}
	return []string{ep.Interface}, nil
}

// interfacesByAddress are those that have one of the endpoint's addresses.
func (r *renderer) interfacesByAddress(ep *dataplane.Endpoint) ([]string, error) {
	var out []string
	for _, a := range ep.Addresses {
		if name := r.cfg.Devices[a]; name != "" && name != loopback && !strings.HasPrefix(name, r.host.InterfacePrefix) && interfaceName(name) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: no interface of this host has one of its addresses %v", ep.ID, ep.Addresses)
	}
	return slices.Compact(out), nil
}

// loopback is never policed, unless an endpoint names it.
const loopback = "lo"

// hostEndpoints are those of a state.
func hostEndpoints(s *dataplane.State) iter.Seq[*dataplane.Endpoint] {
	return func(yield func(*dataplane.Endpoint) bool) {
		for _, ep := range s.Endpoints {
			if ep.Host != nil && !yield(ep) {
				return
			}
		}
	}
}

// policed tells whether sets of a family are needed: for host endpoints also where pods' packets of it are dropped.
func (r *renderer) policed(f Family, h *hosts) bool {
	return r.enabled(f) || h.any() || len(h.faults) > 0
}

// applies tells whether a policy of the tiers does, in a direction.
func applies(tiers []dataplane.EndpointTier, d dataplane.Direction) bool {
	by := way{direction: d}
	return slices.ContainsFunc(tiers, func(t dataplane.EndpointTier) bool { return len(by.of(&t)) > 0 })
}

func untracked(ep *dataplane.Endpoint, d dataplane.Direction) bool {
	return applies(ep.Host.Untracked, d)
}

func preDNAT(ep *dataplane.Endpoint, d dataplane.Direction) bool {
	return d == dataplane.Ingress && applies(ep.Host.PreDNAT, d)
}

// judgedBefore tells whether a packet that comes to the chains of table filter may have been allowed at this endpoint already.
func judgedBefore(ep *dataplane.Endpoint, d dataplane.Direction) bool {
	return untracked(ep, d) || preDNAT(ep, d)
}

func forwards(ep *dataplane.Endpoint, d dataplane.Direction) bool {
	return ep.Host.Fault != "" || applies(ep.Host.Forward, d)
}

// eachHostUse visits the policies and profiles of a host endpoint with the stages at which it uses them, some of them twice.
func eachHostUse(ep *dataplane.Endpoint, visit func(dataplane.PolicyID, stage)) {
	if ep.Host.Fault != "" {
		return
	}
	list := func(tiers []dataplane.EndpointTier, d dataplane.Direction, s stage) {
		by := way{direction: d}
		for i := range tiers {
			for _, id := range by.of(&tiers[i]) {
				visit(id, s)
			}
		}
	}
	eachPolicy(ep, func(id dataplane.PolicyID) { visit(id, stageLocal) })
	list(ep.Tiers, dataplane.Egress, stageSent)
	for _, id := range ep.Profiles {
		visit(id, stageSent)
	}
	list(ep.Host.Forward, dataplane.Ingress, stageForward)
	list(ep.Host.Forward, dataplane.Egress, stageLocal)
	list(ep.Host.Untracked, dataplane.Ingress, stageUntracked)
	list(ep.Host.Untracked, dataplane.Egress, stageUntracked)
	list(ep.Host.PreDNAT, dataplane.Ingress, stagePreDNAT)
}
