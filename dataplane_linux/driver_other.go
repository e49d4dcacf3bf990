//go:build !linux

package linux

import "errors"

// New has no Linux kernel to work on.
func New(Config) (*Dataplane, error) { return nil, errors.ErrUnsupported }
