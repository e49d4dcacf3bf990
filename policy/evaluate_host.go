package policy

import (
	"net/netip"
	"slices"

	"github.com/felid-net/felid/dataplane"
)

// EvaluateForward says what a host endpoint does with a flow that its host only forwards, in at its interface (Ingress) or out (Egress).
// An endpoint that the State lacks, or that is a workload, is an error of the caller, and panics.
func EvaluateForward(s *dataplane.State, ep dataplane.EndpointID, dir dataplane.Direction, f Flow) Verdict {
	w := newWalk(s, ep, dir, f)
	return w.verdict(w.crossHost(StageForward))
}

// EvaluateFromWorkload says what the normal policy of a host endpoint does with a flow from a workload of the same host to the host itself. It comes
// in at the interface of the workload, so that what goes before normal policy does not see it.
func EvaluateFromWorkload(s *dataplane.State, ep dataplane.EndpointID, f Flow) Verdict {
	w := newWalk(s, ep, dataplane.Ingress, f)
	if reason := w.beforeHost(""); reason != "" {
		return w.verdict(hostActionOf(reason), Decider{Rule: -1, Reason: reason})
	}
	return w.verdict(w.at(""))
}

// crossHost asks the stages of a host endpoint in the order of the way: main is "" or StageForward.
func (w *walk) crossHost(main string) (dataplane.Action, Decider) {
	if reason := w.beforeHost(main); reason != "" {
		return hostActionOf(reason), Decider{Rule: -1, Reason: reason}
	}
	for _, stage := range w.stages(main) {
		if action, by := w.at(stage); action != dataplane.Pass {
			return action, by
		}
	}
	return dataplane.Allow, Decider{Stage: StageForward, Rule: -1, Reason: ReasonNoForward}
}

// stages are those that are asked, in order. What a host forwards has left those behind that come before connection tracking and NAT, and what it
// sends to itself is by no interface of an endpoint before NAT makes it leave.
func (w *walk) stages(main string) []string {
	switch {
	case w.dir == dataplane.Ingress:
		return []string{StageUntracked, StagePreDNAT, main}
	case main == "" && !w.sentToItself():
		return []string{StageUntracked, ""}
	}
	return []string{main}
}

// sentToItself tells whether the flow was sent to an address of the endpoint's own node, which made it another.
func (w *walk) sentToItself() bool {
	return w.flow.SentTo.IsValid() && slices.Contains(addressesOf(w.state, w.endpoint.Node), w.flow.SentTo.Addr())
}

// beforeHost is the reason by which a flow is decided before any policy of a host endpoint is asked; "" where it is not. IPv6 is judged there
// whether or not the host routes it for its workloads.
func (w *walk) beforeHost(main string) string {
	switch {
	case w.endpoint.Host.Fault == "":
		return ""
	case main == "" && w.spared(w.flow) != "":
		return w.spared(w.flow)
	}
	return ReasonUnreadable
}

func hostActionOf(reason string) dataplane.Action {
	if reason == ReasonUnreadable {
		return dataplane.Deny
	}
	return dataplane.Allow
}

// at asks one stage: Pass where it does not decide.
func (w *walk) at(stage string) (dataplane.Action, Decider) {
	before := w.flow
	defer func() { w.flow = before }()
	w.stage = stage
	switch stage {
	case StageUntracked:
		w.flow = asSent(w.flow)
		if w.spared(w.flow) != "" || w.answersFailsafe(w.flow) {
			return dataplane.Pass, Decider{}
		}
		return w.inTiers(w.endpoint.Host.Untracked)
	case StagePreDNAT:
		w.flow = asSent(w.flow)
		if w.spared(w.flow) != "" {
			return dataplane.Pass, Decider{}
		}
		return w.inTiers(w.endpoint.Host.PreDNAT)
	case StageForward:
		return w.inTiers(w.endpoint.Host.Forward)
	}
	if reason := w.spared(w.flow); reason != "" {
		return dataplane.Allow, Decider{Rule: -1, Reason: reason}
	}
	return w.tiers()
}

// asSent is the flow before destination NAT.
func asSent(f Flow) Flow {
	if f.SentTo.IsValid() {
		f.Dst, f.DstPort = f.SentTo.Addr(), f.SentTo.Port()
	}
	return f
}

// spared is the reason by which no policy closes what the host itself gets or sends; "" where policy may.
func (w *walk) spared(f Flow) string {
	switch {
	case w.toFailsafe(f):
		return ReasonFailsafe
	case f.Protocol == dataplane.ProtoICMPv6 && (130 <= f.ICMPType && f.ICMPType <= 136 || f.ICMPType == 143):
		return ReasonNeighbours // RFC 2710, 4861, 3810
	}
	return ""
}

// toFailsafe tells whether the flow is to a failsafe port: of the host, or from the host to elsewhere.
func (w *walk) toFailsafe(f Flow) bool {
	if w.dir == dataplane.Egress {
		return isFailsafe(w.state.Host.FailsafeOutbound, f.Protocol, f.DstPort, f.Dst)
	}
	return isFailsafe(w.state.Host.FailsafeInbound, f.Protocol, f.DstPort, f.Src)
}

// answersFailsafe tells whether the flow looks like answers to one that goes to a failsafe port, which is all that can be known of a packet that
// is not tracked.
func (w *walk) answersFailsafe(f Flow) bool {
	if w.dir == dataplane.Egress {
		return isFailsafe(w.state.Host.FailsafeInbound, f.Protocol, f.SrcPort, f.Dst)
	}
	return isFailsafe(w.state.Host.FailsafeOutbound, f.Protocol, f.SrcPort, f.Src)
}

func isFailsafe(ports []dataplane.Failsafe, protocol uint8, port uint16, other netip.Addr) bool {
	return slices.ContainsFunc(ports, func(p dataplane.Failsafe) bool {
		return p.Protocol == protocol && p.Port == port && (!p.Net.IsValid() || p.Net.Contains(other))
	})
}
