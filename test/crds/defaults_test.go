package crds

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v3 "github.com/felid-net/felid/api/v3"
)

// stored is an object as the API server would keep it, and as felid reads what was written.
func stored(t *testing.T, admin *client, o *object) (kept, written v3.Object) {
	t.Helper()
	body := o.json()
	a := create(t, admin, o.kind, "corpus", body)
	if a.code == 409 {
		return nil, nil // a built-in tier, which another test has made
	}
	if a.code != 201 {
		t.Fatalf("%s: %s", body, a)
	}
	kept, errs := v3.DecodeJSON(o.kind, a.body, false)
	if len(errs) > 0 {
		t.Fatalf("%s: %v", a.body, errs)
	}
	written, errs = v3.DecodeJSON(o.kind, []byte(body), true)
	if len(errs) > 0 {
		t.Fatalf("%s: %v", body, errs)
	}
	for _, made := range []v3.Object{kept, written} {
		made.SetUID("")
		made.SetCreationTimestamp(metav1.Time{})
		made.SetManagedFields(nil)
		made.SetGeneration(0)
	}
	return kept, written
}

// What is read from the API server means what was written: its defaults are those of SetDefaults.
func TestDefaultsAreThoseOfTheAPI(t *testing.T) {
	admin := newClient(t, server(t).Config)
	n := 0
	for _, o := range corpus(t) {
		if !o.good {
			continue
		}
		kept, written := stored(t, admin, o)
		if kept == nil {
			continue
		}
		n++
		v3.SetDefaults(kept)
		v3.SetDefaults(written)
		if diff := cmp.Diff(written, kept); diff != "" {
			t.Errorf("%s\n%s (-written +kept):\n%s", o.about, o.json(), diff)
		}
	}
	if n < 150 {
		t.Errorf("only %d objects compared", n)
	}
}

// The API server fills in what is absent, but for what depends on another field: readers do that.
func TestDefaultsAreStored(t *testing.T) {
	admin := newClient(t, server(t).Config)
	for _, o := range []*object{
		newObject(v3.KindNetworkPolicy, "d", nil), newObject(v3.KindGlobalNetworkPolicy, "d", nil),
		newObject(v3.KindStagedNetworkPolicy, "d", nil), newObject(v3.KindStagedGlobalNetworkPolicy, "d", nil), newObject(v3.KindStagedKubernetesNetworkPolicy, "d", nil),
		newObject(v3.KindTier, "d", nil), newObject(v3.KindIPPool, "d", map[string]any{"cidr": "10.1.0.0/16"}), newObject(v3.KindIPPool, "d", map[string]any{"cidr": "fd00::/48"}),
		newObject(v3.KindIPAMConfiguration, "default", nil), newObject(v3.KindBlockAffinity, "d", map[string]any{"state": "pending", "node": "n1", "cidr": "10.1.0.0/26"}),
	} {
		kept, written := stored(t, admin, o)
		v3.SetDefaults(written)
		forgetDependent(written)
		if diff := cmp.Diff(written, kept); diff != "" {
			t.Errorf("%s (-want +kept):\n%s", o.json(), diff)
		}
	}
}

// forgetDependent takes the defaults out that depend on another field.
func forgetDependent(o v3.Object) {
	switch o := o.(type) {
	case *v3.NetworkPolicy:
		o.Spec.Types = nil
	case *v3.GlobalNetworkPolicy:
		o.Spec.Types = nil
	case *v3.StagedNetworkPolicy:
		o.Spec.Types = nil
	case *v3.StagedGlobalNetworkPolicy:
		o.Spec.Types = nil
	case *v3.IPPool:
		o.Spec.BlockSize = 0
	}
}
