package cli

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
)

func newPolicy(app *App) *cobra.Command {
	c := &cobra.Command{Use: "policy", Short: "Look policies up"}
	c.AddCommand(newPolicyEndpoints(app))
	return c
}

// selectedJSON is a policy's endpoints, as -o json prints them.
type selectedJSON struct {
	Kind      string                 `json:"kind"`
	Namespace string                 `json:"namespace,omitempty"`
	Name      string                 `json:"name"`
	Endpoints []dataplane.EndpointID `json:"endpoints"`
	Rules     []ruleJSON             `json:"rules,omitempty"`
}

// ruleJSON is what the selectors of one rule match.
type ruleJSON struct {
	Direction   string                 `json:"direction"`
	Rule        int                    `json:"rule"`
	Source      []dataplane.EndpointID `json:"source,omitempty"`
	Destination []dataplane.EndpointID `json:"destination,omitempty"`
}

func newPolicyEndpoints(app *App) *cobra.Command {
	var output string
	var rules bool
	c := &cobra.Command{
		Use:   "endpoints [NS/]NAME",
		Short: "List the endpoints that a policy selects",
		Args:  cobra.ExactArgs(1),
	}
	in := addInput(c, app)
	addOutput(c, &output, "table", "json", "name")
	c.Flags().BoolVar(&rules, "rules", false, "also those that each of its rules' selectors match")
	c.RunE = func(c *cobra.Command, args []string) error {
		objects, err := in.objects(c.Context(), false)
		if err != nil {
			return err
		}
		state, _ := resolve(objects)
		var out []selectedJSON
		for _, id := range policiesNamed(objects, args[0]) {
			out = append(out, selectedBy(state, id, rules))
		}
		if len(out) == 0 {
			return no(fmt.Errorf("no policy %s; namespaced ones are given as NS/NAME", args[0]))
		}
		return printSelected(app, output, out)
	}
	return c
}

// policiesNamed finds policies of any kind by [NS/]NAME.
func policiesNamed(objects []v3.Object, text string) []dataplane.PolicyID {
	namespace, name, ok := strings.Cut(text, "/")
	if !ok {
		namespace, name = "", text
	}
	var out []dataplane.PolicyID
	for _, o := range objects {
		switch o.(type) {
		case *v3.NetworkPolicy, *v3.GlobalNetworkPolicy:
			if o.GetNamespace() == namespace && o.GetName() == name {
				out = append(out, dataplane.PolicyID{Kind: string(o.GetKind()), Namespace: namespace, Name: name})
			}
		}
	}
	return out
}

// selectedBy reads from the resolved state whom a policy selects.
func selectedBy(s *dataplane.State, id dataplane.PolicyID, rules bool) selectedJSON {
	out := selectedJSON{Kind: id.Kind, Namespace: id.Namespace, Name: id.Name, Endpoints: []dataplane.EndpointID{}}
	for _, e := range sortedEndpoints(s) {
		if slices.ContainsFunc(e.Tiers, func(t dataplane.EndpointTier) bool {
			return slices.Contains(t.Ingress, id) || slices.Contains(t.Egress, id)
		}) {
			out.Endpoints = append(out.Endpoints, e.ID)
		}
	}
	if p := s.Policies[id]; p != nil && rules {
		out.Rules = append(rulePeers(s, "ingress", p.Ingress), rulePeers(s, "egress", p.Egress)...)
	}
	return out
}

func sortedEndpoints(s *dataplane.State) []*dataplane.Endpoint {
	return slices.SortedFunc(maps.Values(s.Endpoints), func(a, b *dataplane.Endpoint) int {
		return strings.Compare(string(a.ID), string(b.ID))
	})
}

func rulePeers(s *dataplane.State, direction string, rules []dataplane.Rule) []ruleJSON {
	var out []ruleJSON
	for _, r := range rules {
		peers := ruleJSON{Direction: direction, Rule: r.Index, Source: membersOf(s, r.Src.IPSets), Destination: membersOf(s, r.Dst.IPSets)}
		if peers.Source != nil || peers.Destination != nil {
			out = append(out, peers)
		}
	}
	return out
}

// membersOf are the endpoints with an address in each of the sets; nil where there are no sets.
func membersOf(s *dataplane.State, sets []dataplane.IPSetID) []dataplane.EndpointID {
	if len(sets) == 0 {
		return nil
	}
	out := []dataplane.EndpointID{}
	for _, e := range sortedEndpoints(s) {
		if slices.ContainsFunc(e.Addresses, func(a netip.Addr) bool { return inAll(s, sets, a) }) {
			out = append(out, e.ID)
		}
	}
	return out
}

func inAll(s *dataplane.State, sets []dataplane.IPSetID, a netip.Addr) bool {
	for _, id := range sets {
		if _, ok := s.IPSets[id].Members[dataplane.Member{Prefix: netip.PrefixFrom(a, a.BitLen())}]; !ok {
			return false
		}
	}
	return true
}

func printSelected(app *App, output string, all []selectedJSON) error {
	if output == "json" {
		return printJSON(app.Out, all)
	}
	for _, p := range all {
		if output == "table" {
			id := dataplane.PolicyID{Kind: p.Kind, Namespace: p.Namespace, Name: p.Name}
			fmt.Fprintf(app.Out, "%s: %d endpoints\n", id, len(p.Endpoints))
		}
		for _, e := range p.Endpoints {
			fmt.Fprintln(app.Out, e)
		}
		for _, r := range p.Rules {
			fmt.Fprintf(app.Out, "%s rule %d: from %s to %s\n", r.Direction, r.Rule, peersText(r.Source), peersText(r.Destination))
		}
	}
	return nil
}

func peersText(ids []dataplane.EndpointID) string {
	switch {
	case ids == nil:
		return "any"
	case len(ids) == 0:
		return "none"
	}
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = string(id)
	}
	return strings.Join(texts, ", ")
}

func newEndpoint(app *App) *cobra.Command {
	c := &cobra.Command{Use: "endpoint", Short: "Look endpoints up"}
	c.AddCommand(newEndpointPolicies(app))
	return c
}

// appliedJSON is one policy of an endpoint, in the order in which it is looked at.
type appliedJSON struct {
	Direction string `json:"direction"`
	Tier      string `json:"tier,omitempty"`
	Default   string `json:"tierDefault,omitempty"`
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

func newEndpointPolicies(app *App) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "policies pod/NS/NAME",
		Short: "List the policies of an endpoint, in the order in which they are looked at",
		Args:  cobra.ExactArgs(1),
	}
	in := addInput(c, app)
	addOutput(c, &output, "table", "json")
	c.RunE = func(c *cobra.Command, args []string) error {
		objects, err := in.objects(c.Context(), false)
		if err != nil {
			return err
		}
		state, _ := resolve(objects)
		e := state.Endpoints[dataplane.EndpointID(args[0])]
		if e == nil {
			return no(fmt.Errorf("%s does not exist, or is not an endpoint", args[0]))
		}
		return printApplied(app, output, append(applied(e, dataplane.Ingress), applied(e, dataplane.Egress)...))
	}
	return c
}

func applied(e *dataplane.Endpoint, dir dataplane.Direction) []appliedJSON {
	var out []appliedJSON
	add := func(id dataplane.PolicyID, tier, last string) {
		out = append(out, appliedJSON{dir.String(), tier, last, id.Kind, id.Namespace, id.Name})
	}
	for _, t := range e.Tiers {
		policies := t.Ingress
		if dir == dataplane.Egress {
			policies = t.Egress
		}
		for _, id := range policies {
			add(id, t.Name, t.Default.String())
		}
	}
	for _, id := range e.Profiles {
		add(id, "", "")
	}
	return out
}

func printApplied(app *App, output string, all []appliedJSON) error {
	if output == "json" {
		return printJSON(app.Out, all)
	}
	t := tabwriter.NewWriter(app.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "DIRECTION\tTIER\tEND OF TIER\tPOLICY")
	for _, a := range all {
		id := dataplane.PolicyID{Kind: a.Kind, Namespace: a.Namespace, Name: a.Name}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", a.Direction, a.Tier, a.Default, id)
	}
	return t.Flush()
}
