package v3

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func FuzzReadDocuments(f *testing.F) {
	files, err := filepath.Glob("../../test/examples/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data))
	}
	f.Add(policyJSON)
	f.Add(wepJSON)
	f.Add("apiVersion: v1\nkind: List\nitems: [&a {apiVersion: projectcalico.org/v3, kind: Tier, metadata: {name: x}, '': *a}, 5]\n")
	f.Add("apiVersion: projectcalico.org/v3\nkind: Profile\nmetadata: {name: a}\nspec: {ingress: [7, {action: 5, x.y: 1}], egress: all}\n")
	f.Add("apiVersion: projectcalico.org/v3\nkind: HostEndpoint\nmetadata: {name: a, labels: {role: 5}}\nspec: {node: n, interfaceName: 7, expectedIPs: [8], ports: [{port: 70000}]}\n")
	f.Fuzz(func(t *testing.T, text string) {
		docs, _ := ReadDocuments("f", []byte(text))
		for _, d := range docs {
			if d.APIVersion == APIVersion {
				fuzzObject(t, d)
			}
		}
	})
}

// fuzzObject holds that strict is lenient and more, that what was decoded is encoded without loss, and that nothing panics.
func fuzzObject(t *testing.T, d Document) {
	strict, errs := d.Decode(true)
	if strict != nil && Failed(errs) || strict == nil && !Failed(errs) {
		t.Fatalf("object %v, errors %v", strict, errs)
	}
	o, _ := d.Decode(false)
	if o == nil {
		if strict != nil {
			t.Fatalf("%s: only strict decoding reads it", d.JSON)
		}
		return
	}
	Validate(o)
	data, err := Encode(o)
	if err != nil {
		t.Fatal(err)
	}
	again, errs := DecodeJSON(o.GetKind(), data, true)
	if again == nil {
		t.Fatalf("%s is not read back: %v", data, errs)
	}
	found := cmpopts.IgnoreFields(Rule{}, "Unknown", "Invalid")
	lost := cmpopts.IgnoreFields(HostEndpointSpec{}, "Invalid")
	if diff := cmp.Diff(o, again, cmpopts.EquateEmpty(), found, lost); diff != "" {
		t.Fatalf("%s is read back otherwise:\n%s", data, diff)
	}
	SetDefaults(o.Copy())
}
