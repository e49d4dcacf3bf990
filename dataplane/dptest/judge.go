package dptest

import (
	"fmt"
	"slices"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
)

// Verdict is what becomes of a flow: Allow when both sides allow. A side that felid does not manage is nil.
type Verdict struct {
	Action          dataplane.Action
	Egress, Ingress *SideVerdict
}

// SideVerdict is what one endpoint's policy says.
type SideVerdict struct {
	Endpoint dataplane.EndpointID
	Action   dataplane.Action
	By       string // a decider, as flows name it
}

// Judge says straight from the resources what becomes of a flow. It follows the definitions one by one, walking lists, and shares
// nothing with the resolver but the selector language and the conversion of Kubernetes' objects.
func Judge(objects []v3.Object, options Options, f Flow) Verdict {
	w := newWorld(objects)
	v := Verdict{Action: dataplane.Allow}
	from, to := w.endpoint(f.From), w.endpoint(f.To)
	if from != nil {
		v.Egress = w.judgeEgress(options, from, f)
	}
	if to != nil {
		v.Ingress = w.judgeIngress(options, to, f)
	}
	for _, s := range []*SideVerdict{v.Egress, v.Ingress} {
		if s != nil && s.Action == dataplane.Deny {
			v.Action = dataplane.Deny
		}
	}
	return v
}

// endpoint finds a workload endpoint by its id. Host endpoints are not judged yet.
func (w *world) endpoint(name string) *endpoint {
	for _, e := range w.endpoints {
		if string(e.id) == name && !e.host {
			return e
		}
	}
	return nil
}

func (w *world) judgeEgress(options Options, e *endpoint, f Flow) *SideVerdict {
	v := &SideVerdict{Endpoint: e.id, Action: dataplane.Deny, By: byNoIPv6}
	if options.NoIPv6 && f.Family() == 6 {
		return v
	}
	if !slices.Contains(e.addrs, f.Src) && !within(f.Src, e.allowed) {
		v.Action, v.By = dataplane.Deny, bySpoofed
		return v
	}
	v.Action, v.By = w.walk(e, dataplane.Egress, f.Tuple)
	toOwnNode := slices.Contains(w.nodes[e.node], f.Dst)
	if v.Action == dataplane.Allow && toOwnNode && options.WorkloadToHost == "Deny" {
		v.Action, v.By = dataplane.Deny, byToHost
	}
	return v
}

func (w *world) judgeIngress(options Options, e *endpoint, f Flow) *SideVerdict {
	v := &SideVerdict{Endpoint: e.id, Action: dataplane.Deny, By: byNoIPv6}
	if options.NoIPv6 && f.Family() == 6 {
		return v
	}
	fromOwnNode := f.From == "node/"+e.node
	if fromOwnNode && options.HostToWorkload != "Policy" {
		v.Action, v.By = dataplane.Allow, byOwnNode
		return v
	}
	v.Action, v.By = w.walk(e, dataplane.Ingress, f.Tuple)
	return v
}

// walk goes through tiers, policies and rules, then the profiles.
func (w *world) walk(e *endpoint, dir dataplane.Direction, t Tuple) (dataplane.Action, string) {
	var mine []*judged
	for _, p := range w.policies {
		if p.applies(dir) && w.selects(p, e) {
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
	return w.walkProfiles(e, dir, t)
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
		if action, i := w.walkRules(rules, scope, t); i >= 0 {
			return action, fmt.Sprintf("%s rule %d", p.key, i)
		}
	}
	if policies[0].last == v3.Pass {
		return dataplane.Pass, ""
	}
	return dataplane.Deny, byEndOfTier + policies[0].tier
}

func (w *world) walkProfiles(e *endpoint, dir dataplane.Direction, t Tuple) (dataplane.Action, string) {
	for _, name := range e.profiles {
		p := w.profiles[name]
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

// walkRules returns the first action but Log, and the rule's index; -1 where no rule decides.
func (w *world) walkRules(rules []v3.Rule, namespace string, t Tuple) (dataplane.Action, int) {
	for i := range rules {
		r := readRule(&rules[i])
		if r.skip || r.action == dataplane.Log || !w.matches(r, namespace, t) {
			continue
		}
		return r.action, i
	}
	return 0, -1
}

// selects tells whether the policy's own selectors choose the endpoint.
func (w *world) selects(p *judged, e *endpoint) bool {
	if p.namespace != "" && e.namespace != p.namespace || p.hostOnly && !e.host {
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
