package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

// clusterStatus is what is read and written of a ClusterNetworkPolicy's status.
type clusterStatus struct {
	Metadata struct {
		ResourceVersion string `json:"resourceVersion"`
	} `json:"metadata"`
	Status struct {
		Conditions []metav1.Condition `json:"conditions"`
	} `json:"status"`
}

// conditionsOf are the conditions of a policy; none where they can't be read.
func conditionsOf(raw []byte) []metav1.Condition {
	var o clusterStatus
	if json.Unmarshal(raw, &o) != nil {
		return nil
	}
	return o.Status.Conditions
}

// maxRaces bounds how often a status is written again because the object changed in between.
const maxRaces = 5

// UpdateStatus is datastore.StatusStore's: the conditions of a ClusterNetworkPolicy are written into the policy itself, where those of other types
// stay as they are.
func (v *views) UpdateStatus(ctx context.Context, o v3.Object) (v3.Object, error) {
	key := v3.KeyOf(o)
	policy, ok := o.(*v3.GlobalNetworkPolicy)
	if !ok || key.Kind != v3.KindClusterNetworkPolicy {
		return nil, fmt.Errorf("%s: %w: the Kubernetes object that it is made of has no conditions of its own", key, datastore.ErrUnsupported)
	}
	for race := 0; ; race++ {
		view, err := v.patchConditions(ctx, key, policy)
		if err == nil || !errors.Is(err, datastore.ErrConflict) || race == maxRaces || policy.ResourceVersion != "" {
			return view, err
		}
	}
}

func (v *views) patchConditions(ctx context.Context, key v3.Key, policy *v3.GlobalNetworkPolicy) (v3.Object, error) {
	raw, err := v.up.get(ctx, clusterPolicyResource, "", key.Name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	var change clusterStatus
	if err := json.Unmarshal(raw, &change); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", key, datastore.ErrInvalid, err)
	}
	if policy.ResourceVersion != "" && policy.ResourceVersion != change.Metadata.ResourceVersion {
		return nil, fmt.Errorf("%s: %w", key, datastore.ErrConflict)
	}
	change.Status.Conditions = withConditions(change.Status.Conditions, policy.Status.Conditions)
	patch, err := json.Marshal(&change)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", key, datastore.ErrInvalid, err)
	}
	if raw, err = v.up.patchStatus(ctx, clusterPolicyResource, "", key.Name, patch); err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	d := decodeClusterPolicy(raw)
	if d.err != nil {
		return nil, fmt.Errorf("%s: %w: %w", key, datastore.ErrInvalid, d.err)
	}
	return d.object, nil
}

// withConditions puts conditions in the place of those of the same type.
func withConditions(there, ours []metav1.Condition) []metav1.Condition {
	rest := slices.DeleteFunc(slices.Clone(there), func(c metav1.Condition) bool {
		return slices.ContainsFunc(ours, func(o metav1.Condition) bool { return o.Type == c.Type })
	})
	return append(rest, ours...)
}

// patchStatus implements upstream.
func (c *client) patchStatus(ctx context.Context, r *resource, namespace, name string, patch []byte) ([]byte, error) {
	return c.do(ctx, &call{verb: "patch", resource: r, namespace: namespace, name: name, sub: "status", body: patch})
}
