package server

import (
	"context"
	"errors"
	"net/netip"
)

// ends is where a guest finds what the plugins before it have connected containers with: interfaces on Linux, HNS endpoints on Windows.
type ends interface {
	// peer is the host's end of the interface ifName of the container in netns, which was given addrs, and the MAC address of the container's
	// end; "" where that is nobody's business.
	peer(ctx context.Context, netns, ifName string, addrs []netip.Addr) (name, mac string, err error)
	// exists tells whether the host has an end of that name.
	exists(ctx context.Context, name string) (bool, error)
}

var errOwnerOnHNS = errors.New(`network: felid is not the network of Windows nodes in this version; valid: guest, beside another plugin`)

// open chooses what the server works on: HNS, if there is one, else network namespaces.
func (s *Server) open() (err error) {
	if s.o.HNS == nil {
		s.sandbox, err = newSandbox()
		s.ends = s.sandbox
		return err
	}
	if !s.o.Guest {
		return errOwnerOnHNS
	}
	s.ends = hnsEnds{s.o.HNS}
	return nil
}
