package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"

	"github.com/containernetworking/cni/pkg/types"
)

// errCheck is felid's own code for a CHECK that found something wrong: the specification leaves 100 and above to plugins.
const errCheck = 101

// check verifies that all that ADD did is still there: record, addresses, interface, routes, policy.
func (s *Server) check(ctx context.Context, c *call) error {
	unlock, err := s.locks.lock(ctx, c.key())
	if err != nil {
		return fmt.Errorf("waiting for another request for %s: %w", c.key(), err)
	}
	defer unlock()
	e := s.table.find(c.attachment)
	if e == nil || !e.done || e.key != c.key() {
		return failed("%s is not connected", c.attachment)
	}
	addrs := addresses(e.record)
	if err := s.checkStored(ctx, e, addrs); err != nil {
		return err
	}
	if err := checkPrevResult(c, addrs); err != nil {
		return err
	}
	if err := s.sandbox.check(s.plan(c, e, addrs)); err != nil {
		return failed("%v", err)
	}
	if err := s.o.Loop.Add(ctx, e.record); err != nil {
		return fmt.Errorf("policy is not in force: %w", err)
	}
	return nil
}

// checkStored looks for the record and for the addresses' allocation.
func (s *Server) checkStored(ctx context.Context, e *entry, addrs []netip.Addr) error {
	rec, err := s.stored(ctx, e)
	if err != nil {
		return err
	}
	if rec == nil {
		return failed("%s is not the record of %s", e.key, e.attachment)
	}
	if !slices.Equal(addresses(rec), addrs) || rec.Spec.InterfaceName != e.host {
		return failed("%s has %v on %s; want %v on %s", e.key, rec.Spec.IPNetworks, rec.Spec.InterfaceName, addrs, e.host)
	}
	held, err := s.o.IPAM.ByHandle(ctx, e.handle())
	if err != nil {
		return fmt.Errorf("reading the addresses of %s: %w", e.attachment, err)
	}
	for _, addr := range addrs {
		if !slices.Contains(held, addr) {
			return failed("%s is not assigned to %s", addr, e.attachment)
		}
	}
	return nil
}

// checkPrevResult compares what the runtime believes with what is: each of the endpoint's addresses must be in the result. A
// plugin later in the chain may have added others.
func checkPrevResult(c *call, addrs []netip.Addr) error {
	if c.config.PrevResult == nil {
		return types.NewError(types.ErrInvalidNetworkConfig, "network configuration: prevResult is missing", "")
	}
	var prev struct {
		IPs []struct{ Address netip.Prefix }
	}
	if err := json.Unmarshal(c.config.PrevResult, &prev); err != nil {
		return types.NewError(types.ErrDecodingFailure, "network configuration: prevResult: "+err.Error(), "")
	}
	for _, addr := range addrs {
		known := false
		for _, ip := range prev.IPs {
			known = known || ip.Address.Addr() == addr
		}
		if !known {
			return failed("%s of %s is not in prevResult", addr, c.attachment)
		}
	}
	return nil
}

func failed(format string, args ...any) error {
	return types.NewError(errCheck, "CHECK: "+fmt.Sprintf(format, args...), "")
}
