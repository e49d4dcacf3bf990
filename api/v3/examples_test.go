package v3

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// elsewhere are the documents of the examples that are of other groups: package policy/kube decodes them.
var elsewhere = map[string]string{"02-namespace-dmz.yaml": "v1 Namespace", "03-k8s-network-policy.yaml": "networking.k8s.io/v1 NetworkPolicy"}

func TestExamplesAreAcceptedAsWritten(t *testing.T) {
	files, err := filepath.Glob("../../test/examples/*.yaml")
	if err != nil || len(files) != 13 {
		t.Fatalf("13 examples expected, got %v, %v", files, err)
	}
	warnings := map[string][]string{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		docs, errs := ReadDocuments(file, data)
		if len(docs) == 0 || len(errs) > 0 {
			t.Errorf("%s: %d documents, errors %v", file, len(docs), errs)
		}
		for _, d := range docs {
			acceptExample(t, d, warnings)
		}
	}
	want := map[string][]string{"07-np-egress-cidr.yaml": {
		"../../test/examples/07-np-egress-cidr.yaml:13: NetworkPolicy production/allow-egress-external: spec.egress[0].destination.nets[0]: " +
			"warning: 1.2.3.4/24 has host bits: it counts as 1.2.3.0/24"}}
	if diff := cmp.Diff(want, warnings); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}

func acceptExample(t *testing.T, d Document, warnings map[string][]string) {
	t.Helper()
	name := filepath.Base(d.File)
	if d.APIVersion != APIVersion {
		if got := d.APIVersion + " " + d.Kind; got != elsewhere[name] {
			t.Errorf("%s: %s is for nobody", d.File, got)
		}
		return
	}
	o, errs := d.Decode(true)
	if o == nil || len(errs) > 0 {
		t.Fatalf("%s: %v", d.File, errs)
	}
	errs = Validate(o)
	d.Locate(errs)
	for _, e := range errs {
		warnings[name] = append(warnings[name], e.Error())
	}
	if Failed(errs) {
		t.Errorf("%s is refused: %v", d.File, errs)
	}
	SetDefaults(o)
	if errs := Validate(o); Failed(errs) {
		t.Errorf("%s is refused once defaulted: %v", d.File, errs)
	}
	roundTrip(t, o)
}

// roundTrip holds that encoding loses nothing.
func roundTrip(t *testing.T, o Object) {
	t.Helper()
	data, err := Encode(o)
	if err != nil {
		t.Fatal(err)
	}
	again, errs := DecodeJSON(o.GetKind(), data, true)
	if len(errs) > 0 {
		t.Fatalf("%s is not read back: %v", data, errs)
	}
	if diff := cmp.Diff(o, again); diff != "" {
		t.Errorf("%s is read back otherwise (-want +got):\n%s", KeyOf(o), diff)
	}
}
