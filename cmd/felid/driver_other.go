//go:build !linux

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/internal/config"
)

// newDataplane says that there is no driver for this system yet: policy for Windows is rendered, not applied.
func newDataplane(*config.Config, *slog.Logger) (dataplane.Dataplane, error) {
	return nil, fmt.Errorf("no dataplane for %s yet: %w", runtime.GOOS, errors.ErrUnsupported)
}

// savedRules: there is no iptables here.
var savedRules func(context.Context) (string, error)
