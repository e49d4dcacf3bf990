//go:build !linux

package linux

import (
	"context"
	"errors"

	"github.com/felid-net/felid/dataplane"
)

// WatchDenials is for Linux.
func (d *Dataplane) WatchDenials(context.Context, func(dataplane.Denial)) error {
	return errors.ErrUnsupported
}
