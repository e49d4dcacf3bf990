package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/felid-net/felid/dataplane"
)

// Flow is the first packet of a connection. Ports are 0 where the protocol has none; ICMPType and ICMPCode are -1 where it is not
// ICMP or ICMPv6.
type Flow struct {
	Src, Dst           netip.Addr
	Protocol           uint8 // IANA number
	SrcPort, DstPort   uint16
	ICMPType, ICMPCode int16
	// SentTo is the destination before destination NAT, which policies with preDNAT and doNotTrack see; the zero AddrPort: there is no NAT.
	SentTo netip.AddrPort
}

// Verdict is what one endpoint's side says about a flow. Action is Allow or Deny.
type Verdict struct {
	Endpoint  dataplane.EndpointID
	Direction dataplane.Direction
	Action    dataplane.Action
	By        Decider
	Trace     []Step
}

// Decider is what decided: a rule of a policy or profile, the end of a tier (then it is the last policy of the tier that applied), or
// what goes before and after policy (then Kind and Name are empty).
type Decider struct {
	Kind      string `json:"kind,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	Tier      string `json:"tier,omitempty"`
	Stage     string `json:"stage,omitempty"`
	Rule      int    `json:"rule"` // from 0; -1 where no rule decided
	Reason    string `json:"reason"`
}

// The reasons of a Decider.
const (
	ReasonRule      = "rule"
	ReasonEndOfTier = "end of tier"
	ReasonNoProfile = "no profile"     // no profile decided: Deny
	ReasonSpoofed   = "spoofed source" // the source is not the endpoint's own: Deny
	ReasonOwnNode   = "own node"       // from the endpoint's own node, which is always let in: Allow
	ReasonNoIPv6    = "no IPv6"        // the host does not route IPv6: Deny
	ReasonToHost    = "to host"        // policy allows, but the host takes nothing from its workloads: Deny
	ReasonProbePort = "probe port"     // from the endpoint's own node to a port that its probes name: Allow

	ReasonFailsafe   = "failsafe"            // a port of the host that no policy closes: Allow
	ReasonNeighbours = "neighbour discovery" // what there is no IPv6 link without, at a host endpoint: Allow
	ReasonUnreadable = "unreadable"          // the HostEndpoint can't be read: Deny
	ReasonNoForward  = "no forward policy"   // nothing decided about what a host endpoint forwards: Allow
)

// The stages of policy at a host endpoint; "" is that for local traffic, and the only one of workloads.
const (
	StageUntracked = "untracked"
	StagePreDNAT   = "preDNAT"
	StageForward   = "forward"
)

// Step is one rule that was looked at.
type Step struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	Tier      string `json:"tier,omitempty"`
	Stage     string `json:"stage,omitempty"`
	Rule      int    `json:"rule"`
	Action    string `json:"action"`
	Matched   bool   `json:"matched"`
	// Why not, where it did not match: "destination port 80 is none of 443".
	Why string `json:"why,omitempty"`
	// Note says why the rule is not what was written.
	Note string `json:"note,omitempty"`
}

// Evaluate says what the policy of one endpoint does with a flow, by walking the State as a dataplane does; a host endpoint's, with
// what the host itself sends or gets (see EvaluateForward). An endpoint that the State lacks is an error of the caller, and panics.
func Evaluate(s *dataplane.State, ep dataplane.EndpointID, dir dataplane.Direction, f Flow) Verdict {
	w := newWalk(s, ep, dir, f)
	if w.endpoint.Host != nil {
		return w.verdict(w.crossHost(""))
	}
	if reason := w.beforePolicy(); reason != "" {
		return w.verdict(actionOf(reason), Decider{Rule: -1, Reason: reason})
	}
	action, by := w.tiers()
	if action == dataplane.Allow && dir == dataplane.Egress && w.isOwnNode(f.Dst) && s.Host.WorkloadToHost == dataplane.Deny {
		action, by = dataplane.Deny, Decider{Rule: -1, Reason: ReasonToHost}
	}
	return w.verdict(action, by)
}

func newWalk(s *dataplane.State, ep dataplane.EndpointID, dir dataplane.Direction, f Flow) *walk {
	endpoint := s.Endpoints[ep]
	if endpoint == nil {
		panic(fmt.Sprintf("policy: the state has no endpoint %s", ep))
	}
	return &walk{state: s, endpoint: endpoint, dir: dir, flow: f}
}

// walk is the way of one flow through one side of an endpoint.
type walk struct {
	state    *dataplane.State
	endpoint *dataplane.Endpoint
	dir      dataplane.Direction
	flow     Flow   // as the stage sees it
	stage    string // that is asked
	trace    []Step
}

func (w *walk) verdict(action dataplane.Action, by Decider) Verdict {
	return Verdict{Endpoint: w.endpoint.ID, Direction: w.dir, Action: action, By: by, Trace: w.trace}
}

// beforePolicy is the reason by which a flow is decided before policy is asked; "" where it is not.
func (w *walk) beforePolicy() string {
	ep, f := w.endpoint, w.flow
	switch {
	case !w.state.Host.IPv6 && f.Dst.Is6():
		return ReasonNoIPv6
	case w.dir == dataplane.Egress && !slices.Contains(ep.Addresses, f.Src) && !inNets(ep.AllowedSources, f.Src):
		return ReasonSpoofed
	case w.dir == dataplane.Ingress && w.isOwnNode(f.Src):
		return w.fromOwnNode()
	}
	return ""
}

// fromOwnNode is the reason by which a node may reach its own workload; "" where that is for policy.
func (w *walk) fromOwnNode() string {
	switch w.state.Host.HostToWorkload {
	case dataplane.HostToWorkloadAll:
		return ReasonOwnNode
	case dataplane.HostToWorkloadProbePorts:
		if slices.ContainsFunc(w.endpoint.Probes, func(p dataplane.NamedPort) bool {
			return p.Protocol == w.flow.Protocol && p.Port == w.flow.DstPort
		}) {
			return ReasonProbePort
		}
	}
	return ""
}

func actionOf(reason string) dataplane.Action {
	if reason == ReasonOwnNode || reason == ReasonProbePort {
		return dataplane.Allow
	}
	return dataplane.Deny
}

func (w *walk) isOwnNode(a netip.Addr) bool {
	node := w.state.Nodes[w.endpoint.Node]
	return node != nil && slices.Contains(node.Addresses, a)
}

// tiers asks tier after tier, then the profiles.
func (w *walk) tiers() (dataplane.Action, Decider) {
	if action, by := w.inTiers(w.endpoint.Tiers); action != dataplane.Pass {
		return action, by
	}
	return w.profiles()
}

// inTiers asks tier after tier; Pass where none decides.
func (w *walk) inTiers(tiers []dataplane.EndpointTier) (dataplane.Action, Decider) {
	for i := range tiers {
		t := &tiers[i]
		policies := t.Ingress
		if w.dir == dataplane.Egress {
			policies = t.Egress
		}
		if len(policies) == 0 {
			continue
		}
		if action, by := w.tier(t, policies); action != dataplane.Pass {
			return action, by
		}
	}
	return dataplane.Pass, Decider{}
}

// tier gives Allow, Deny, or Pass where the next tier is to decide.
func (w *walk) tier(t *dataplane.EndpointTier, policies []dataplane.PolicyID) (dataplane.Action, Decider) {
	for _, id := range policies {
		if action, by := w.policy(id); action != 0 {
			return action, by
		}
	}
	last := policies[len(policies)-1]
	return t.Default, Decider{
		Kind: last.Kind, Namespace: last.Namespace, Name: last.Name, Tier: t.Name, Stage: w.stage, Rule: -1, Reason: ReasonEndOfTier,
	}
}

// profiles gives Allow or Deny. Pass in a profile goes on to the next.
func (w *walk) profiles() (dataplane.Action, Decider) {
	for _, id := range w.endpoint.Profiles {
		if action, by := w.policy(id); action == dataplane.Allow || action == dataplane.Deny {
			return action, by
		}
	}
	return dataplane.Deny, Decider{Rule: -1, Reason: ReasonNoProfile}
}

// policy gives the action of the first rule that matches and is not Log; 0 where there is none.
func (w *walk) policy(id dataplane.PolicyID) (dataplane.Action, Decider) {
	p := w.state.Policies[id]
	rules := p.Ingress
	if w.dir == dataplane.Egress {
		rules = p.Egress
	}
	for i := range rules {
		r := &rules[i]
		why := w.whyNot(r)
		step := Step{
			Kind: id.Kind, Namespace: id.Namespace, Name: id.Name, Tier: p.Tier, Stage: w.stage, Rule: r.Index,
			Action: r.Action.String(), Matched: why == "", Why: why, Note: r.Note,
		}
		if i > 0 && rules[i-1].Index == r.Index {
			w.trace[len(w.trace)-1].join(step)
		} else {
			w.trace = append(w.trace, step)
		}
		if why == "" && r.Action != dataplane.Log {
			return r.Action, Decider{
				Kind: id.Kind, Namespace: id.Namespace, Name: id.Name, Tier: p.Tier, Stage: w.stage, Rule: r.Index, Reason: ReasonRule,
			}
		}
	}
	return 0, Decider{}
}

// join adds a further part of the same rule: where one that was written became several, it matches where one of them does.
func (s *Step) join(part Step) {
	const separator, more = "; ", "; …"
	switch {
	case s.Matched:
	case part.Matched:
		*s = part
	case strings.Contains(s.Why, part.Why) || strings.HasSuffix(s.Why, more):
	case strings.Count(s.Why, separator) < 2:
		s.Why += separator + part.Why
	default:
		s.Why += more
	}
}

func inNets(nets []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(nets, func(n netip.Prefix) bool { return n.Contains(a) })
}
