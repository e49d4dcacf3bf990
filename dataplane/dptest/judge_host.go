package dptest

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/felid-net/felid/dataplane"
)

// The sides of a flow.
const (
	sideEgress  = "egress"
	sideIngress = "ingress"
	sideForward = "forward"
)

// crossing is a packet at one endpoint that has a say about it.
type crossing struct {
	Hop
	hop      int // of the flow
	endpoint *endpoint
	dir      dataplane.Direction
	side     string
	inside   bool // from a pod of the node: of a host endpoint only normal policy is asked
}

// crossings are the endpoints that a flow crosses, in its order: the pods at its ends, and host endpoints on interfaces that lead elsewhere.
func (w *world) crossings(options Options, f Flow) []crossing {
	var xs []crossing
	for i, h := range f.hops {
		at := func(e *endpoint, dir dataplane.Direction, side string) {
			if e != nil {
				inside := e.host && dir == dataplane.Ingress && workloadDevice(h.In)
				xs = append(xs, crossing{Hop: h, hop: i, endpoint: e, dir: dir, side: side, inside: inside})
			}
		}
		fromPod, toPod := workloadDevice(h.In), workloadDevice(h.Out)
		in, out := w.hostEndpointAt(h, h.In), w.hostEndpointAt(h, h.Out)
		switch {
		case fromPod:
			at(w.endpoint(f.From), dataplane.Egress, sideEgress)
		case h.Out == "":
			at(in, dataplane.Ingress, sideIngress)
		case h.In != "":
			at(in, dataplane.Ingress, sideForward)
		}
		switch {
		case toPod:
			at(w.endpoint(f.To), dataplane.Ingress, sideIngress)
		case h.In == "":
			at(out, dataplane.Egress, sideEgress)
		case h.Out != "":
			at(out, dataplane.Egress, sideForward)
		case fromPod && options.WorkloadToHost == "Pass":
			at(w.wildcard(h), dataplane.Ingress, sideIngress)
		}
	}
	return xs
}

func workloadDevice(iface string) bool { return strings.HasPrefix(iface, InterfacePrefix) }

// hostEndpointAt is the host endpoint of an interface: one for this very interface, else the one for all; of several the first by name, but one
// that can't be read before all others.
func (w *world) hostEndpointAt(h Hop, iface string) *endpoint {
	if iface == "" || iface == "lo" || workloadDevice(iface) {
		return nil
	}
	var own *endpoint
	for _, e := range w.endpoints {
		if e.host && e.node == string(h.Node) && e.iface != "*" && w.isFor(e, iface, h.devices) && e.before(own) {
			own = e
		}
	}
	if own != nil {
		return own
	}
	return w.wildcard(h)
}

func (w *world) wildcard(h Hop) *endpoint {
	var all *endpoint
	for _, e := range w.endpoints {
		if e.host && e.node == string(h.Node) && e.iface == "*" && e.before(all) {
			all = e
		}
	}
	return all
}

func (e *endpoint) before(other *endpoint) bool {
	if other == nil || (e.fault != "") != (other.fault != "") {
		return other == nil || e.fault != ""
	}
	return e.id < other.id
}

// isFor tells whether an interface is meant by a host endpoint: by its name, by "*", or without a name by one of its addresses.
func (w *world) isFor(e *endpoint, iface string, on devices) bool {
	if e.iface != "" {
		return e.iface == "*" || e.iface == iface
	}
	return slices.ContainsFunc(e.addrs, func(a netip.Addr) bool { return on[a] == iface })
}

// judgeHost asks a host endpoint stage after stage.
func (w *world) judgeHost(host dataplane.Host, x crossing) (action dataplane.Action, by string, untracked bool) {
	if x.endpoint.fault == "" && !x.inside {
		if action, by = w.judgeUntracked(host, x); action != dataplane.Pass {
			return action, by, action == dataplane.Allow
		}
		if action, by = w.judgePreDNAT(host, x); action != dataplane.Pass {
			return action, by, false
		}
	}
	spared := whySpared(host, x.dir, x.Tuple)
	switch {
	case x.side != sideForward && spared != "":
		return dataplane.Allow, spared, false
	case x.endpoint.fault != "":
		return dataplane.Deny, byFault, false
	case x.side != sideForward:
		action, by = w.walk(x.endpoint, x.dir, x.Tuple)
		return action, by, false
	}
	forward := func(p *judged) bool { return p.stage == stageNormal && p.onForward }
	if action, by = w.walkTiers(x.endpoint, x.dir, x.Tuple, forward); action != dataplane.Pass {
		return action, by, false
	}
	return dataplane.Allow, byNoForward, false
}

// judgeUntracked asks the policies without tracking, which see the destination as sent. They spare failsafe ports and the answers of
// connections to those; of what goes out, they see only what the host itself sends, at the interface that leads to where it was sent.
func (w *world) judgeUntracked(host dataplane.Host, x crossing) (dataplane.Action, string) {
	t := x.sent()
	answered := dataplane.Egress
	if x.dir == dataplane.Egress {
		answered = dataplane.Ingress
	}
	spared := whySpared(host, x.dir, t) != "" || isFailsafe(host, answered, t.reply())
	elsewhere := x.SentTo.IsValid() && w.hostEndpointAt(x.Hop, x.SentOut) != x.endpoint
	if spared || x.dir == dataplane.Egress && (x.In != "" || elsewhere) {
		return dataplane.Pass, ""
	}
	return w.walkTiers(x.endpoint, x.dir, t, func(p *judged) bool { return p.stage == stageUntracked })
}

// judgePreDNAT asks the policies before destination NAT, for what comes in.
func (w *world) judgePreDNAT(host dataplane.Host, x crossing) (dataplane.Action, string) {
	t := x.sent()
	if x.dir == dataplane.Egress || whySpared(host, x.dir, t) != "" {
		return dataplane.Pass, ""
	}
	return w.walkTiers(x.endpoint, x.dir, t, func(p *judged) bool { return p.stage == stagePreDNAT })
}

// whySpared is why no policy closes what the host itself gets or sends; "" where policy may. Without the messages of RFC 2710, 3810 and 4861 nobody
// would reach a failsafe port by IPv6.
func whySpared(host dataplane.Host, dir dataplane.Direction, t Tuple) string {
	if isFailsafe(host, dir, t) {
		return byFailsafe
	}
	if t.Protocol == dataplane.ProtoICMPv6 && (130 <= t.ICMPType && t.ICMPType <= 136 || t.ICMPType == 143) {
		return byNeighbours
	}
	return ""
}

// isFailsafe tells whether a packet in this direction is to a failsafe port: of the host, or from it of others.
func isFailsafe(host dataplane.Host, dir dataplane.Direction, t Tuple) bool {
	list, other := host.FailsafeInbound, t.Src
	if dir == dataplane.Egress {
		list, other = host.FailsafeOutbound, t.Dst
	}
	return slices.ContainsFunc(list, func(f dataplane.Failsafe) bool {
		return f.Protocol == t.Protocol && f.Port == t.DstPort && (f.Net == netip.Prefix{} || f.Net.Contains(other))
	})
}

// judgeAnswer says whether the answer to an allowed flow comes back: untracked policy judges it at every node. Where one of the two packets is
// not tracked, it is judged like the first of a connection; a protocol that has connections does not begin one with an answer.
func (w *world) judgeAnswer(options Options, f Flow, untracked []bool) Answered {
	for i, h := range slices.Backward(f.hops) {
		r := Flow{From: f.To, To: f.From, Tuple: f.Tuple.reply(), hops: []Hop{h.reply()}}
		xs := w.crossings(options, r)
		action := w.judgeAnswerUntracked(options, xs)
		switch {
		case action == dataplane.Deny, action == dataplane.Allow && h.SentTo.IsValid():
			return AnswerLost // what is not tracked is not translated back
		case action == dataplane.Allow:
		case !untracked[i] || len(xs) == 0:
			continue
		case r.Protocol == dataplane.ProtoTCP || !hasPorts(r.Protocol):
			if fate := w.judgeStray(options, xs); fate != AnswerComes {
				return fate
			}
			continue
		}
		for _, x := range xs {
			if s := w.judge(options, x); s.Action == dataplane.Deny {
				return AnswerLost
			}
		}
	}
	return AnswerComes
}

// judgeStray is about an answer that belongs to no tracked connection, and begins none: pods and the host itself take it only where pre-DNAT
// policy allows it outright. Nothing is promised where it is forwarded.
func (w *world) judgeStray(options Options, xs []crossing) Answered {
	for _, x := range xs {
		if x.side == sideForward {
			return AnswerUnknown
		}
		allowed := dataplane.Pass
		if x.endpoint.host && x.endpoint.fault == "" && !x.inside {
			allowed, _ = w.judgePreDNAT(options.Host(""), x)
		}
		if allowed != dataplane.Allow {
			return AnswerLost
		}
	}
	return AnswerComes
}

// judgeAnswerUntracked is what untracked policy says of an answer at one node.
func (w *world) judgeAnswerUntracked(options Options, xs []crossing) dataplane.Action {
	for _, x := range xs {
		if !x.endpoint.host || x.inside || x.endpoint.fault != "" {
			continue
		}
		if action, _ := w.judgeUntracked(options.Host(""), x); action != dataplane.Pass {
			return action
		}
	}
	return dataplane.Pass
}
