package cli

import (
	"context"
	"errors"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/felid-net/felid/internal/agent"
	"github.com/felid-net/felid/internal/config"
)

func newAgent(app *App) *cobra.Command {
	var printConfig bool
	c := &cobra.Command{
		Use:   "agent",
		Short: "Run the node agent: enforce policy and connect pods on this host",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, values, err := config.Load(c.Flags(), app.Env)
			if printConfig {
				config.Print(app.Out, values)
			}
			if err != nil {
				return usage(err)
			}
			if printConfig {
				return nil
			}
			return runAgent(c.Context(), app, cfg)
		},
	}
	config.Flags(c.Flags())
	c.Flags().BoolVar(&printConfig, "print-config", false, "print each value and where it came from, and end")
	return c
}

func runAgent(ctx context.Context, app *App, cfg *config.Config) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	log := cfg.Logger()
	log.Info("felid agent starts", "version", version, "node", cfg.Node, "datastore", cfg.Datastore)
	if err := app.mayStart(ctx, cfg, log); err != nil {
		return no(err)
	}
	store, err := config.OpenForNode(cfg, log)
	if err != nil {
		return openError(err)
	}
	dp, err := app.NewDataplane(cfg, log)
	if err != nil {
		return unreachable(errors.Join(err, store.Close()))
	}
	err = agent.RunNode(ctx, cfg, store, dp, log)
	if err = errors.Join(err, dp.Close(), store.Close()); err != nil {
		return unreachable(err)
	}
	log.Info("felid agent ends; its rules stay in place")
	return nil
}
