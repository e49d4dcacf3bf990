package main

import (
	"context"

	"github.com/felid-net/felid/internal/preflight"
)

var probeHost func(context.Context) ([]preflight.Trial, error)
