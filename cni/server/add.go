package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	"golang.org/x/sync/errgroup"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/ipam"
)

// undoTimeout is how long a failed ADD may take to take back what it did.
const undoTimeout = 8 * time.Second

// add connects a container, and returns once policy is in force; the result is in the version that the configuration names.
func (s *Server) add(ctx context.Context, c *call) (json.RawMessage, error) {
	if c.netns == "" {
		return nil, types.NewError(types.ErrInvalidNetNS, "CNI_NETNS is empty", "")
	}
	unlock, err := s.locks.lock(ctx, c.key())
	if err != nil {
		return nil, fmt.Errorf("waiting for another request for %s: %w", c.key(), err)
	}
	defer unlock()
	if e := s.table.find(c.attachment); e != nil && e.key != c.key() {
		return nil, types.NewError(types.ErrInvalidEnvironmentVariables, fmt.Sprintf("CNI_ARGS: %s belongs to %s, not %s", c.attachment, e.key, c.key()), "")
	}
	e, err := s.again(ctx, c)
	if e == nil && err == nil {
		e, err = s.connect(ctx, c)
	}
	if err != nil {
		return nil, err
	}
	return encodeResult(s.result(e, c), c.config.CNIVersion)
}

// again looks at what the record's key has already. If that is this very attachment, whole and in force, it is returned: ADD said twice
// is ADD. Anything else is taken away as DEL would: a sandbox before this one, or half of one.
func (s *Server) again(ctx context.Context, c *call) (*entry, error) {
	e := s.table.at(c.key())
	if e == nil {
		return nil, nil
	}
	if e.done && e.attachment == c.attachment && s.sandbox.check(s.plan(c, e, addresses(e.record))) == nil {
		rec, err := s.stored(ctx, e)
		if err != nil {
			return nil, err
		}
		if rec != nil {
			return e, s.enforce(ctx, rec)
		}
	}
	if err := s.detach(ctx, e); err != nil {
		return nil, fmt.Errorf("taking away the %s that was there before: %w", e.attachment, err)
	}
	return nil, nil
}

// enforce gives an endpoint to the loop and waits. Where the endpoint is not new, rec must come from the datastore just now: the pod's labels may have
// changed since ADD.
func (s *Server) enforce(ctx context.Context, rec *v3.WorkloadEndpoint) error {
	if err := s.o.Loop.Add(ctx, rec); err != nil {
		return fmt.Errorf("policy is not in force: %w", err)
	}
	return nil
}

// connect does what ADD is for, and undoes it if it fails.
func (s *Server) connect(ctx context.Context, c *call) (*entry, error) {
	view, err := s.view(ctx, c)
	if err != nil {
		return nil, err
	}
	e := &entry{attachment: c.attachment, pod: c.pod, key: c.key(),
		host: InterfaceName(s.o.InterfacePrefix, c.pod.Namespace, c.pod.Name, c.ContainerID, c.IfName)}
	s.table.put(e)
	err = s.attach(ctx, c, e, view)
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx) // nobody waits for the answer any more
	}
	if err == nil {
		e.done = true
		return e, nil
	}
	undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	if failure := s.detach(undo, e); failure != nil {
		s.o.Log.Error("a failed ADD could not be undone; DEL, GC or the next ADD will", "attachment", e.attachment.String(), "error", failure)
	}
	return nil, err
}

// view reads the Pod. Nil: there is none, and the configuration says what labels the endpoint has.
func (s *Server) view(ctx context.Context, c *call) (*v3.WorkloadEndpoint, error) {
	if c.pod.Name == "" {
		return nil, nil
	}
	view, err := s.o.Pods.Pod(ctx, c.pod.Namespace, c.pod.Name)
	switch {
	case errors.Is(err, datastore.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading pod %s/%s: %w", c.pod.Namespace, c.pod.Name, err)
	case c.pod.UID != "" && view.UID != "" && view.Spec.ContainerID == "" && string(view.UID) != c.pod.UID:
		return nil, fmt.Errorf("pod %s/%s is known with UID %s, not %s: another pod of that name came or went", c.pod.Namespace, c.pod.Name, view.UID, c.pod.UID)
	case c.pod.UID != "" && view.Annotations[v3.PodUIDAnnotation] != "" && view.Annotations[v3.PodUIDAnnotation] != c.pod.UID:
		return nil, fmt.Errorf("pod %s/%s: the sandbox of another pod of that name, with UID %s, is still there", c.pod.Namespace, c.pod.Name, view.Annotations[v3.PodUIDAnnotation])
	case view.Spec.ContainerID != "" && view.Spec.ServiceAccountName == "":
		return nil, nil // the record of another interface, with no Pod behind it: every Pod has a service account
	}
	return view, nil
}

// attach makes the interface, assigns addresses, configures them, and brings the endpoint in force and on record. The package's
// documentation gives the reasons for this order.
func (s *Server) attach(ctx context.Context, c *call, e *entry, view *v3.WorkloadEndpoint) error {
	link, err := s.sandbox.create(s.plan(c, e, nil))
	if err != nil {
		return err
	}
	defer link.close()
	addrs, err := s.assign(ctx, e)
	if err != nil {
		return err
	}
	mac, err := link.configure(addrs)
	if err != nil {
		return err
	}
	e.record = newRecord(e, s.o.Node, view, c.config.Labels, addrs, mac)
	both, ctx := errgroup.WithContext(ctx)
	both.Go(func() error { return s.enforce(ctx, e.record) })
	both.Go(func() error { return s.write(ctx, e.record) })
	return both.Wait()
}

// plan is what there should be between the host and the container.
func (s *Server) plan(c *call, e *entry, addrs []netip.Addr) plan {
	mtu := s.o.MTU
	if c.config.MTU != 0 {
		mtu = c.config.MTU
	}
	return plan{attachment: e.attachment, host: e.host, netns: c.netns, mtu: mtu, addrs: addrs}
}

// assign gets an address of each family that there is a pool for.
func (s *Server) assign(ctx context.Context, e *entry) ([]netip.Addr, error) {
	families := []ipam.Request{s.request(e, false)}
	if s.o.IPv6 {
		families = append(families, s.request(e, true))
	}
	var all []netip.Addr
	var none error
	for _, req := range families {
		addrs, err := s.o.IPAM.Assign(ctx, req)
		if errors.Is(err, ipam.ErrNoPool) {
			none = err
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("assigning an address: %w", err)
		}
		all = append(all, addrs...)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("assigning an address: %w", none)
	}
	return all, nil
}

func (s *Server) request(e *entry, ipv6 bool) ipam.Request {
	attrs := map[string]string{ipam.AttrContainer: e.ContainerID, ipam.AttrInterface: e.IfName, ipam.AttrNetwork: e.Network}
	if e.pod.Name != "" {
		attrs[ipam.AttrPod], attrs[ipam.AttrNamespace] = e.pod.Name, e.pod.Namespace
	}
	if e.pod.UID != "" {
		attrs[v3.AttributePodUID] = e.pod.UID
	}
	return ipam.Request{Handle: e.handle(), Namespace: e.pod.Namespace, IPv4: !ipv6, IPv6: ipv6, Attrs: attrs}
}
