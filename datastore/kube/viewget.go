package kube

import (
	"context"
	"errors"
	"fmt"
	"strings"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

// Get is datastore.Store's. It asks the server, once; nothing is followed for it.
func (v *views) Get(ctx context.Context, key v3.Key) (v3.Object, error) {
	if key.Kind == v3.KindWorkloadEndpoint {
		return v.getWorkload(ctx, key)
	}
	r, name := upstreamOf(key)
	if name.name == "" {
		return nil, fmt.Errorf("%s: %w", key, datastore.ErrNotFound)
	}
	d, err := v.getDecoded(ctx, key, r, name)
	if err != nil {
		return nil, err
	}
	if d.object == nil || v3.KeyOf(d.object) != key {
		return nil, fmt.Errorf("%s: %w", key, datastore.ErrNotFound)
	}
	return d.object, nil
}

// getDecoded reads one object of the server and makes its view.
func (v *views) getDecoded(ctx context.Context, key v3.Key, r *resource, name objectName) (*decoded, error) {
	raw, err := v.up.get(ctx, r, name.namespace, name.name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	for _, s := range v.byKind[key.Kind].sources {
		if s.resource.String() == r.String() {
			if d := s.decode(raw); d.err == nil {
				return &d, nil
			} else {
				return nil, fmt.Errorf("%s: %w: %w", key, datastore.ErrInvalid, d.err)
			}
		}
	}
	panic("felid: no view of " + string(key.Kind) + " is made of " + r.String())
}

// upstreamOf is the object that a view is made of; without a name where there can't be one.
func upstreamOf(key v3.Key) (*resource, objectName) {
	name := objectName{key.Namespace, key.Name}
	switch key.Kind {
	case v3.KindNode:
		return nodeResource, name
	case v3.KindKubernetesNetworkPolicy:
		return policyResource, name
	case v3.KindClusterNetworkPolicy:
		return clusterPolicyResource, name
	case v3.KindServiceEndpoints:
		if _, slice, ok := strings.Cut(key.Name, "/"); ok {
			return sliceResource, objectName{key.Namespace, slice}
		}
		return serviceResource, name
	case v3.KindProfile:
		if namespace, ok := strings.CutPrefix(key.Name, "kns."); ok {
			return namespaceResource, objectName{"", namespace}
		}
		if account, ok := strings.CutPrefix(key.Name, "ksa."); ok {
			namespace, account, _ := strings.Cut(account, ".")
			return serviceAccountResource, objectName{namespace, account}
		}
		return storedOf(v3.KindProfile), name
	}
	return nil, objectName{}
}

// getWorkload joins the record of a sandbox, if there is one, with its Pod, read from the server just now. The addresses that IPAM blocks record are
// those known, if blocks are followed.
func (v *views) getWorkload(ctx context.Context, key v3.Key) (v3.Object, error) {
	p := parts{name: objectName{key.Namespace, key.Name}, podName: objectName{key.Namespace, key.Name}}
	if v.o.Records != nil {
		record, err := v.o.Records.Get(ctx, key)
		if err != nil && !errors.Is(err, datastore.ErrNotFound) {
			return nil, fmt.Errorf("the record of a sandbox: %w", err)
		}
		if p.record, _ = record.(*v3.WorkloadEndpoint); p.record != nil {
			p.podName.name = p.record.Spec.Pod
		}
	}
	if err := v.getPod(ctx, key, &p); err != nil {
		return nil, err
	}
	if p.none() {
		return nil, fmt.Errorf("%s: %w", key, datastore.ErrNotFound)
	}
	return p.object(), nil
}

// getPod reads the pod of an endpoint, if it has one.
func (v *views) getPod(ctx context.Context, key v3.Key, p *parts) error {
	if p.podName.name == "" || p.podName.namespace == "" || strings.Contains(p.podName.name, "+") {
		return nil // no pod has such a name
	}
	d, err := v.getDecoded(ctx, key, podResource, p.podName)
	if errors.Is(err, datastore.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	view, _ := d.object.(*v3.WorkloadEndpoint)
	if view == nil {
		return nil
	}
	p.pod = newSharer().fold(view)
	if p.record != nil {
		p.part()
	}
	if p.pod != nil && p.takesAddresses() {
		w := v.byKind[v3.KindWorkloadEndpoint]
		w.mu.Lock()
		defer w.mu.Unlock()
		p.addresses = chosen(p.pod, w.endpoints.claims(p.podName))
	}
	return nil
}

// Create is datastore.Store's: only records of sandboxes can be written.
func (v *views) Create(ctx context.Context, o v3.Object) (v3.Object, error) {
	return v.write(ctx, o, func(records datastore.Store) (v3.Object, error) { return records.Create(ctx, o) })
}

// Update is datastore.Store's: only records of sandboxes can be written.
func (v *views) Update(ctx context.Context, o v3.Object) (v3.Object, error) {
	return v.write(ctx, o, func(records datastore.Store) (v3.Object, error) {
		revision, recorded := recordRevision(o.GetResourceVersion())
		if revision != o.GetResourceVersion() {
			o = o.Copy()
			o.SetResourceVersion(revision)
		}
		if recorded {
			return records.Update(ctx, o)
		}
		created, err := records.Create(ctx, o) // it was a Pod alone
		if errors.Is(err, datastore.ErrExists) {
			err = fmt.Errorf("%s: %w", v3.KeyOf(o), datastore.ErrConflict)
		}
		return created, err
	})
}

// write writes a record, and returns the endpoint as it is thereby.
func (v *views) write(ctx context.Context, o v3.Object, write func(records datastore.Store) (v3.Object, error)) (v3.Object, error) {
	key := v3.KeyOf(o)
	if err := v.writable(key); err != nil {
		return nil, err
	}
	written, err := write(v.o.Records)
	if err != nil {
		return nil, err
	}
	w := v.byKind[v3.KindWorkloadEndpoint]
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.endpoints.with(objectName{key.Namespace, key.Name}, written.(*v3.WorkloadEndpoint)), nil
}

// Delete is datastore.Store's: only records of sandboxes can be deleted.
func (v *views) Delete(ctx context.Context, key v3.Key, revision string) error {
	if err := v.writable(key); err != nil {
		return err
	}
	record, recorded := recordRevision(revision)
	if !recorded {
		return fmt.Errorf("%s: %w: it is a Pod alone", key, datastore.ErrNotFound)
	}
	return v.o.Records.Delete(ctx, key, record)
}

func (v *views) writable(key v3.Key) error {
	switch {
	case key.Kind != v3.KindWorkloadEndpoint:
		return fmt.Errorf("%s: %w: it is made of a Kubernetes object: change that", key, datastore.ErrUnsupported)
	case v.o.Records == nil:
		return fmt.Errorf("%s: %w: only the agent of a node writes records of its pods' sandboxes", key, datastore.ErrUnsupported)
	}
	return nil
}
