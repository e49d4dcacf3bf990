//go:build !linux

package server

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
)

// sandbox can't connect pods on this system. On Windows that takes HNS endpoints and namespaces, which others make: felid is a guest there.
type sandbox struct{}

var errNoSandbox = fmt.Errorf("connecting pods is not supported on %s", runtime.GOOS)

type podLink struct{}

func (*podLink) close() {}

func (*podLink) configure([]netip.Addr) (string, error) { return "", errNoSandbox }

func newSandbox() (*sandbox, error) { return nil, errNoSandbox }

func (*sandbox) create(plan) (*podLink, error) { return nil, errNoSandbox }

func (*sandbox) check(plan) error { return errNoSandbox }

func (*sandbox) remove(string, attachment) error { return errNoSandbox }

func (*sandbox) list(string) ([]hostLink, error) { return nil, errNoSandbox }

func (*sandbox) peer(context.Context, string, string, []netip.Addr) (name, mac string, err error) {
	return "", "", errNoSandbox
}

func (*sandbox) exists(context.Context, string) (bool, error) { return false, errNoSandbox }

// InterfaceTo is not there: on this system the host has no routes to pods.
var InterfaceTo func([]netip.Addr) string
