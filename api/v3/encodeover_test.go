package v3

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEncodeOver(t *testing.T) {
	tests := []struct{ name, stored, want string }{
		{"nothing unknown", `{"metadata":{"name":"a","labels":{"gone":"x"}},"spec":{"order":1,"defaultAction":"Pass"}}`, `{"order":2}`},
		{"unknown in spec", `{"spec":{"order":1,"future":{"x":[1,2.50]}}}`, `{"order":2,"future":{"x":[1,2.50]}}`},
		{"a known field of another type", `{"spec":{"order":"first"}}`, `{"order":2}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o := &Tier{}
			o.Name = "a"
			o.Spec.Order = new(2.0)
			data, err := EncodeOver(o, []byte(test.stored))
			if err != nil {
				t.Fatal(err)
			}
			var got struct {
				Metadata map[string]any
				Spec     json.RawMessage
			}
			if err := json.Unmarshal(data, &got); err != nil {
				t.Fatal(err)
			}
			if !equalJSON(t, got.Spec, test.want) || got.Metadata["name"] != "a" || got.Metadata["labels"] != nil {
				t.Errorf("got %s, want the spec %s and no labels", data, test.want)
			}
		})
	}
	o := &NetworkSet{}
	o.Namespace, o.Name = "ns", "a"
	data, err := EncodeOver(o, []byte(`{"metadata":{"future":1},"future":true,"spec":{"later":"x"}}`))
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	meta, _ := got["metadata"].(map[string]any)
	if got["future"] != true || meta["future"] != 1.0 || meta["name"] != "a" || !cmp.Equal(got["spec"], map[string]any{"later": "x"}) {
		t.Errorf("got %s", data)
	}
	if _, err := EncodeOver(o, []byte(`[]`)); err == nil {
		t.Error("stored JSON that is no object gave no error")
	}
}

func equalJSON(t *testing.T, got []byte, want string) bool {
	t.Helper()
	var a, b any
	if err := json.Unmarshal(got, &a); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(want), &b); err != nil {
		t.Fatal(err)
	}
	return cmp.Equal(a, b)
}
