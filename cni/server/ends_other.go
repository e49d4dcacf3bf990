//go:build !windows

package server

import "github.com/felid-net/felid/dataplane_windows/hns"

// hostHNS is nil: this system has none.
func hostHNS() *hns.Client { return nil }
