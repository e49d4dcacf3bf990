package cli

import (
	"cmp"
	"fmt"
	"slices"
	"testing"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane/dptest"
	"github.com/felid-net/felid/dataplane/flatten"
)

// TestShadowedIsTrue deletes what is said to be shadowed: nothing opens or closes.
func TestShadowedIsTrue(t *testing.T) {
	found := 0
	for seed := range uint64(150) {
		objects := dptest.Random(seed).Objects
		state, _ := resolve(objects)
		for _, f := range shadowed(&cluster{objects: objects, state: state}) {
			if f.key.Kind == v3.KindClusterNetworkPolicy {
				continue // the field is that of the object as it was written, which is not among the objects
			}
			found++
			changed := slices.Clone(objects)
			for i, o := range changed {
				if v3.KeyOf(o) == f.key {
					changed[i] = without(t, o, f.Field)
				}
			}
			now, _ := resolve(changed)
			if d := flatten.Diff(state, now); len(d.Opens)+len(d.Closes) > 0 {
				t.Errorf("seed %d: %s %s is said to be shadowed, but without it: %+v", seed, f.Object, f.Field, newDiffAnswer(d))
			}
		}
	}
	if found < 20 {
		t.Errorf("%d rules were shadowed: too few to mean anything", found)
	}
}

// without is a policy less one rule as it was written, which may be several here; its types stay.
func without(t *testing.T, o v3.Object, field string) v3.Object {
	o = o.Copy()
	spec := policySpec(o)
	spec.Types = slices.Clone(spec.EffectiveTypes())
	for _, rules := range []struct {
		name string
		of   *[]v3.Rule
	}{{"ingress", &spec.Ingress}, {"egress", &spec.Egress}} {
		kept := make([]v3.Rule, 0, len(*rules.of))
		for i, r := range *rules.of {
			if fmt.Sprintf("spec.%s[%d]", rules.name, cmp.Or(r.Written, i+1)-1) != field {
				kept = append(kept, r)
			}
		}
		if len(kept) < len(*rules.of) {
			*rules.of = kept
			return o
		}
	}
	t.Fatalf("no rule %s", field)
	return nil
}
