package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/felid-net/felid/datastore"
)

// leases are the records of coordination.k8s.io by which controllers of Kubernetes elect.
var leases = &resource{group: "coordination.k8s.io", version: "v1", plural: "leases", kind: "Lease", namespaced: true}

// lease is one of them. (client-go's own election imports the clientset, whose scheme every agent would carry.)
type lease struct {
	client          *client
	namespace, name string
}

// Lease is the lease of a name, which need not exist, unlike its namespace.
func (s *Store) Lease(namespace, name string) datastore.LeaseStore {
	return &lease{s.client, namespace, name}
}

// ReadLease implements datastore.LeaseStore.
func (l *lease) ReadLease(ctx context.Context) (datastore.Lease, error) {
	raw, err := l.client.get(ctx, leases, l.namespace, l.name)
	return readLease(raw, err)
}

// WriteLease implements datastore.LeaseStore.
func (l *lease) WriteLease(ctx context.Context, to datastore.Lease) (datastore.Lease, error) {
	body, err := json.Marshal(leaseObject(to, l.namespace, l.name))
	if err != nil {
		return datastore.Lease{}, fmt.Errorf("lease %s/%s: %w: %w", l.namespace, l.name, datastore.ErrInvalid, err)
	}
	verb := "update"
	if to.Revision == "" {
		verb = "create"
	}
	raw, err := l.client.do(ctx, &call{verb: verb, resource: leases, namespace: l.namespace, name: l.name, body: body})
	if errors.Is(err, datastore.ErrExists) {
		err = fmt.Errorf("%w: %w", datastore.ErrConflict, err)
	}
	return readLease(raw, err)
}

func readLease(raw []byte, err error) (datastore.Lease, error) {
	if err != nil {
		return datastore.Lease{}, err
	}
	var o coordinationv1.Lease
	if err := json.Unmarshal(raw, &o); err != nil {
		return datastore.Lease{}, fmt.Errorf("reading a lease: %w: %w", datastore.ErrUnreachable, err)
	}
	from, spec := datastore.Lease{Revision: o.ResourceVersion}, &o.Spec
	if spec.HolderIdentity != nil {
		from.Holder = *spec.HolderIdentity
	}
	if spec.LeaseDurationSeconds != nil {
		from.Duration = time.Duration(*spec.LeaseDurationSeconds) * time.Second
	}
	if spec.LeaseTransitions != nil {
		from.Transitions = int(*spec.LeaseTransitions)
	}
	if spec.AcquireTime != nil {
		from.Acquired = spec.AcquireTime.Time
	}
	if spec.RenewTime != nil {
		from.Renewed = spec.RenewTime.Time
	}
	return from, nil
}

func leaseObject(to datastore.Lease, namespace, name string) *coordinationv1.Lease {
	seconds, transitions := int32(to.Duration/time.Second), int32(to.Transitions)
	acquired, renewed := metav1.NewMicroTime(to.Acquired), metav1.NewMicroTime(to.Renewed)
	return &coordinationv1.Lease{
		TypeMeta:   metav1.TypeMeta{APIVersion: coordinationv1.SchemeGroupVersion.String(), Kind: leases.kind},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, ResourceVersion: to.Revision},
		Spec: coordinationv1.LeaseSpec{
			HolderIdentity: &to.Holder, LeaseDurationSeconds: &seconds, LeaseTransitions: &transitions, AcquireTime: &acquired, RenewTime: &renewed,
		},
	}
}
