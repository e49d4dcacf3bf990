//go:build !linux

package server

import (
	"fmt"
	"net/netip"
	"runtime"
)

// sandbox can't connect pods on this system: on Windows that takes HNS endpoints and namespaces, which are not written yet.
type sandbox struct{}

var errNoSandbox = fmt.Errorf("connecting pods is not supported on %s yet", runtime.GOOS)

type podLink struct{}

func (*podLink) close() {}

func (*podLink) configure([]netip.Addr) (string, error) { return "", errNoSandbox }

func newSandbox() (*sandbox, error) { return nil, errNoSandbox }

func (*sandbox) create(plan) (*podLink, error) { return nil, errNoSandbox }

func (*sandbox) check(plan) error { return errNoSandbox }

func (*sandbox) remove(string, attachment) error { return errNoSandbox }

func (*sandbox) list(string) ([]hostLink, error) { return nil, errNoSandbox }

func (*sandbox) peer(string, string) (name, mac string, err error) { return "", "", errNoSandbox }

func (*sandbox) exists(string) (bool, error) { return false, errNoSandbox }

// InterfaceTo is not known on this system.
func InterfaceTo([]netip.Addr) string { return "" }
