package cli

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/felid-net/felid/api/v1alpha1"
	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/internal/agent"
	"github.com/felid-net/felid/policy"
)

func newPolicyStatus(app *App) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "status [[NS/]NAME]",
		Short: "Say what policies select, and what of them is not enforced as written",
		Long: "Say what a policy selects on all nodes, which of its rules a dataplane can't enforce as written and what it does instead, and which\n" +
			"elements can't be read and are left out; without a name, of every policy. On a cluster it says besides on how many nodes the policy is programmed.\n" +
			"What one node says is at its agent's /status/policies.",
		Args: cobra.MaximumNArgs(1),
	}
	in := addInput(c, app)
	addOutput(c, &output, "table", "json")
	c.RunE = func(c *cobra.Command, args []string) error {
		objects, err := in.objects(c.Context())
		if err != nil {
			return err
		}
		reports := policyReports(objects)
		if err := in.addStatus(c.Context(), objects, reports); err != nil {
			return err
		}
		if len(args) > 0 {
			named := policiesNamed(objects, args[0])
			reports = slices.DeleteFunc(reports, func(r v1alpha1.PolicyReport) bool {
				return !slices.Contains(named, dataplane.PolicyID{Kind: r.Policy.Kind, Namespace: r.Policy.Namespace, Name: r.Policy.Name})
			})
			if len(reports) == 0 {
				return no(fmt.Errorf("no policy %s; namespaced ones are given as NS/NAME", args[0]))
			}
		}
		if output == "json" {
			return printJSON(app.Out, reports)
		}
		for i := range reports {
			printReport(app, &reports[i])
		}
		return nil
	}
	return c
}

// policyReports are of all policies, in the order of the objects.
func policyReports(objects []v3.Object) []v1alpha1.PolicyReport {
	r := newResolver(objects)
	state, _ := r.Flush()
	c := &cluster{objects: objects, state: state}
	var onWindows []dataplane.Unsupported
	c.eachUnsupportedOnWindows(func(_ *dataplane.Endpoint, u dataplane.Unsupported) {
		if !slices.Contains(onWindows, u) {
			onWindows = append(onWindows, u)
		}
	})
	reports := []v1alpha1.PolicyReport{}
	for _, o := range c.policies() {
		s, ok := r.Status(v3.KeyOf(o))
		if !ok {
			s = policy.Status{Policy: v3.KeyOf(o)}
		}
		reports = append(reports, agent.NewPolicyReport(s, "", "hns", onWindows))
	}
	return reports
}

func printReport(app *App, r *v1alpha1.PolicyReport) {
	id := dataplane.PolicyID{Kind: r.Policy.Kind, Namespace: r.Policy.Namespace, Name: r.Policy.Name}
	if r.Tier == "" {
		fmt.Fprintf(app.Out, "%s: counts as absent\n", id)
	} else {
		fmt.Fprintf(app.Out, "%s: tier %s, selects %s\n", id, r.Tier, count(*r.Selected, "endpoint"))
	}
	for _, n := range r.NotExpressed {
		where := ""
		if n.Dataplane != "" {
			where = " on " + n.Dataplane
		}
		fmt.Fprintf(app.Out, "  not expressed%s: spec.%s[%d]: %s\n", where, n.Direction, n.Rule, n.Reason)
	}
	for _, f := range r.LeftOut {
		fmt.Fprintf(app.Out, "  not read: %s: %s\n", f.Field, f.Message)
	}
	for _, f := range r.Conditions {
		fmt.Fprintf(app.Out, "  %s: %s: %s\n", f.Type, f.Field, f.Message)
	}
	printProgrammed(app.Out, r)
}
