package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/felid-net/felid/cni/install"
	"github.com/felid-net/felid/internal/config"
)

func newNode(app *App) *cobra.Command {
	return newGroup("node", "Look after this host", newNodeStatus(app), newNodeCheck(app), newNodeCleanup(app))
}

// cleaner is a dataplane that can take everything of felid's off its host.
type cleaner interface {
	Clean(ctx context.Context) error
}

func newNodeCleanup(app *App) *cobra.Command {
	c := &cobra.Command{
		Use:   "cleanup",
		Short: "Take felid off this host, after the agent has been stopped for good",
		Long: `Take felid off this host, after the agent has been stopped for good: the CNI configuration list, then the plugin's programs, from the folders
that --cni-conf-dir and --cni-bin-dir name; then rules, routes and IP sets. What others have there stays, and so do pods and their interfaces: those
that felid connected can't be reached any more. Nothing is denied from then on.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, _, err := config.Load(c.Flags(), app.Env)
			if err != nil {
				return usage(err)
			}
			if cfg.CNIBinDir == "" || cfg.CNIConfDir == "" {
				return usage(errors.New("which folders? --cni-conf-dir and --cni-bin-dir, /etc/cni/net.d and /opt/cni/bin on most hosts"))
			}
			if err := cleanup(c.Context(), app, cfg); err != nil {
				return no(err)
			}
			fmt.Fprintln(app.Out, "there is nothing of felid on this host any more, but for its state in "+cfg.StateDir)
			return nil
		},
	}
	config.Flags(c.Flags())
	return c
}

// cleanup goes from what would bring pods to felid to what felid does with them.
func cleanup(ctx context.Context, app *App, cfg *config.Config) error {
	if err := install.Remove(cfg.CNIBinDir, cfg.CNIConfDir); err != nil {
		return err
	}
	cfg.Probe = false // it would put things there
	dp, err := app.NewDataplane(ctx, cfg, cfg.Logger())
	if err != nil {
		return err
	}
	c, ok := dp.(cleaner)
	if !ok {
		return errors.Join(errors.New("this dataplane can't be taken off its host"), dp.Close())
	}
	return errors.Join(c.Clean(ctx), dp.Close())
}
