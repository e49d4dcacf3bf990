package dptest

import (
	"fmt"
	"slices"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
)

// Verdict is what becomes of a flow: Allow when all sides allow. A side that felid does not manage is nil.
type Verdict struct {
	Action          dataplane.Action
	Egress, Ingress *SideVerdict
	Forward         []SideVerdict // of host endpoints that the packet is forwarded by, in its order
	Answer          Answered      // where Action is Allow
}

// SideVerdict is what one endpoint's policy says.
type SideVerdict struct {
	Endpoint dataplane.EndpointID
	Action   dataplane.Action
	By       string // a decider, as flows name it

	untracked bool // allowed by untracked policy
}

// add puts a side's verdict into that of the flow.
func (v *Verdict) add(side string, s SideVerdict) {
	switch side {
	case sideEgress:
		v.Egress = &s
	case sideIngress:
		v.Ingress = &s
	default:
		v.Forward = append(v.Forward, s)
	}
	if s.Action == dataplane.Deny {
		v.Action = dataplane.Deny
	}
}

// Judge says straight from the resources what becomes of a flow of a case. It follows the definitions one by one, walking lists, and shares
// nothing with the resolver but the selector language and the conversion of Kubernetes' objects; ClusterNetworkPolicies it reads as written.
func Judge(objects []v3.Object, options Options, f Flow) Verdict {
	return judgeOf(objects, options)(f)
}

// judgeOf reads the resources once, for many flows.
func judgeOf(objects []v3.Object, options Options) func(Flow) Verdict {
	w := newWorld(objects)
	w.addClusterPolicies(options.clusterPolicies)
	return func(f Flow) Verdict { return w.judgeFlow(options, f) }
}

func (w *world) judgeFlow(options Options, f Flow) Verdict {
	v := Verdict{Action: dataplane.Allow}
	untracked := make([]bool, len(f.hops))
	for _, x := range w.crossings(options, f) {
		s := w.judge(options, x)
		v.add(x.side, s)
		untracked[x.hop] = untracked[x.hop] || s.untracked
	}
	if v.Action == dataplane.Allow {
		v.Answer = w.judgeAnswer(options, f, untracked)
	}
	return v
}

// judge says what one endpoint does with the packet that crosses it.
func (w *world) judge(options Options, x crossing) SideVerdict {
	s := SideVerdict{Endpoint: x.endpoint.id}
	switch {
	case x.endpoint.host:
		s.Action, s.By, s.untracked = w.judgeHost(options.Host(""), x)
	case x.dir == dataplane.Egress:
		s.Action, s.By = w.judgeEgress(options, x)
	default:
		s.Action, s.By = w.judgeIngress(options, x)
	}
	return s
}

// endpoint finds a workload endpoint by its id.
func (w *world) endpoint(name string) *endpoint {
	for _, e := range w.endpoints {
		if string(e.id) == name && !e.host {
			return e
		}
	}
	return nil
}

func (w *world) judgeEgress(options Options, x crossing) (dataplane.Action, string) {
	e, t := x.endpoint, x.Tuple
	if options.NoIPv6 && t.Family() == 6 {
		return dataplane.Deny, byNoIPv6
	}
	if !slices.Contains(e.addrs, t.Src) && !within(t.Src, e.allowed) {
		return dataplane.Deny, bySpoofed
	}
	action, by := w.walk(e, x.dir, t)
	toOwnNode := slices.Contains(w.nodes[e.node], t.Dst)
	if action == dataplane.Allow && toOwnNode && options.WorkloadToHost == "Deny" {
		return dataplane.Deny, byToHost
	}
	return action, by
}

func (w *world) judgeIngress(options Options, x crossing) (dataplane.Action, string) {
	e, t := x.endpoint, x.Tuple
	if options.NoIPv6 && t.Family() == 6 {
		return dataplane.Deny, byNoIPv6
	}
	if x.In == "" { // from its own node
		switch options.HostToWorkload {
		case "", "All":
			return dataplane.Allow, byOwnNode
		case "ProbePorts":
			if t.Protocol == dataplane.ProtoTCP && slices.Contains(e.probes, t.DstPort) {
				return dataplane.Allow, byProbePort
			}
		}
	}
	return w.walk(e, x.dir, t)
}

// walk goes through tiers, policies and rules, then the profiles.
func (w *world) walk(e *endpoint, dir dataplane.Direction, t Tuple) (dataplane.Action, string) {
	normal := func(p *judged) bool { return p.stage == stageNormal }
	if action, by := w.walkTiers(e, dir, t, normal); action != dataplane.Pass {
		return action, by
	}
	return w.walkProfiles(e, dir, t)
}

// walkTiers asks the policies that have a say; Pass means that none decided.
func (w *world) walkTiers(e *endpoint, dir dataplane.Direction, t Tuple, say func(*judged) bool) (dataplane.Action, string) {
	var mine []*judged
	for _, p := range w.policies {
		if say(p) && p.applies(dir) && w.selects(p, e) {
			mine = append(mine, p)
		}
	}
	for len(mine) > 0 {
		n := 0
		for n < len(mine) && mine[n].tier == mine[0].tier {
			n++
		}
		action, by := w.walkTier(mine[:n], dir, t)
		if action != dataplane.Pass {
			return action, by
		}
		mine = mine[n:]
	}
	return dataplane.Pass, ""
}

// walkTier returns Allow, Deny, or Pass where the next tier decides.
func (w *world) walkTier(policies []*judged, dir dataplane.Direction, t Tuple) (dataplane.Action, string) {
	for _, p := range policies {
		rules := p.spec.Ingress
		if dir == dataplane.Egress {
			rules = p.spec.Egress
		}
		scope := ""
		if p.key.Kind != v3.KindGlobalNetworkPolicy {
			scope = p.namespace
		}
		action, i := w.walkRules(rules, scope, t)
		if p.cluster != nil {
			action, i = w.walkCluster(p.cluster, dir, t)
		}
		if i >= 0 {
			return action, fmt.Sprintf("%s rule %d", p.key, i)
		}
	}
	if policies[0].last == v3.Pass || policies[0].stage != stageNormal {
		return dataplane.Pass, ""
	}
	return dataplane.Deny, byEndOfTier + policies[0].tier
}

func (w *world) walkProfiles(e *endpoint, dir dataplane.Direction, t Tuple) (dataplane.Action, string) {
	for _, name := range e.profiles {
		p := w.profiles[name]
		if p == nil && name == "projectcalico-default-allow" {
			return dataplane.Allow, fmt.Sprintf("%s %s rule 0", v3.KindProfile, name)
		}
		if p == nil {
			continue
		}
		rules := p.Spec.Ingress
		if dir == dataplane.Egress {
			rules = p.Spec.Egress
		}
		action, i := w.walkRules(rules, "", t)
		if i >= 0 && action != dataplane.Pass {
			return action, fmt.Sprintf("%s rule %d", v3.KeyOf(p), i)
		}
	}
	return dataplane.Deny, byNoProfile
}

// walkRules returns the first action but Log, and the rule's index, as written; -1 where no rule decides.
func (w *world) walkRules(rules []v3.Rule, namespace string, t Tuple) (dataplane.Action, int) {
	for i := range rules {
		r := readRule(&rules[i])
		if r.skip || r.action == dataplane.Log || !w.matches(r, namespace, t) {
			continue
		}
		if written := rules[i].Written; written > 0 {
			return r.action, written - 1
		}
		return r.action, i
	}
	return 0, -1
}

// selects tells whether the policy's own selectors choose the endpoint.
func (w *world) selects(p *judged, e *endpoint) bool {
	if p.cluster != nil {
		subject, _ := readPods(p.cluster.subject)
		return subject.holds(e)
	}
	if p.namespace != "" && e.namespace != p.namespace || p.stage != stageNormal && !e.host {
		return false
	}
	if p.nsSel != "" && !namespaceMatches(p.nsSel, e.namespace, e.nsLabels) {
		return false
	}
	if p.spec.ServiceAccountSelector != "" && (e.saName == "" || !mustSelect(p.spec.ServiceAccountSelector, e.account)) {
		return false
	}
	return mustSelect(p.spec.Selector, e.labels)
}
