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
	"github.com/felid-net/felid/policy"
)

func newPolicy(app *App) *cobra.Command {
	return newGroup("policy", "Look policies up", newPolicyEndpoints(app), newPolicyUnused(app))
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
	Source      []dataplane.EndpointID `json:"source"`      // null: any
	Destination []dataplane.EndpointID `json:"destination"` // null: any
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
	sets := c.state
	if sets.Policies[id] == nil {
		sets = c.inForce(id)
	}
	if p := sets.Policies[id]; p != nil {
		out.Rules = append(c.rulePeers(sets, "ingress", p.Ingress), c.rulePeers(sets, "egress", p.Egress)...)
	}
	return out
}

// inForce is the State where a policy that selects no endpoint is in force all the same: on an endpoint that is added for it.
func (c *cluster) inForce(id dataplane.PolicyID) *dataplane.State {
	objects := slices.Clone(c.objects)
	for i, o := range objects {
		if v3.KeyOf(o) != (v3.Key{Kind: v3.Kind(id.Kind), Namespace: id.Namespace, Name: id.Name}) {
			continue
		}
		o = o.Copy()
		spec := policySpec(o)
		spec.Selector, spec.ServiceAccountSelector = "", ""
		if global, ok := o.(*v3.GlobalNetworkPolicy); ok {
			global.Spec.NamespaceSelector = ""
		}
		objects[i] = o
	}
	added := &v3.WorkloadEndpoint{}
	added.Namespace, added.Name = id.Namespace, "added+eth0"
	added.Spec.Pod, added.Spec.Endpoint = "added", "added"
	added.Spec.IPNetworks = []string{"100::1/128"} // the discard prefix, RFC 6666: nobody's address
	state, _ := resolve(append(objects, added))
	return state
}

func sortedEndpoints(s *dataplane.State) []*dataplane.Endpoint {
	return slices.SortedFunc(maps.Values(s.Endpoints), func(a, b *dataplane.Endpoint) int {
		return strings.Compare(string(a.ID), string(b.ID))
	})
}

// rulePeers are the endpoints in the sets of rules.
func (c *cluster) rulePeers(sets *dataplane.State, direction string, rules []dataplane.Rule) []ruleJSON {
	var out []ruleJSON
	for _, r := range rules {
		peers := ruleJSON{direction, r.Index, c.membersOf(sets, r.Src.IPSets), c.membersOf(sets, r.Dst.IPSets)}
		if peers.Source != nil || peers.Destination != nil {
			out = append(out, peers)
		}
	}
	return out
}

// membersOf are the endpoints with an address in each of the sets; nil where there are no sets.
func (c *cluster) membersOf(s *dataplane.State, sets []dataplane.IPSetID) []dataplane.EndpointID {
	if len(sets) == 0 {
		return nil
	}
	out := []dataplane.EndpointID{}
	for _, e := range sortedEndpoints(c.state) {
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
			fmt.Fprintf(app.Out, "%s: %s\n", id, count(len(p.Endpoints), "endpoint"))
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

// count is "1 endpoint" or "2 endpoints".
func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
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
