//go:build !linux && !windows

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/internal/config"
	"github.com/felid-net/felid/internal/preflight"
)

// newDataplane says that this system has none: the operator's commands alone work.
func newDataplane(context.Context, *config.Config, *slog.Logger) (dataplane.Dataplane, error) {
	return nil, fmt.Errorf("no dataplane for %s: %w", runtime.GOOS, errors.ErrUnsupported)
}

// survey: there are no rules of anybody's here.
var survey func(context.Context) (*preflight.Host, error)

// probeHost: there is nothing that felid could enforce with.
var probeHost func(context.Context) ([]preflight.Trial, error)
