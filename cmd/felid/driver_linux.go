package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"strings"

	"github.com/felid-net/felid/dataplane"
	linux "github.com/felid-net/felid/dataplane_linux"
	"github.com/felid-net/felid/dataplane_linux/iptables"
	"github.com/felid-net/felid/internal/config"
	"github.com/felid-net/felid/internal/preflight"
)

// newDataplane opens iptables and ipset in the network namespace of the process.
func newDataplane(_ context.Context, c *config.Config, log *slog.Logger) (dataplane.Dataplane, error) {
	mark, err := c.Mark()
	if err != nil {
		return nil, err
	}
	denyGroup := 0
	if c.DenyEvents {
		denyGroup = c.DenyEventGroup
	}
	return linux.New(linux.Config{
		Backend: c.IptablesBackend, MarkMask: mark, LogGroup: uint16(c.LogGroup), LockFile: c.IptablesLockFile,
		LogRate: c.LogRateLimit, LogBurst: c.LogRateBurst, LogVerdicts: c.LogVerdicts,
		DenyGroup: uint16(denyGroup), CutDenied: c.PolicyChangeAction == "CutDenied",
		FullCheck: c.ReadInterval, Log: log,
	})
}

// survey looks at the chains that there are.
func survey(ctx context.Context) (*preflight.Host, error) {
	saved, err := savedRules(ctx)
	return &preflight.Host{Chains: preflight.Chains(saved)}, err
}

// savedRules is what iptables-save says in both variants and families; the programs that are not installed have nothing to say.
func savedRules(ctx context.Context) (string, error) {
	var text strings.Builder
	for _, program := range []string{"iptables-nft-save", "ip6tables-nft-save", "iptables-legacy-save", "ip6tables-legacy-save"} {
		out, said, err := iptables.Exec(ctx, program, nil, nil, nil)
		if err != nil && !errors.Is(err, exec.ErrNotFound) {
			return "", fmt.Errorf("%s: %w: %s", program, err, said)
		}
		text.Write(out)
	}
	return text.String(), nil
}
