package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"

	"github.com/containernetworking/cni/pkg/types"

	v3 "github.com/felid-net/felid/api/v3"
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
	rec, err := s.checkStored(ctx, e, addrs)
	if err != nil {
		return err
	}
	if err := checkPrevResult(c, addrs); err != nil {
		return err
	}
	if err := s.sandbox.check(s.plan(c, e, addrs)); err != nil {
		return failed("%v", err)
	}
	return s.enforce(ctx, rec)
}

// checkStored returns the record as it is stored, if that and the addresses' allocation are right.
func (s *Server) checkStored(ctx context.Context, e *entry, addrs []netip.Addr) (*v3.WorkloadEndpoint, error) {
	rec, err := s.stored(ctx, e)
	if err != nil {
		return nil, err
	}
	if rec == nil {
		return nil, failed("%s is not the record of %s", e.key, e.attachment)
	}
	if !slices.Equal(addresses(rec), addrs) || rec.Spec.InterfaceName != e.host {
		return nil, failed("%s has %v on %s; want %v on %s", e.key, rec.Spec.IPNetworks, rec.Spec.InterfaceName, addrs, e.host)
	}
	held, err := s.o.IPAM.ByHandle(ctx, e.handle())
	if err != nil {
		return nil, fmt.Errorf("reading the addresses of %s: %w", e.attachment, err)
	}
	for _, addr := range addrs {
		if !slices.Contains(held, addr) {
			return nil, failed("%s is not assigned to %s", addr, e.attachment)
		}
	}
	return rec, nil
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
