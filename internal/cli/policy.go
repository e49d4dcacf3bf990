package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/policy"
)

func newPolicy(app *App) *cobra.Command {
	return newGroup("policy", "Look policies up", newPolicyEndpoints(app), newPolicyStatus(app), newPolicyUnused(app))
}

// selectedJSON is a policy's endpoints, as -o json prints them.
type selectedJSON struct {
	Kind      string                 `json:"kind"`
	Namespace string                 `json:"namespace,omitempty"`
	Name      string                 `json:"name"`
	Endpoints []dataplane.EndpointID `json:"endpoints"`
	Rules     []ruleJSON             `json:"rules,omitempty"`
}

// ruleJSON is what the selectors of one rule match, as policy.RulePeers names them.
type ruleJSON struct {
	Direction      string   `json:"direction"`
	Rule           int      `json:"rule"`
	Source         []string `json:"source"`      // null: any
	Destination    []string `json:"destination"` // null: any
	NotSource      []string `json:"notSource,omitempty"`
	NotDestination []string `json:"notDestination,omitempty"`
}

func newPolicyEndpoints(app *App) *cobra.Command {
	var output string
	var rules bool
	c := &cobra.Command{
		Use:   "endpoints [NS/]NAME",
		Short: "List the endpoints that a policy selects",
		Long: "List the endpoints that a policy selects. With --rules also what the selectors of each of its rules match: endpoints, network sets,\n" +
			"nodes, and what is behind services; \"not\" stands before what a notSelector excludes. A rule without selectors is not listed.",
		Args: cobra.ExactArgs(1),
	}
	in := addInput(c, app)
	addOutput(c, &output, "table", "json", "name")
	c.Flags().BoolVar(&rules, "rules", false, "also those that each of its rules' selectors match")
	c.RunE = func(c *cobra.Command, args []string) error {
		all, err := in.cluster(c.Context())
		if err != nil {
			return err
		}
		var out []selectedJSON
		for _, id := range policiesNamed(all.objects, args[0]) {
			out = append(out, all.selectedBy(id, rules))
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
func (c *cluster) selectedBy(id dataplane.PolicyID, rules bool) selectedJSON {
	s := c.state
	out := selectedJSON{Kind: id.Kind, Namespace: id.Namespace, Name: id.Name, Endpoints: []dataplane.EndpointID{}}
	for _, e := range sortedEndpoints(s) {
		if usesPolicy(e, id) {
			out.Endpoints = append(out.Endpoints, e.ID)
		}
	}
	if !rules {
		return out
	}
	for _, o := range c.policies() {
		if v3.KeyOf(o) != (v3.Key{Kind: v3.Kind(id.Kind), Namespace: id.Namespace, Name: id.Name}) {
			continue
		}
		for _, r := range policy.PeersOf(c.objects, o) {
			out.Rules = append(out.Rules, ruleJSON{r.Direction.String(), r.Rule, r.Source, r.Destination, r.NotSource, r.NotDestination})
		}
	}
	return out
}

func sortedEndpoints(s *dataplane.State) []*dataplane.Endpoint {
	return slices.SortedFunc(maps.Values(s.Endpoints), func(a, b *dataplane.Endpoint) int {
		return strings.Compare(string(a.ID), string(b.ID))
	})
}

func printSelected(app *App, output string, all []selectedJSON) error {
	if output == "json" {
		return printJSON(app.Out, all)
	}
	for _, p := range all {
		if output == "table" {
			id := dataplane.PolicyID{Kind: p.Kind, Namespace: p.Namespace, Name: p.Name}
			fmt.Fprintf(app.Out, "%s: %s\n", id, count(len(p.Endpoints), "endpoint"))
		}
		for _, e := range p.Endpoints {
			fmt.Fprintln(app.Out, e)
		}
		for _, r := range p.Rules {
			fmt.Fprintf(app.Out, "%s rule %d: from %s to %s\n", r.Direction, r.Rule, peersText(r.Source, r.NotSource), peersText(r.Destination, r.NotDestination))
		}
	}
	return nil
}

// count is "1 endpoint" or "2 endpoints".
func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

func peersText(matched, excluded []string) string {
	text := strings.Join(matched, ", ")
	switch {
	case matched == nil:
		text = "any"
	case len(matched) == 0:
		text = "none"
	}
	if len(excluded) > 0 {
		text += " but not " + strings.Join(excluded, ", ")
	}
	return text
}

func newEndpoint(app *App) *cobra.Command {
	return newGroup("endpoint", "Look endpoints up", newEndpointPolicies(app))
}

// endpoint looks an endpoint up by the name that people give it.
func (c *cluster) endpoint(text string) (*dataplane.Endpoint, error) {
	named, err := parseEnd(text)
	if err != nil || named.endpoint == "" {
		return nil, usage(fmt.Errorf("%q is not an endpoint; valid: pod/NS/NAME, pod/NS/NAME/INTERFACE, hostendpoint/NAME", text))
	}
	e := c.state.Endpoints[named.endpoint]
	if e == nil && named.host != "" {
		if c.hostEndpoint(named.host) != nil {
			return nil, no(fmt.Errorf("%s: %s: another host endpoint is that of its interface", text, notEnforced))
		}
		return nil, no(fmt.Errorf("%s does not exist", text))
	}
	if e == nil {
		return nil, no(fmt.Errorf("%s does not exist, or is not an endpoint (host-networked, finished, or without an address)", text))
	}
	return e, nil
}

// tierLists are the tiers of an endpoint, and those of the other stages of a host endpoint.
func tierLists(e *dataplane.Endpoint) [][]dataplane.EndpointTier {
	if e.Host == nil {
		return [][]dataplane.EndpointTier{e.Tiers}
	}
	return [][]dataplane.EndpointTier{e.Tiers, e.Host.Untracked, e.Host.PreDNAT, e.Host.Forward}
}

// appliedJSON is one policy of an endpoint, in the order in which it is looked at.
type appliedJSON struct {
	Direction string `json:"direction"`
	Stage     string `json:"stage,omitempty"` // at a host endpoint: untracked, preDNAT or forward
	Tier      string `json:"tier,omitempty"`
	Default   string `json:"tierDefault,omitempty"`
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

func newEndpointPolicies(app *App) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "policies pod/NS/NAME|hostendpoint/NAME",
		Short: "List the policies of an endpoint, in the order in which they are looked at",
		Long: "List the policies of an endpoint, in the order in which they are looked at. At a host endpoint those of stage forward are for\n" +
			"what its host forwards, in the place of those without a stage, which are for what the host itself sends and gets.",
		Args: cobra.ExactArgs(1),
	}
	in := addInput(c, app)
	addOutput(c, &output, "table", "json")
	c.RunE = func(c *cobra.Command, args []string) error {
		all, err := in.cluster(c.Context())
		if err != nil {
			return err
		}
		e, err := all.endpoint(args[0])
		if err != nil {
			return err
		}
		return printApplied(app, output, e.Host != nil, append(applied(e, dataplane.Ingress), applied(e, dataplane.Egress)...))
	}
	return c
}

func applied(e *dataplane.Endpoint, dir dataplane.Direction) []appliedJSON {
	out := []appliedJSON{}
	add := func(stage string, tiers []dataplane.EndpointTier) {
		for _, t := range tiers {
			ids := t.Ingress
			if dir == dataplane.Egress {
				ids = t.Egress
			}
			for _, id := range ids {
				out = append(out, appliedJSON{dir.String(), stage, t.Name, t.Default.String(), id.Kind, id.Namespace, id.Name})
			}
		}
	}
	if h := e.Host; h != nil {
		add(policy.StageUntracked, h.Untracked)
		add(policy.StagePreDNAT, h.PreDNAT)
		add(policy.StageForward, h.Forward)
	}
	add("", e.Tiers)
	for _, id := range e.Profiles {
		out = append(out, appliedJSON{dir.String(), "", "", "", id.Kind, id.Namespace, id.Name})
	}
	return out
}

// printApplied has a column for the stage at host endpoints alone.
func printApplied(app *App, output string, host bool, all []appliedJSON) error {
	if output == "json" {
		return printJSON(app.Out, all)
	}
	t := tabwriter.NewWriter(app.Out, 0, 0, 2, ' ', 0)
	line := func(direction, stage, tier, last, policy string) {
		if host {
			direction += "\t" + stage
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", direction, tier, last, policy)
	}
	line("DIRECTION", "STAGE", "TIER", "END OF TIER", "POLICY")
	for _, a := range all {
		id := dataplane.PolicyID{Kind: a.Kind, Namespace: a.Namespace, Name: a.Name}
		line(a.Direction, a.Stage, a.Tier, a.Default, id.String())
	}
	return t.Flush()
}
