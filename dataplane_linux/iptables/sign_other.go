//go:build !linux

package iptables

import "errors"

// KernelSign has no kernel to ask.
func KernelSign(Variant, Family, string) (uint64, error) { return 0, errors.ErrUnsupported }
