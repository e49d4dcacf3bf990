package cli

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/routing"
	linux "github.com/felid-net/felid/dataplane_linux"
	windows "github.com/felid-net/felid/dataplane_windows"
	"github.com/felid-net/felid/dataplane_windows/hns"
	"github.com/felid-net/felid/policy"
)

// renderOptions are the arguments of render.
type renderOptions struct {
	dataplane, node, endpoint string
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
	c.RunE = func(c *cobra.Command, _ []string) error {
		if o.node == "" {
			return usage(errors.New("--node is needed"))
		}
		objects, err := in.objects(c.Context(), true)
		if err != nil {
			return err
		}
		host := offlineHost(o.node)
		resolver := policy.NewResolver(policy.Options{Node: host.Node, Host: host})
		router := routing.NewResolver(host.Node)
		for _, obj := range objects {
			resolver.Update(v3.KeyOf(obj), obj)
			router.Update(v3.KeyOf(obj), obj)
		}
		state, changes := resolver.Flush()
		router.Flush(state, changes)
		if err := keepEndpoint(state, o.endpoint); err != nil {
			return no(err)
		}
		return o.render(app.Out, state)
	}
	return c
}

// keepEndpoint drops the other endpoints.
func keepEndpoint(s *dataplane.State, id string) error {
	if id == "" {
		return nil
	}
	e := s.Endpoints[dataplane.EndpointID(id)]
	if e == nil {
		return fmt.Errorf("%s is not an endpoint of %s", id, s.Host.Node)
	}
	s.Endpoints = map[dataplane.EndpointID]*dataplane.Endpoint{e.ID: e}
	return nil
}

func (o *renderOptions) render(w io.Writer, s *dataplane.State) error {
	switch o.dataplane {
	case "iptables":
		return renderIptables(w, s)
	case "hns":
		return renderHNS(w, s)
	case "nftables":
		return usage(errors.New("--dataplane nftables comes later; iptables' nft variant takes the text of --dataplane iptables"))
	}
	return usage(fmt.Errorf("--dataplane %q; valid: iptables, hns", o.dataplane))
}

func renderIptables(w io.Writer, s *dataplane.State) error {
	r := linux.Render(s, linux.RenderConfig{})
	fmt.Fprintf(w, "# ipset restore\n%s", r.IPSetText())
	for _, f := range linux.Families {
		for _, table := range []string{"nat", "filter"} {
			if text := r.RestoreText(f, table); text != "" {
				fmt.Fprintf(w, "\n# iptables-restore, %s\n%s", f, text)
			}
		}
	}
	return nil
}

// renderedHNS is one endpoint as HNS would be given it.
type renderedHNS struct {
	Endpoint    dataplane.EndpointID `json:"endpoint"`
	ACLs        []hns.ACL            `json:"acls"`
	Unsupported []string             `json:"unsupported,omitempty"`
}

func renderHNS(w io.Writer, s *dataplane.State) error {
	out := []renderedHNS{}
	for _, id := range slices.Sorted(maps.Keys(s.Endpoints)) {
		acls, unsupported := windows.Render(s, id)
		e := renderedHNS{Endpoint: id, ACLs: acls}
		for _, u := range unsupported {
			e.Unsupported = append(e.Unsupported, fmt.Sprintf("%s %s rule %d: %s", u.Policy, u.Direction, u.Rule, u.Reason))
		}
		out = append(out, e)
	}
	return printJSON(w, out)
}
