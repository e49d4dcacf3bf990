package dstest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

// Cluster is a Memory that treats metadata and status as an API server does: status is written apart, an object with finalizers stays until they
// are gone, and generation, creation and UID are the server's.
type Cluster struct{ *Memory }

var _ datastore.StatusStore = Cluster{}

// NewCluster makes an empty one.
func NewCluster() Cluster { return Cluster{NewMemory()} }

// Put stores an object of any kind, views too, whatever is there.
func (m *Memory) Put(o v3.Object) v3.Object {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.store(v3.KeyOf(o), o)
}

// Create implements datastore.Store.
func (c Cluster) Create(ctx context.Context, o v3.Object) (v3.Object, error) {
	o = o.Copy()
	if s := statusField(o); s.IsValid() {
		s.SetZero()
	}
	o.SetGeneration(1)
	o.SetCreationTimestamp(metav1.NewTime(time.Now().Truncate(time.Second)))
	o.SetUID(types.UID(fmt.Sprintf("%s-%d", v3.KeyOf(o), time.Now().UnixNano())))
	o.SetDeletionTimestamp(nil)
	return c.Memory.Create(ctx, o)
}

// statusField is that of an object, not valid where it has none.
func statusField(o v3.Object) reflect.Value { return reflect.ValueOf(o).Elem().FieldByName("Status") }

// Update implements datastore.Store.
func (c Cluster) Update(ctx context.Context, o v3.Object) (v3.Object, error) {
	if err := datastore.Storable(v3.KeyOf(o)); err != nil {
		return nil, err
	}
	return c.replace(ctx, o, func(there v3.Object) v3.Object {
		next := o.Copy()
		if s := statusField(next); s.IsValid() {
			s.Set(statusField(there.Copy()))
		}
		spec, before := reflect.ValueOf(next).Elem().FieldByName("Spec"), reflect.ValueOf(there).Elem().FieldByName("Spec")
		next.SetGeneration(there.GetGeneration())
		if spec.IsValid() && !reflect.DeepEqual(spec.Interface(), before.Interface()) {
			next.SetGeneration(there.GetGeneration() + 1)
		}
		next.SetCreationTimestamp(there.GetCreationTimestamp())
		next.SetUID(there.GetUID())
		next.SetDeletionTimestamp(there.GetDeletionTimestamp())
		return next
	})
}

// UpdateStatus implements datastore.StatusStore.
func (c Cluster) UpdateStatus(ctx context.Context, o v3.Object) (v3.Object, error) {
	if !statusField(o).IsValid() {
		return nil, fmt.Errorf("%s: status: %w", v3.KeyOf(o), datastore.ErrUnsupported)
	}
	return c.replace(ctx, o, func(there v3.Object) v3.Object {
		next := there.Copy()
		statusField(next).Set(statusField(o.Copy()))
		return next
	})
}

// replace makes one compare-and-swap of what is there, tried again where the caller does not care what is there.
func (c Cluster) replace(ctx context.Context, o v3.Object, make func(there v3.Object) v3.Object) (v3.Object, error) {
	key := v3.KeyOf(o)
	for {
		there, err := c.Memory.Get(ctx, key)
		if err != nil {
			return nil, err
		}
		if revision := o.GetResourceVersion(); revision != "" && revision != there.GetResourceVersion() {
			return nil, fmt.Errorf("%s: %w", key, datastore.ErrConflict)
		}
		next := make(there)
		next.SetResourceVersion(there.GetResourceVersion())
		if next.GetDeletionTimestamp() != nil && len(next.GetFinalizers()) == 0 {
			err = c.Memory.Delete(ctx, key, there.GetResourceVersion())
		} else {
			next, err = c.swap(ctx, next)
		}
		if !errors.Is(err, datastore.ErrConflict) || o.GetResourceVersion() != "" {
			return next, err
		}
	}
}

// swap is Memory.Update of an object of any kind, views too.
func (m *Memory) swap(ctx context.Context, o v3.Object) (v3.Object, error) {
	if err := m.lock(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	if err := m.current(v3.KeyOf(o), o.GetResourceVersion()); err != nil {
		return nil, err
	}
	return m.store(v3.KeyOf(o), o), nil
}

// Delete implements datastore.Store.
func (c Cluster) Delete(ctx context.Context, key v3.Key, revision string) error {
	for {
		there, err := c.Memory.Get(ctx, key)
		if err != nil {
			return err
		}
		if revision != "" && revision != there.GetResourceVersion() {
			return fmt.Errorf("%s: %w", key, datastore.ErrConflict)
		}
		switch {
		case len(there.GetFinalizers()) == 0:
			err = c.Memory.Delete(ctx, key, there.GetResourceVersion())
		case there.GetDeletionTimestamp() == nil:
			now := metav1.NewTime(time.Now().Truncate(time.Second))
			next := there.Copy()
			next.SetDeletionTimestamp(&now)
			_, err = c.swap(ctx, next)
		}
		if !errors.Is(err, datastore.ErrConflict) || revision != "" {
			return err
		}
	}
}
