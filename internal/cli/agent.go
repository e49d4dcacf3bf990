package cli

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/felid-net/felid/internal/agent"
	"github.com/felid-net/felid/internal/config"
)

func newAgent(app *App) *cobra.Command {
	var printConfig, service bool
	c := &cobra.Command{
		Use:   "agent",
		Short: "Run the node agent: enforce policy and connect pods on this host",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, values, err := config.Load(c.Flags(), app.Env)
			if printConfig {
				config.Print(app.Out, values)
			}
			if service { // which has no standard error
				cfg.LogFile = cmp.Or(cfg.LogFile, filepath.Join(cfg.StateDir, "felid.log"))
			}
			if err != nil {
				return usage(errors.Join(err, logFailure(cfg, err)))
			}
			if printConfig {
				return nil
			}
			if service {
				return runService(cfg.LogFile, func(ctx context.Context) error { return startAgent(ctx, app, cfg) })
			}
			ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			defer leaveInTime(ctx)()
			return startAgent(ctx, app, cfg)
		},
	}
	config.Flags(c.Flags())
	c.Flags().BoolVar(&printConfig, "print-config", false, "print each value and where it came from, and end")
	c.Flags().BoolVar(&service, "service", false, "answer to the service control manager of Windows, which has started this")
	return c
}

// logFailure logs why an agent does not start, if there is a file to log to.
func logFailure(cfg *config.Config, failure error) error {
	if cfg.LogFile == "" {
		return nil
	}
	log, file, err := cfg.OpenLogger()
	if err != nil {
		return err
	}
	log.Error("felid agent does not start", "error", failure)
	return file.Close()
}

// startAgent opens the log, and runs the agent until ctx ends.
func startAgent(ctx context.Context, app *App, cfg *config.Config) error {
	if err := cfg.ProtectStateDir(); err != nil {
		return unreachable(err)
	}
	log, file, err := cfg.OpenLogger()
	if err != nil {
		return unreachable(err)
	}
	err = runAgent(ctx, app, cfg, log)
	if err != nil && cfg.LogFile != "" {
		log.Error("felid agent ends", "error", err)
	}
	return errors.Join(err, file.Close())
}

func runAgent(ctx context.Context, app *App, cfg *config.Config, log *slog.Logger) error {
	log.Info("felid agent starts", "version", version, "node", cfg.Node, "datastore", cfg.Datastore)
	if err := app.mayStart(ctx, cfg, log); err != nil {
		return no(err)
	}
	store, err := config.OpenForNode(cfg, log)
	if err != nil {
		return openError(err)
	}
	dp, err := app.NewDataplane(ctx, cfg, log)
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
