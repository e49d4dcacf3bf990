package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/felid-net/felid/datastore/kube"
	"github.com/felid-net/felid/internal/config"
	"github.com/felid-net/felid/internal/preflight"
)

// preflightKeys are what the checks go by.
var preflightKeys = append([]string{"network", "node"}, config.StoreKeys...)

func newPreflight(app *App) *cobra.Command {
	return newCheck(app, "preflight", "Say whether felid may be installed in a cluster, before anything is",
		"Look for another owner of the API projectcalico.org/v3: an API server of Calico's (APIService v3.projectcalico.org), or definitions that are\n"+
			"not felid's. Nothing is changed. The exit status is 1 where felid must not be installed as --network says: as the owner of the network it is\n"+
			"never installed over another, as a guest it reads what is there and installs no definitions.", false)
}

func newNodeCheck(app *App) *cobra.Command {
	c := newCheck(app, "check", "Say whether felid may start on this host",
		"Look for the rules of another policy engine on this host, and for another owner of the API projectcalico.org/v3 in the cluster. Nothing is changed.\n"+
			"The exit status is 1 where the agent would refuse to start as --network says.\n\n"+
			"With --probe this host is tried instead, by packets of felid's own: between two network namespaces on Linux, between two endpoints of a network made\n"+
			"for that on Windows; both are taken away again. It takes up to some minutes. What pods send and get is not touched. The exit status is 1 where policy\n"+
			"could not be enforced.", true)
	try := c.Flags().Bool("probe", false, "send packets through rules in each form that felid writes, and print what became of each")
	look := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		if *try {
			return app.probe(c)
		}
		return look(c, args)
	}
	return c
}

// probe tries this host, and prints a line for each trial.
func (app *App) probe(c *cobra.Command) error {
	if app.Probe == nil {
		return unreachable(errors.New("there is nothing to probe on this system"))
	}
	trials, err := app.Probe(c.Context())
	if c.Flag("output").Value.String() == "json" {
		err = errors.Join(err, printJSON(app.Out, append([]preflight.Trial{}, trials...)))
	} else {
		for i := range trials {
			fmt.Fprintln(app.Out, trials[i].String())
		}
	}
	if err != nil {
		return unreachable(err)
	}
	if slices.ContainsFunc(trials, func(t preflight.Trial) bool { return t.Refuse }) {
		return &exitError{exitNo, nil}
	}
	return nil
}

func newCheck(app *App, name, short, long string, host bool) *cobra.Command {
	var output string
	c := &cobra.Command{Use: name, Short: short, Long: long, Args: cobra.NoArgs}
	config.Flags(c.Flags(), preflightKeys...)
	addOutput(c, &output, "table", "json")
	c.RunE = func(c *cobra.Command, _ []string) error {
		load := config.LoadOnly
		if host {
			load = config.LoadOnlyForAgent
		}
		cfg, err := load(c.Flags(), app.Env, preflightKeys...)
		if err != nil {
			return usage(err)
		}
		findings, err := clusterFindings(c.Context(), cfg)
		if host && err == nil {
			var more []preflight.Finding
			more, err = app.hostFindings(c.Context(), cfg)
			findings = append(findings, more...)
		}
		if err != nil {
			return openError(err)
		}
		return printChecks(app, output, findings)
	}
	return c
}

func printChecks(app *App, output string, findings []preflight.Finding) error {
	if output == "json" {
		if err := printJSON(app.Out, append([]preflight.Finding{}, findings...)); err != nil {
			return err
		}
	} else {
		for i := range findings {
			fmt.Fprintln(app.Out, findings[i].String())
		}
		if len(findings) == 0 {
			fmt.Fprintln(app.Out, "nothing is in the way")
		}
	}
	if preflight.Refused(findings) {
		return &exitError{exitNo, nil}
	}
	return nil
}

// clusterFindings looks at the API server; without one there is nothing to look at.
func clusterFindings(ctx context.Context, cfg *config.Config) ([]preflight.Finding, error) {
	kind, file, _ := strings.Cut(cfg.Datastore, ":")
	if kind != "" && kind != "kube" {
		return nil, nil
	}
	rest, _, err := kube.LoadConfig(cmp.Or(file, cfg.Kubeconfig), cfg.Context)
	if err != nil {
		return nil, err
	}
	survey, err := kube.Discover(ctx, rest)
	if err != nil {
		return nil, err
	}
	cluster := &preflight.Cluster{Aggregated: survey.Aggregated}
	for _, d := range survey.Definitions {
		cluster.CRDs = append(cluster.CRDs, preflight.CRD{Name: d.Name, Labels: d.Labels})
	}
	return preflight.JudgeCluster(cluster, cfg.Network == "guest"), nil
}

// hostFindings looks at this host's rules.
func (app *App) hostFindings(ctx context.Context, cfg *config.Config) ([]preflight.Finding, error) {
	if app.Survey == nil {
		return nil, nil
	}
	host, err := app.Survey(ctx)
	if err != nil {
		return nil, fmt.Errorf("rules of this host: %w", err)
	}
	host.Node = cfg.Node
	return preflight.JudgeHost(host, cfg.Network == "guest"), nil
}

// mayStart is what an agent looks at before it touches anything. What can't be looked at does not keep it from starting: it may be an outage, and
// its node needs it all the same.
func (app *App) mayStart(ctx context.Context, cfg *config.Config, log *slog.Logger) error {
	findings, err := app.hostFindings(ctx, cfg)
	if err != nil {
		log.Warn("preflight: can't look for other policy engines", "error", err)
	}
	if kind, _, _ := strings.Cut(cfg.Datastore, ":"); kind == "kube" {
		more, err := clusterFindings(ctx, cfg)
		if err != nil {
			log.Warn("preflight: can't look for another owner of the API", "error", err)
		}
		findings = append(findings, more...)
	}
	return refusals(findings, log)
}

// mayControl is what a controller looks at before it writes anything: what belongs to another engine has a controller.
func mayControl(ctx context.Context, cfg *config.Config, log *slog.Logger) error {
	as := *cfg
	as.Network = "owner" // a guest's controller writes these resources too
	findings, err := clusterFindings(ctx, &as)
	if err != nil {
		log.Warn("preflight: can't look for another owner of the API", "error", err)
	}
	return refusals(findings, log)
}

// refusals are the findings that forbid to go on; the others are logged.
func refusals(findings []preflight.Finding, log *slog.Logger) error {
	var errs []error
	for i := range findings {
		if f := &findings[i]; f.Refuse {
			errs = append(errs, errors.New(f.String()))
		} else {
			log.Warn("preflight: "+f.What, "where", f.Where, "do", f.Do)
		}
	}
	return errors.Join(errs...)
}
