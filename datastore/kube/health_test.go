package kube

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

// TestAKindIsMissedOnce: one that is made of several resources is missed since the longest ago.
func TestAKindIsMissedOnce(t *testing.T) {
	at := func(s int64) time.Time { return time.Unix(s, 0) }
	got := outages([]SourceHealth{
		{Resource: "pods", Kinds: []v3.Kind{v3.KindWorkloadEndpoint}, Since: at(20), Err: "broken"},
		{Resource: "namespaces", Kinds: []v3.Kind{v3.KindProfile}, Since: at(5)},
		{Resource: "ipamblocks", Kinds: []v3.Kind{v3.KindIPAMBlock, v3.KindWorkloadEndpoint}, Since: at(10), Err: "gone"},
		{Resource: "ipamblocks", Kinds: []v3.Kind{v3.KindIPAMBlock}, Since: at(15), Err: "late"},
	})
	want := []datastore.Outage{
		{Kind: v3.KindWorkloadEndpoint, Since: at(10), Reason: "gone"}, {Kind: v3.KindIPAMBlock, Since: at(10), Reason: "gone"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
