package local

import (
	"errors"
	"strings"
	"testing"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

// TestWhatCantBeReadIsNotWrittenWithoutIt: an Allow that lost what narrows it would allow more, a host endpoint without its labels would be another's.
func TestWhatCantBeReadIsNotWrittenWithoutIt(t *testing.T) {
	const head = "apiVersion: projectcalico.org/v3\nmetadata: {name: x}\n"
	for text, lost := range map[string]string{
		head + "kind: GlobalNetworkPolicy\nspec: {ingress: [{action: Allow, source: {nets: 5}}]}\n":                                  "spec.ingress[0].source.nets",
		head + "kind: GlobalNetworkPolicy\nspec: {types: [Egress], egress: [{action: Allow}, {action: Allow, mood: good}]}\n":        "mood",
		head + "kind: Profile\nspec: {egress: [7]}\n":                                                                                "spec.egress[0]",
		strings.Replace(head, "name: x", "name: x, labels: {a: 5}", 1) + "kind: HostEndpoint\nspec: {node: one, interfaceName: e}\n": "metadata.labels.a",
	} {
		dir := t.TempDir()
		path := write(t, dir, "x.yaml", text)
		s := openStore(t, dir)
		var old v3.Object
		for _, kind := range []v3.Kind{v3.KindGlobalNetworkPolicy, v3.KindProfile, v3.KindHostEndpoint} {
			if o, err := s.Get(t.Context(), v3.Key{Kind: kind, Name: "x"}); err == nil {
				old = o
			}
		}
		if old == nil {
			t.Fatalf("there is no object of\n%s", text)
		}
		o := old.Copy()
		o.SetLabels(map[string]string{"new": "y"})
		if _, err := s.Update(t.Context(), o); !errors.Is(err, datastore.ErrInvalid) || !strings.Contains(err.Error(), lost) {
			t.Errorf("Update says %v, want ErrInvalid that names %s", err, lost)
		}
		if got := string(readFile(t, path)); got != text {
			t.Errorf("the file is now\n%s\nwant\n%s", got, text)
		}
	}
}
