//go:build !windows

package cli

import (
	"context"
	"errors"
)

func runService(string, func(context.Context) error) error {
	return usage(errors.New("--service: Windows alone has services; valid here: without it, under the system's own supervisor"))
}

// leaveInTime: who stops a process here waits for as long as it was told to.
func leaveInTime(context.Context) (done func()) { return func() {} }
