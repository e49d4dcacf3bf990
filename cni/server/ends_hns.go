package server

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/felid-net/felid/dataplane_windows/hns"
)

// hnsEnds are the endpoints of HNS. A container's network namespace is one of HNS too: the runtime makes it before it calls the plugins, and
// each of them attaches its endpoint to it.
type hnsEnds struct{ client *hns.Client }

var guid = regexp.MustCompile(`^\{?[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\}?$`)

// peer is the endpoint that is attached to a namespace. That it is named otherwise than ifName is usual: plugins name it by the container.
func (h hnsEnds) peer(ctx context.Context, netns, _ string, addrs []netip.Addr) (id, mac string, err error) {
	if !guid.MatchString(netns) {
		return "", "", types.NewError(types.ErrInvalidNetNS, fmt.Sprintf("CNI_NETNS: %q is not the ID of a namespace of HNS", netns), "")
	}
	eps, err := await(ctx, func() ([]hns.Endpoint, error) { return h.attached(strings.Trim(netns, "{}")) })
	if err != nil {
		return "", "", fmt.Errorf("looking for the endpoint of namespace %s: %w", netns, err)
	}
	ep, err := endpointOf(eps, addrs)
	if err != nil {
		return "", "", fmt.Errorf("namespace %s: %w", netns, err)
	}
	return ep.ID, "", nil
}

// attached are the endpoints of a namespace. One that goes meanwhile is none.
func (h hnsEnds) attached(namespace string) ([]hns.Endpoint, error) {
	ids, err := h.client.NamespaceEndpoints(namespace)
	if err != nil {
		return nil, err
	}
	var eps []hns.Endpoint
	for _, id := range ids {
		ep, err := h.client.Endpoint(id)
		switch {
		case hns.NotFound(err):
		case err != nil:
			return nil, err
		default:
			eps = append(eps, ep)
		}
	}
	return eps, nil
}

// endpointOf is the one endpoint of a container, if it has those addresses. A second one would be without policy.
func endpointOf(eps []hns.Endpoint, addrs []netip.Addr) (hns.Endpoint, error) {
	switch {
	case len(eps) == 0:
		return hns.Endpoint{}, fmt.Errorf("no endpoint is attached; prevResult has %v", addrs)
	case len(eps) > 1:
		return hns.Endpoint{}, fmt.Errorf("%d endpoints are attached, %s and %s for two: felid polices one of a container", len(eps), eps[0].ID, eps[1].ID)
	}
	for _, addr := range addrs {
		if !slices.Contains(eps[0].Addresses, addr) {
			return hns.Endpoint{}, fmt.Errorf("endpoint %s has %v, but prevResult %v: %s is of something else", eps[0].ID, eps[0].Addresses, addrs, addr)
		}
	}
	return eps[0], nil
}

func (h hnsEnds) exists(ctx context.Context, id string) (bool, error) {
	_, err := await(ctx, func() (hns.Endpoint, error) { return h.client.Endpoint(id) })
	if hns.NotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// await gives up on a call when ctx ends. The call goes on: HNS can't be told to stop, and may take minutes.
func await[T any](ctx context.Context, call func() (T, error)) (T, error) {
	var result T
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		result, err = call()
	}()
	select {
	case <-done:
		return result, err
	case <-ctx.Done():
		var none T
		return none, fmt.Errorf("HNS has not answered: %w", context.Cause(ctx))
	}
}
