package main

import (
	"log/slog"

	"github.com/felid-net/felid/dataplane"
	linux "github.com/felid-net/felid/dataplane_linux"
	"github.com/felid-net/felid/internal/config"
)

// newDataplane opens iptables and ipset in the network namespace of the process.
func newDataplane(c *config.Config, log *slog.Logger) (dataplane.Dataplane, error) {
	mark, err := c.Mark()
	if err != nil {
		return nil, err
	}
	return linux.New(linux.Config{
		Backend: c.IptablesBackend, MarkMask: mark, LogGroup: uint16(c.LogGroup), LockFile: c.IptablesLockFile,
		LogRate: c.LogRateLimit, LogBurst: c.LogRateBurst, LogVerdicts: c.LogVerdicts,
		CutDenied: c.PolicyChangeAction == "CutDenied",
		FullCheck: c.ReadInterval, Log: log,
	})
}
