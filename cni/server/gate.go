package server

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"

	"github.com/containernetworking/cni/pkg/types"
	"golang.org/x/sync/errgroup"
)

// checkMode refuses a gate's request where felid is the network, and a network's where it is a guest. STATUS is for both: the agent asks it
// of itself.
func (s *Server) checkMode(c *call) error {
	switch {
	case c.config.Gate == s.o.Guest:
		return nil
	case s.o.Guest:
		return types.NewError(types.ErrInvalidNetworkConfig,
			`network configuration: mode: felid is not the network of this node (network: guest); valid: "gate", after another plugin`, "")
	default:
		return types.NewError(types.ErrInvalidNetworkConfig,
			`network configuration: mode: felid is the network of this node (network: owner), not the gate of another; valid: "network"`, "")
	}
}

// pass holds an ADD up until policy is in force for what the plugins before this one have connected, and answers with their result. The
// endpoint goes on record, as the interface that another plugin made can't be told from the record's absence by an agent without memory.
func (s *Server) pass(ctx context.Context, c *call) (json.RawMessage, error) {
	addrs, err := s.passedOn(c)
	if err != nil {
		return nil, err
	}
	unlock, err := s.locks.lock(ctx, c.key())
	if err != nil {
		return nil, fmt.Errorf("waiting for another request for %s: %w", c.key(), err)
	}
	defer unlock()
	host, mac, err := s.ends.peer(ctx, c.netns, c.IfName, addrs)
	if err != nil {
		return nil, err
	}
	view, err := s.view(ctx, c)
	if err != nil {
		return nil, err
	}
	e := &entry{attachment: c.attachment, pod: c.pod, key: c.key(), host: host}
	e.record = newRecord(e, s.o.Node, view, c.config.Labels, addrs, mac)
	s.table.put(e)
	both, bothCtx := errgroup.WithContext(ctx)
	both.Go(func() error { return s.enforce(bothCtx, e.record) })
	both.Go(func() error { return s.write(bothCtx, e.record) })
	if err := both.Wait(); err != nil {
		return nil, s.refuse(ctx, e, err)
	}
	e.done = true
	return c.config.PrevResult, nil
}

// refuse takes back what a failed pass did, and returns why it failed.
func (s *Server) refuse(ctx context.Context, e *entry, cause error) error {
	undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	if err := s.detach(undo, e); err != nil {
		s.o.Log.Error("a failed ADD could not be undone; DEL, GC or the next ADD will", "attachment", e.attachment.String(), "error", err)
	}
	return cause
}

// checkPass verifies that what was passed on is still so: addresses, interface, policy.
func (s *Server) checkPass(ctx context.Context, c *call) error {
	addrs, err := s.passedOn(c)
	if err != nil {
		return err
	}
	unlock, err := s.locks.lock(ctx, c.key())
	if err != nil {
		return fmt.Errorf("waiting for another request for %s: %w", c.key(), err)
	}
	defer unlock()
	e := s.table.find(c.attachment)
	if e == nil || !e.done || e.key != c.key() {
		return failed("%s did not pass this gate", c.attachment)
	}
	rec, err := s.stored(ctx, e)
	if err != nil {
		return err
	}
	if rec == nil {
		return failed("%s is not the record of %s", e.key, e.attachment)
	}
	if err := sameAddresses(addresses(rec), addrs); err != nil {
		return failed("%s: %v", e.key, err)
	}
	host, _, err := s.ends.peer(ctx, c.netns, c.IfName, addrs)
	if err != nil {
		return failed("%v", err)
	}
	if host != e.host {
		return failed("%s in the pod is the other end of %s, not of %s", c.IfName, host, e.host)
	}
	return s.enforce(ctx, rec)
}

func sameAddresses(recorded, now []netip.Addr) error {
	want := make(map[netip.Addr]bool, len(recorded))
	for _, a := range recorded {
		want[a] = true
	}
	for _, a := range now {
		if !want[a] {
			return fmt.Errorf("%s of prevResult is not on record", a)
		}
		delete(want, a)
	}
	for a := range want {
		return fmt.Errorf("%s is not in prevResult any more", a)
	}
	return nil
}

// passedOn are the addresses that the plugins before this one gave to the container's interface. On HNS it is called as its plugin likes.
func (s *Server) passedOn(c *call) ([]netip.Addr, error) {
	ifName := c.IfName
	if s.o.HNS != nil {
		ifName = ""
	}
	return passedOn(c.config.PrevResult, ifName)
}

// passedOn are the addresses that the plugins before this one gave to an interface of the container: all that are not said to be of
// another interface, or of the host's side. Some plugins name no interface, and some no sandbox. With ifName "" all are.
func passedOn(prevResult json.RawMessage, ifName string) ([]netip.Addr, error) {
	if prevResult == nil {
		return nil, types.NewError(types.ErrInvalidNetworkConfig,
			`network configuration: prevResult is missing; mode "gate" is for a plugin that comes after another in a list`, "")
	}
	var prev struct {
		Interfaces []struct{ Name, Sandbox string }
		IPs        []struct {
			Address   netip.Prefix
			Interface *int
		}
	}
	if err := json.Unmarshal(prevResult, &prev); err != nil {
		return nil, types.NewError(types.ErrDecodingFailure, "network configuration: prevResult: "+err.Error(), "")
	}
	var addrs []netip.Addr
	for _, ip := range prev.IPs {
		if !ip.Address.IsValid() {
			continue
		}
		if i := ip.Interface; ifName != "" && i != nil && *i >= 0 && *i < len(prev.Interfaces) && prev.Interfaces[*i].Name != ifName {
			continue
		}
		addrs = append(addrs, ip.Address.Addr().Unmap())
	}
	if len(addrs) == 0 {
		return nil, types.NewError(types.ErrInvalidNetworkConfig, fmt.Sprintf("network configuration: prevResult has no address of %s", cmp.Or(ifName, "the container")), "")
	}
	return addrs, nil
}
