//go:build !linux

package cli

import (
	"errors"
	"runtime"

	"github.com/spf13/cobra"
)

func newLab(*App) *cobra.Command {
	return &cobra.Command{
		Use:   "lab",
		Short: "A small virtual cluster of network namespaces (Linux)",
		RunE: func(*cobra.Command, []string) error {
			return unreachable(errors.New("the lab is made of Linux network namespaces; this is " + runtime.GOOS))
		},
	}
}
