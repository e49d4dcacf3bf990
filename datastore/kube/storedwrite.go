package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

// create stores a new object.
func (s *stored) create(ctx context.Context, o v3.Object) (v3.Object, error) {
	k, err := s.writable(o)
	if err != nil {
		return nil, err
	}
	key := v3.KeyOf(o)
	o = o.Copy()
	o.SetResourceVersion("") // the server's to give, all of them
	o.SetUID("")
	o.SetGeneration(0)
	o.SetCreationTimestamp(metav1.Time{})
	o.SetManagedFields(nil)
	body, err := v3.Encode(o)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", datastore.ErrInvalid, err)
	}
	return s.send(ctx, key, &call{verb: "create", resource: k.resource, body: body}, k)
}

// send makes a write and reads the object that it answers with.
func (s *stored) send(ctx context.Context, key v3.Key, c *call, k *storedKind) (v3.Object, error) {
	c.namespace, c.name = key.Namespace, key.Name
	raw, err := s.api.do(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return k.read(key, raw)
}

// writable says why an object can't be written, if it can't.
func (s *stored) writable(o v3.Object) (*storedKind, error) {
	key := v3.KeyOf(o)
	if err := datastore.Storable(key); err != nil {
		return nil, err
	}
	if lacks := v3.Lacks(o); lacks != "" { // an Allow would be written without what narrows it
		return nil, fmt.Errorf("%s: %w: %s, which would be lost: mend it first", key, datastore.ErrInvalid, lacks)
	}
	return s.kind(key.Kind)
}

// machineKinds are written often, by programs alone: an update of one is one call, unless there is something to lose.
var machineKinds = map[v3.Kind]bool{v3.KindIPAMBlock: true, v3.KindBlockAffinity: true, v3.KindIPAMHandle: true}

// update replaces an object, its status excepted. What this version does not know of the stored one, and kubectl's annotation that lists
// leave out, stay: for that the stored one is read first, in the same revision.
func (s *stored) update(ctx context.Context, o v3.Object) (v3.Object, error) {
	k, err := s.writable(o)
	if err != nil {
		return nil, err
	}
	key := v3.KeyOf(o)
	if o.GetResourceVersion() != "" && machineKinds[key.Kind] && !k.isLossy(key) {
		body, err := v3.Encode(withoutManaged(o))
		if err != nil {
			return nil, fmt.Errorf("%w: %w", datastore.ErrInvalid, err)
		}
		return s.send(ctx, key, &call{verb: "update", resource: k.resource, body: body}, k)
	}
	for {
		updated, err := s.updateOver(ctx, k, key, o)
		if o.GetResourceVersion() != "" || !errors.Is(err, datastore.ErrConflict) {
			return updated, err
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%s: %w", key, ctx.Err())
		}
	}
}

// updateOver replaces the object as it is stored now; if o has a revision it must be that one's.
func (s *stored) updateOver(ctx context.Context, k *storedKind, key v3.Key, o v3.Object) (v3.Object, error) {
	current, err := s.api.get(ctx, k.resource, key.Namespace, key.Name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	var head struct {
		Metadata metav1.ObjectMeta `json:"metadata"`
	}
	if err := json.Unmarshal(current, &head); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", key, datastore.ErrInvalid, err)
	}
	if revision := o.GetResourceVersion(); revision != "" && revision != head.Metadata.ResourceVersion {
		return nil, fmt.Errorf("%s: %w", key, datastore.ErrConflict)
	}
	body, err := v3.EncodeOver(over(o, &head.Metadata), current)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", datastore.ErrInvalid, err)
	}
	return s.send(ctx, key, &call{verb: "update", resource: k.resource, body: body}, k)
}

// over is o as it is to be written over the object of this metadata.
func over(o v3.Object, current *metav1.ObjectMeta) v3.Object {
	o = o.Copy()
	o.SetResourceVersion(current.ResourceVersion)
	o.SetManagedFields(nil) // left to the server
	if applied, ok := current.Annotations[lastApplied]; ok && o.GetAnnotations()[lastApplied] == "" {
		annotations := maps.Clone(o.GetAnnotations())
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[lastApplied] = applied
		o.SetAnnotations(annotations)
	}
	return o
}

func withoutManaged(o v3.Object) v3.Object {
	if o.GetManagedFields() != nil {
		o = o.Copy()
		o.SetManagedFields(nil)
	}
	return o
}

func (k *storedKind) isLossy(key v3.Key) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.lossy[key]
}

// updateStatus replaces the status alone.
func (s *stored) updateStatus(ctx context.Context, o v3.Object) (v3.Object, error) {
	key := v3.KeyOf(o)
	k, err := s.kind(key.Kind)
	if err != nil {
		return nil, err
	}
	status, ok := statusIn(o)
	if !ok {
		return nil, fmt.Errorf("%s: its status: %w: the kind has none", key, datastore.ErrUnsupported)
	}
	for {
		at := o
		if o.GetResourceVersion() == "" {
			if at, err = s.get(ctx, key); err != nil {
				return nil, err
			}
		}
		updated, err := s.sendStatus(ctx, k, at, status)
		if o.GetResourceVersion() != "" || !errors.Is(err, datastore.ErrConflict) {
			return updated, err
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%s: %w", key, ctx.Err())
		}
	}
}

// sendStatus writes the status of the object with at's name and revision.
func (s *stored) sendStatus(ctx context.Context, k *storedKind, at v3.Object, status any) (v3.Object, error) {
	key := v3.KeyOf(at)
	meta := map[string]any{"name": key.Name, "resourceVersion": at.GetResourceVersion()}
	if key.Namespace != "" {
		meta["namespace"] = key.Namespace
	}
	if at.GetUID() != "" {
		meta["uid"] = at.GetUID()
	}
	body, err := json.Marshal(map[string]any{"apiVersion": v3.APIVersion, "kind": key.Kind, "metadata": meta, "status": status})
	if err != nil {
		return nil, fmt.Errorf("%s: its status: %w: %w", key, datastore.ErrInvalid, err)
	}
	return s.send(ctx, key, &call{verb: "update", resource: k.resource, sub: "status", body: body}, k)
}

// statusIn is the field Status of a resource.
func statusIn(o v3.Object) (status any, ok bool) {
	field := reflect.ValueOf(o).Elem().FieldByName("Status")
	if !field.IsValid() {
		return nil, false
	}
	return field.Interface(), true
}

// remove deletes an object; if revision is not empty it must be current.
func (s *stored) remove(ctx context.Context, key v3.Key, revision string) error {
	k, err := s.kind(key.Kind)
	if err != nil {
		return err
	}
	options := metav1.DeleteOptions{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "DeleteOptions"}}
	if revision != "" {
		options.Preconditions = &metav1.Preconditions{ResourceVersion: &revision}
	}
	body, err := json.Marshal(options)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	if _, err = s.api.do(ctx, &call{verb: "delete", resource: k.resource, namespace: key.Namespace, name: key.Name, body: body}); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}
