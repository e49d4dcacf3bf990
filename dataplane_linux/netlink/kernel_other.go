//go:build !linux

package netlink

import "errors"

// Dial has no kernel to talk to.
func Dial() (Kernel, error) { return nil, errors.ErrUnsupported }

// Watch has no kernel to listen to.
func Watch(<-chan struct{}, func(Event)) error { return errors.ErrUnsupported }
