package cli

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	windows "github.com/felid-net/felid/dataplane_windows"
)

func keyOfPolicy(id dataplane.PolicyID) v3.Key {
	return v3.Key{Kind: v3.Kind(id.Kind), Namespace: id.Namespace, Name: id.Name}
}

// tierOrder finds traffic that endpoints need whatever they are for, allowed in a tier that it does not get to: an earlier one
// denies at its end what no rule of it decides.
func tierOrder(c *cluster) []finding {
	var out []finding
	seen := map[string]bool{}
	for _, e := range sortedEndpoints(c.state) {
		var before []dataplane.EndpointTier
		for _, t := range e.Tiers {
			if len(before) > 0 {
				for _, f := range c.late(e, &t, before) {
					if at := f.key.String() + " " + f.Field; !seen[at] {
						seen[at] = true
						out = append(out, f)
					}
				}
			}
			if len(t.Egress) > 0 && t.Default == dataplane.Deny && !c.passes(t.Egress) {
				before = append(before, t)
			}
		}
	}
	return out
}

// late are the rules of a tier that allow general traffic after the tiers before it.
func (c *cluster) late(e *dataplane.Endpoint, t *dataplane.EndpointTier, before []dataplane.EndpointTier) []finding {
	var out []finding
	var names []string
	for _, b := range before {
		names = append(names, "tier "+b.Name)
	}
	for _, id := range t.Egress {
		rules := c.state.Policies[id].Egress
		for i := range rules {
			what := general(&rules[i])
			if what == "" {
				continue
			}
			f := finding{
				key: keyOfPolicy(id), Field: fmt.Sprintf("spec.egress[%d]", rules[i].Index),
				Message: fmt.Sprintf("%s is allowed in tier %s, but %s has to cross %s first, which denies at its end what it does not decide",
					what, t.Name, e.ID, strings.Join(names, ", ")),
				Proposal: fmt.Sprintf("allow it before %s, or let each of these tiers pass it on", names[0]),
			}
			if objects := c.passedOn(id, rules[i].Index, before); objects != nil {
				f.plans = []plan{{title: "let " + strings.Join(names, ", ") + " pass it on", objects: objects}}
			}
			out = append(out, f)
		}
	}
	return out
}

// passedOn are policies of earlier tiers, one each, that leave to later ones what a rule of a policy allows; nil where that can't be
// written.
func (c *cluster) passedOn(id dataplane.PolicyID, rule int, before []dataplane.EndpointTier) []v3.Object {
	from := c.object(keyOfPolicy(id))
	if from == nil || !ours(from) || rule >= len(policySpec(from).Egress) {
		return nil
	}
	passed := policySpec(from).Egress[rule]
	passed.Action = v3.Pass
	for _, e := range []*v3.EntityRule{&passed.Source, &passed.Destination} {
		if e.Selector != "" || e.NamespaceSelector != "" || e.NotSelector != "" || e.ServiceAccounts != nil || e.Services != nil || len(e.Domains) > 0 {
			return nil // in another policy a selector may mean others
		}
	}
	var out []v3.Object
	for _, t := range before {
		last := c.object(keyOfPolicy(t.Egress[len(t.Egress)-1]))
		if last == nil || !ours(last) {
			return nil
		}
		out = append(out, changed(last, func(spec *v3.PolicySpec) { spec.Egress = append(spec.Egress, passed) }))
	}
	return out
}

// passes tells whether one of the policies has an egress rule that leaves something to later tiers.
func (c *cluster) passes(ids []dataplane.PolicyID) bool {
	return slices.ContainsFunc(ids, func(id dataplane.PolicyID) bool {
		return slices.ContainsFunc(c.state.Policies[id].Egress, func(r dataplane.Rule) bool { return r.Action == dataplane.Pass })
	})
}

// general is the name of traffic that every endpoint is likely to need, where the rule allows that; "" for a rule of another kind.
func general(r *dataplane.Rule) string {
	d := &r.Dst
	dns := dataplane.PortRange{Min: 53, Max: 53}
	switch {
	case r.Action != dataplane.Allow:
		return ""
	case len(d.Ports) == 1 && d.Ports[0] == dns && len(d.PortSets) == 0:
		return "DNS"
	case len(d.IPSets)+len(d.NotIPSets)+len(d.NotNets)+len(d.Ports)+len(d.PortSets) > 0:
		return ""
	case len(d.Nets) == 0 || slices.ContainsFunc(d.Nets, func(p netip.Prefix) bool { return p.Bits() == 0 }):
		return "egress to everywhere"
	}
	return ""
}

// windowsLabel is by which Kubernetes says what a node runs.
const windowsLabel = "kubernetes.io/os"

// unsupportedOnWindows says what the endpoints on nodes that run Windows lack.
func unsupportedOnWindows(c *cluster) []finding {
	var out []finding
	seen := map[dataplane.Unsupported]bool{}
	c.eachUnsupportedOnWindows(func(e *dataplane.Endpoint, u dataplane.Unsupported) {
		if !seen[u] {
			seen[u] = true
			out = append(out, c.windowsFinding(e, u))
		}
	})
	return out
}

// eachUnsupportedOnWindows asks the renderer of Windows about the endpoints on nodes that run it, in order.
func (c *cluster) eachUnsupportedOnWindows(visit func(*dataplane.Endpoint, dataplane.Unsupported)) {
	nodes := map[dataplane.NodeName]bool{}
	for _, o := range c.objects {
		if n, ok := o.(*v3.Node); ok && n.Labels[windowsLabel] == "windows" {
			nodes[dataplane.NodeName(n.Name)] = true
		}
	}
	for _, e := range sortedEndpoints(c.state) {
		if !nodes[e.Node] {
			continue
		}
		list := windows.Render(c.state, e.ID, windows.Options{Form: windows.Form{IPv6: true}})
		for _, u := range list.Unsupported {
			visit(e, u)
		}
	}
}

func (c *cluster) windowsFinding(e *dataplane.Endpoint, u dataplane.Unsupported) finding {
	f := finding{
		key: keyOfPolicy(u.Policy), Message: fmt.Sprintf("on %s, which is on a Windows node: %s", e.ID, u.Reason),
		Proposal: "write the rule without it for endpoints on Windows, or select other endpoints; what is in force there until then is said above",
	}
	if u.Policy == (dataplane.PolicyID{}) {
		f.Object = string(e.ID)
		return f
	}
	f.Field = fmt.Sprintf("spec.%s[%d]", u.Direction, u.Rule)
	f.plans = windowsPlans(c.object(f.key), u)
	return f
}

// windowsPlans are forms of a rule that Windows knows.
func windowsPlans(o v3.Object, u dataplane.Unsupported) []plan {
	if o == nil || !ours(o) || u.Rule < 0 || u.Rule >= len(*rulesAt(policySpec(o), u.Direction)) {
		return nil
	}
	rule := (*rulesAt(policySpec(o), u.Direction))[u.Rule]
	switch {
	case rule.Action == v3.Log:
		return []plan{{title: "leave the Log rule out: nothing is logged on Linux either", objects: []v3.Object{withoutRule(o, u.Direction, u.Rule)}}}
	case rule.ICMP != nil || rule.NotICMP != nil:
		whole := changed(o, func(spec *v3.PolicySpec) {
			r := &(*rulesAt(spec, u.Direction))[u.Rule]
			r.ICMP, r.NotICMP = nil, nil
		})
		return []plan{{title: "match the protocol, whatever the type of ICMP", objects: []v3.Object{whole}}}
	}
	return nil
}
