package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/policy"
)

// unusedJSON is a policy that selects nothing, as -o json prints it.
type unusedJSON struct {
	Kind      v3.Kind `json:"kind"`
	Namespace string  `json:"namespace,omitempty"`
	Name      string  `json:"name"`
}

func newPolicyUnused(app *App) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "unused",
		Short: "List the policies that select no endpoint",
		Args:  cobra.NoArgs,
	}
	in := addInput(c, app)
	addOutput(c, &output, "table", "json", "name")
	c.RunE = func(c *cobra.Command, _ []string) error {
		all, err := in.cluster(c.Context())
		if err != nil {
			return err
		}
		unused := policy.Unused(all.objects, all.state)
		if output == "json" {
			out := make([]unusedJSON, len(unused))
			for i, k := range unused {
				out[i] = unusedJSON{k.Kind, k.Namespace, k.Name}
			}
			return printJSON(app.Out, out)
		}
		for _, k := range unused {
			fmt.Fprintln(app.Out, k)
		}
		return nil
	}
	return c
}
