package dstest

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

// testStatus is for back ends that write status apart; the others keep it as a part of the object.
func testStatus(t *testing.T, s datastore.Store) {
	apart, ok := s.(datastore.StatusStore)
	if !ok {
		created := mustCreate(t, s, withReason(tier("a", 1), "First"))
		wantReason(t, created, "First")
		return
	}
	ctx := t.Context()
	created := mustCreate(t, s, withReason(tier("a", 1), "Lost"))
	wantReason(t, created, "")
	told := withReason(created, "First")
	told.Spec.Order = nil // is not what is written
	first, err := apart.UpdateStatus(ctx, told)
	if err != nil {
		t.Fatal(err)
	}
	wantReason(t, first, "First")
	if diff := cmp.Diff(created.(*v3.Tier).Spec, first.(*v3.Tier).Spec); diff != "" {
		t.Errorf("UpdateStatus changed the spec:\n%s", diff)
	}
	_, err = apart.UpdateStatus(ctx, withReason(created, "Late"))
	wantError(t, "UpdateStatus with an old revision", err, datastore.ErrConflict)
	changed := withReason(first, "Ignored")
	changed.Spec.DefaultAction = v3.Pass
	second, err := s.Update(ctx, changed)
	if err != nil {
		t.Fatal(err)
	}
	wantReason(t, second, "First")
	whatever := withReason(first, "Second")
	whatever.ResourceVersion = ""
	third, err := apart.UpdateStatus(ctx, whatever)
	if err != nil {
		t.Fatal(err)
	}
	wantReason(t, third, "Second")
	if third.(*v3.Tier).Spec.DefaultAction != v3.Pass {
		t.Error("UpdateStatus without a revision changed the spec")
	}
	_, err = apart.UpdateStatus(ctx, tier("not-there", 1))
	wantError(t, "UpdateStatus of what is not there", err, datastore.ErrNotFound)
	reservation := &v3.IPReservation{}
	reservation.Name = "a"
	_, err = apart.UpdateStatus(ctx, mustCreate(t, s, reservation))
	wantError(t, "UpdateStatus of a kind without status", err, datastore.ErrUnsupported)
}

// withReason is a tier with one condition.
func withReason(o v3.Object, reason string) *v3.Tier {
	changed := o.Copy().(*v3.Tier)
	changed.Status.Conditions = []metav1.Condition{{
		Type: "Accepted", Status: metav1.ConditionTrue, Reason: reason, LastTransitionTime: metav1.Unix(1_800_000_000, 0),
	}}
	return changed
}

func wantReason(t *testing.T, o v3.Object, want string) {
	t.Helper()
	got := ""
	for _, c := range o.(*v3.Tier).Status.Conditions {
		got += c.Reason
	}
	if got != want {
		t.Errorf("%s at revision %s has the status %q, want %q", v3.KeyOf(o), o.GetResourceVersion(), got, want)
	}
}
