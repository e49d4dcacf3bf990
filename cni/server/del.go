package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
)

// del disconnects a container. Whatever is missing already is no error.
func (s *Server) del(ctx context.Context, c *call) error {
	key := c.key()
	if e := s.table.find(c.attachment); e != nil {
		key = e.key // the runtime may have forgotten CNI_ARGS
	}
	unlock, err := s.locks.lock(ctx, key)
	if err != nil {
		return fmt.Errorf("waiting for another request for %s: %w", key, err)
	}
	defer unlock()
	if e := s.table.find(c.attachment); e != nil {
		return s.detach(ctx, e)
	}
	if s.o.Guest {
		return nil
	}
	// No interface is this container's any more, and no record: it was replaced, deleted before, or never there. Its handle may
	// still have addresses.
	if _, err := s.o.IPAM.Release(ctx, c.handle()); err != nil {
		return fmt.Errorf("releasing the addresses of %s: %w", c.attachment, err)
	}
	return nil
}

// detach takes an attachment away: out of the kernel's rules, then the interface, then the addresses, which may be given to another
// pod from then on, then the record. It stops at the first step that fails, and may be repeated. A guest leaves interface and addresses to
// the plugin that made them.
func (s *Server) detach(ctx context.Context, e *entry) error {
	e.done = false
	if e.record != nil {
		if err := s.o.Loop.Remove(ctx, e.record); err != nil {
			return fmt.Errorf("taking %s out of force: %w", e.key, err)
		}
	}
	if !s.o.Guest {
		if err := s.disconnect(ctx, e); err != nil {
			return err
		}
	}
	if err := s.erase(ctx, e); err != nil {
		return err
	}
	s.table.drop(e)
	return nil
}

// disconnect takes the interface away, then the addresses.
func (s *Server) disconnect(ctx context.Context, e *entry) error {
	if err := s.sandbox.remove(e.host, e.attachment); err != nil {
		return err
	}
	if _, err := s.o.IPAM.Release(ctx, e.handle()); err != nil {
		return fmt.Errorf("releasing the addresses of %s: %w", e.attachment, err)
	}
	return nil
}

// gc detaches every attachment of the network that the runtime does not name as valid.
func (s *Server) gc(ctx context.Context, c *call) error {
	if c.config.ValidAttachments == nil {
		return types.NewError(types.ErrInvalidNetworkConfig, "network configuration: cni.dev/valid-attachments is missing; GC without it would delete everything", "")
	}
	valid := map[attachment]bool{}
	for _, v := range c.config.ValidAttachments {
		valid[attachment{Network: c.config.Name, ContainerID: v.ContainerID, IfName: v.IfName}] = true
	}
	stale := slices.DeleteFunc(s.table.of(c.config.Name), func(e *entry) bool { return valid[e.attachment] })
	slices.SortFunc(stale, func(a, b *entry) int { return strings.Compare(a.alias(), b.alias()) })
	var errs []error
	for _, e := range stale {
		errs = append(errs, s.collect(ctx, e))
	}
	return errors.Join(errs...)
}

// collect detaches e, unless a request is at work on it: then the runtime's list is older than that request.
func (s *Server) collect(ctx context.Context, e *entry) error {
	unlock, _ := s.locks.try(e.key)
	if unlock == nil {
		return nil
	}
	defer unlock()
	if s.table.find(e.attachment) != e {
		return nil
	}
	s.o.Log.Info("garbage collected", "attachment", e.attachment.String())
	return s.detach(ctx, e)
}
