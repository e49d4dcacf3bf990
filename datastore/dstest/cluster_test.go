package dstest

import (
	"errors"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

func TestCluster(t *testing.T) {
	RunConformance(t, func(*testing.T) datastore.Store { return NewCluster() })
}

func TestClusterKeepsStatusApart(t *testing.T) {
	c := NewCluster()
	o := tier("a", 1)
	o.Status.Policies = 7
	created := mustCreate(t, c, o).(*v3.Tier)
	if created.Status.Policies != 0 || created.Generation != 1 {
		t.Errorf("created %+v, generation %d; want no status, and 1", created.Status, created.Generation)
	}
	created = created.DeepCopy()
	created.Status.Policies, created.Spec.Order = 3, new(float64(9))
	told, err := c.UpdateStatus(t.Context(), created)
	if err != nil || told.(*v3.Tier).Status.Policies != 3 || *told.(*v3.Tier).Spec.Order != 1 || told.GetGeneration() != 1 {
		t.Errorf("%+v, %v; want the status alone changed", told, err)
	}
	if _, err := c.UpdateStatus(t.Context(), created); !errors.Is(err, datastore.ErrConflict) {
		t.Errorf("%v; want ErrConflict", err)
	}
	changed := told.Copy().(*v3.Tier)
	changed.Spec.Order, changed.Status.Policies = new(float64(9)), 0
	updated, err := c.Update(t.Context(), changed)
	if err != nil || updated.(*v3.Tier).Status.Policies != 3 || updated.GetGeneration() != 2 {
		t.Errorf("%+v, %v; want the status left, and generation 2", updated, err)
	}
}

func TestClusterHoldsWhatHasFinalizers(t *testing.T) {
	c := NewCluster()
	o := tier("a", 1)
	o.Finalizers = []string{"example.com/held"}
	mustCreate(t, c, o)
	if err := c.Delete(t.Context(), v3.KeyOf(o), ""); err != nil {
		t.Fatal(err)
	}
	held, err := c.Get(t.Context(), v3.KeyOf(o))
	if err != nil || held.GetDeletionTimestamp() == nil {
		t.Fatalf("%v, %v; want it there, being deleted", held, err)
	}
	released := held.Copy()
	released.SetFinalizers(nil)
	released.SetDeletionTimestamp(&metav1.Time{})
	if _, err := c.Update(t.Context(), released); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Get(t.Context(), v3.KeyOf(o)); !errors.Is(err, datastore.ErrNotFound) {
		t.Errorf("%v; want it gone", err)
	}
}
