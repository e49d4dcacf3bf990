package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/felid-net/felid/cni/install"
	"github.com/felid-net/felid/internal/config"
)

func newNode(app *App) *cobra.Command {
	return newGroup("node", "Look after this host", newNodeCheck(app), newNodeCleanup(app), newNodeStatus(app))
}

func newNodeCleanup(app *App) *cobra.Command {
	c := &cobra.Command{
		Use:   "cleanup",
		Short: "Take the CNI plugin off this host, after the agent has been stopped for good",
		Long: `Take the CNI plugin off this host, after the agent has been stopped for good: its configuration list, then its programs, from the
folders that --cni-conf-dir and --cni-bin-dir name. What other plugins have there stays, and so do rules and sets in the kernel.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := config.LoadOnly(c.Flags(), app.Env, "cniBinDir", "cniConfDir")
			if err != nil {
				return usage(err)
			}
			if cfg.CNIBinDir == "" && cfg.CNIConfDir == "" {
				return usage(errors.New("which folders? --cni-conf-dir and --cni-bin-dir, /etc/cni/net.d and /opt/cni/bin on most hosts"))
			}
			if err := install.Remove(cfg.CNIBinDir, cfg.CNIConfDir); err != nil {
				return no(err)
			}
			fmt.Fprintln(app.Out, "the CNI plugin is not installed on this host any more")
			return nil
		},
	}
	config.Flags(c.Flags(), "cniBinDir", "cniConfDir")
	return c
}
