package cli

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/cni/server"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/routing"
	linux "github.com/felid-net/felid/dataplane_linux"
	"github.com/felid-net/felid/policy"
)

// renderOptions are the arguments of render.
type renderOptions struct {
	dataplane, node, endpoint, part string
	hns                             hnsOptions
}

func newRender(app *App) *cobra.Command {
	var o renderOptions
	c := &cobra.Command{
		Use:   "render --dataplane iptables|hns --node NODE",
		Short: "Print what a node would be given: iptables-restore and ipset-restore text, or HNS ACLs as JSON",
		Args:  cobra.NoArgs,
	}
	in := addInput(c, app)
	c.Flags().StringVar(&o.dataplane, "dataplane", "iptables", "iptables or hns")
	c.Flags().StringVar(&o.node, "node", "", "node whose endpoints are rendered")
	c.Flags().StringVar(&o.endpoint, "endpoint", "", "this endpoint alone: pod/NS/NAME")
	c.Flags().StringVar(&o.part, "part", "", "of iptables, what one program reads: ipset, iptables or ip6tables (default: all, each after a comment)")
	o.hns.flags(c.Flags())
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := errors.Join(o.check(), o.hns.check(c.Flags(), o.dataplane)); err != nil {
			return usage(err)
		}
		objects, err := in.objects(c.Context())
		if err != nil {
			return err
		}
		state, report := resolveNode(objects, o.node)
		in.warn(report)
		if state.Nodes[state.Host.Node] == nil && len(state.Endpoints) == 0 {
			fmt.Fprintf(app.Err, "warning: there is no Node %s, and no endpoint on it\n", o.node)
		}
		if o.endpoint != "" {
			if err := keepEndpoint(state, o.endpoint); err != nil {
				return err
			}
		}
		if o.dataplane == "hns" {
			return renderHNS(app.Out, state, &o.hns)
		}
		return renderIptables(app, state, o.part)
	}
	return c
}

func (o *renderOptions) check() error {
	var errs []error
	if o.node == "" {
		errs = append(errs, errors.New("--node is needed"))
	}
	switch o.dataplane {
	case "iptables", "hns":
	case "nftables":
		errs = append(errs, errors.New("--dataplane nftables: is not there in this version; valid: iptables, hns (iptables' nft variant takes the text of iptables)"))
	default:
		errs = append(errs, fmt.Errorf("--dataplane %q; valid: iptables, hns", o.dataplane))
	}
	if parts := []string{"", "ipset", "iptables", "ip6tables"}; !slices.Contains(parts, o.part) || o.part != "" && o.dataplane != "iptables" {
		errs = append(errs, fmt.Errorf("--part %q; valid: ipset, iptables, ip6tables, with --dataplane iptables", o.part))
	}
	return errors.Join(errs...)
}

// resolveNode is the State of one node. Endpoints whose interface is not known have the one that the plugin would give them.
func resolveNode(objects []v3.Object, node string) (*dataplane.State, *policy.Report) {
	host := offlineHost(node)
	resolver := policy.NewResolver(policy.Options{Node: host.Node, Host: host})
	router := routing.NewResolver(host.Node)
	for _, obj := range objects {
		if wep, ok := obj.(*v3.WorkloadEndpoint); ok && wep.Spec.InterfaceName == "" {
			wep = wep.DeepCopy()
			wep.Spec.InterfaceName = interfaceOf(policy.EndpointIDOf(wep), host.InterfacePrefix)
			obj = wep
		}
		resolver.Update(v3.KeyOf(obj), obj)
		router.Update(v3.KeyOf(obj), obj)
	}
	state, changes := resolver.Flush()
	router.Flush(state, changes)
	return state, resolver.Report()
}

// interfaceOf is the name that the plugin gives to the interface of an endpoint.
func interfaceOf(id dataplane.EndpointID, prefix string) string {
	parts := strings.Split(string(id), "/")
	switch {
	case len(parts) == 3 && parts[0] == "container":
		return server.InterfaceName(prefix, "", "", parts[1], parts[2])
	case len(parts) == 3:
		return server.InterfaceName(prefix, parts[1], parts[2], "", "eth0")
	case len(parts) == 4:
		return server.InterfaceName(prefix, parts[1], parts[2], "", parts[3])
	}
	panic(fmt.Sprintf("cli: %s is not the id of a workload", id))
}

// keepEndpoint drops the other endpoints, and the sets that only they need.
func keepEndpoint(s *dataplane.State, text string) error {
	c := cluster{state: s}
	e, err := c.endpoint(text)
	if err != nil {
		return err
	}
	s.Endpoints = map[dataplane.EndpointID]*dataplane.Endpoint{e.ID: e}
	policies, sets := neededBy(s, e)
	maps.DeleteFunc(s.Policies, func(id dataplane.PolicyID, _ *dataplane.Policy) bool { return !policies[id] })
	maps.DeleteFunc(s.IPSets, func(id dataplane.IPSetID, _ *dataplane.IPSet) bool { return !sets[id] })
	return nil
}

// neededBy are the policies of an endpoint, and the sets of their rules.
func neededBy(s *dataplane.State, e *dataplane.Endpoint) (map[dataplane.PolicyID]bool, map[dataplane.IPSetID]bool) {
	policies, sets := map[dataplane.PolicyID]bool{}, map[dataplane.IPSetID]bool{}
	for _, id := range policiesOf(e) {
		policies[id] = true
		for _, r := range slices.Concat(s.Policies[id].Ingress, s.Policies[id].Egress) {
			for _, side := range []*dataplane.Side{&r.Src, &r.Dst} {
				for _, set := range slices.Concat(side.IPSets, side.NotIPSets, side.PortSets, side.NotPortSets) {
					sets[set] = true
				}
			}
		}
	}
	return policies, sets
}

func policiesOf(e *dataplane.Endpoint) []dataplane.PolicyID {
	ids := slices.Clone(e.Profiles)
	for _, t := range slices.Concat(tierLists(e)...) {
		ids = slices.Concat(ids, t.Ingress, t.Egress)
	}
	return ids
}

// renderIptables prints all sections, each after a comment that names its program, or one without.
func renderIptables(app *App, s *dataplane.State, part string) error {
	r := linux.Render(s, linux.RenderConfig{})
	for _, id := range slices.Sorted(maps.Keys(r.Faults)) {
		what := "its packets are dropped"
		if s.Endpoints[id].Host != nil { // by address, mostly: which interface that is, only the node knows
			what = "nothing is rendered for it"
		}
		fmt.Fprintf(app.Err, "warning: %v; %s\n", r.Faults[id], what)
	}
	sections := []struct{ part, comment, text string }{
		{"ipset", "# ipset restore\n", r.IPSetText()},
		{"iptables", "\n# iptables-restore\n", tablesText(r, linux.IPv4)},
		{"ip6tables", "\n# ip6tables-restore\n", tablesText(r, linux.IPv6)},
	}
	for _, section := range sections {
		comment := section.comment
		if part == section.part {
			comment = ""
		} else if part != "" {
			continue
		}
		if _, err := io.WriteString(app.Out, comment+section.text); err != nil {
			return err
		}
	}
	return nil
}

func tablesText(r *linux.Rendered, f linux.Family) string {
	return r.RestoreText(f, "raw") + r.RestoreText(f, "mangle") + r.RestoreText(f, "nat") + r.RestoreText(f, "filter")
}
