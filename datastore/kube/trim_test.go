package kube

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTrim(t *testing.T) {
	applied := `"` + lastApplied + `":"{\"metadata\":{\"managedFields\":[]}}"`
	tests := []struct{ in, want string }{
		{`{"metadata":{"managedFields":[{"a":"}"}],"name":"x"}}`, `{"metadata":{"name":"x"}}`},
		{`{"metadata":{"name":"x","managedFields":[{"a":["\""]}]}}`, `{"metadata":{"name":"x"}}`},
		{`{"metadata":{"managedFields":[]}}`, `{"metadata":{}}`},
		{`{"metadata":{"annotations":{` + applied + `},"managedFields":null,"name":"x"},"spec":{}}`, `{"metadata":{"annotations":{},"name":"x"},"spec":{}}`},
		{`{"metadata":{"name":"x","annotations":{"a":"b",` + applied + `},"managedFields":[]}}`, `{"metadata":{"name":"x","annotations":{"a":"b"}}}`},
		{` { "spec" : { "managedFields" : 1 } , "metadata" : { "name" : "x" , "managedFields" : 2 } } `, `{"spec":{"managedFields":1},"metadata":{"name":"x"}}`},
		{`{"metadata":"text"}`, `{"metadata":"text"}`},
		{`[1,2]`, `[1,2]`},
	}
	for _, test := range tests {
		var got, want any
		out := trim([]byte(test.in))
		if err := json.Unmarshal(out, &got); err != nil {
			t.Errorf("%s: %s is no JSON: %v", test.in, out, err)
			continue
		}
		if err := json.Unmarshal([]byte(test.want), &want); err != nil {
			t.Fatal(err)
		}
		if !cmp.Equal(got, want) {
			t.Errorf("%s: got %s, want %s", test.in, out, test.want)
		}
	}
}

func TestMetaOf(t *testing.T) {
	namespace, name, revision := metaOf([]byte(`{"spec":{"resourceVersion":"1"},"metadata":{"labels":{"name":"no"},"namespace":"a","name":"b\u002dc","resourceVersion":"17"}}`))
	if namespace != "a" || name != "b-c" || revision != "17" {
		t.Errorf("got %q, %q, %q", namespace, name, revision)
	}
	if namespace, name, revision = metaOf([]byte(`{"metadata":{"name":3}`)); namespace+name+revision != "" {
		t.Errorf("of no JSON: %q, %q, %q", namespace, name, revision)
	}
}

// FuzzTrim holds trim and metaOf against encoding/json: an object without the parts that are cut is what it was.
func FuzzTrim(f *testing.F) {
	for _, seed := range []string{
		`{"metadata":{"managedFields":[{"a":"}"}],"name":"x"}}`, `{"metadata":{"annotations":{"a":"b","` + lastApplied + `":"{}"}},"x":[1,-2.5e3,true,null]}`,
		`{}`, `{"metadata":{}}`, `{"a":{"metadata":{"managedFields":1}}}`, `{"metadata":{"managedFields":1},"metadata":{"name":"2","managedFields":[]}}`, `{"metadata":{"name":"\"`, `{"a"`, `[`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var want map[string]any
		valid := json.Unmarshal(in, &want) == nil
		namespace, name, revision := metaOf(in)
		out := trim([]byte(string(in)))
		if len(out) != len(in) {
			t.Fatalf("%d bytes became %d", len(in), len(out))
		}
		if !valid || strings.Contains(string(in), `\`) || strings.Count(string(in), "metadata") > 1 || strings.Count(string(in), "annotations") > 1 {
			return // names are compared as they are written, and in an object that gives one twice each is trimmed
		}
		var got map[string]any
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatalf("%s became %s: %v", in, out, err)
		}
		meta, _ := want["metadata"].(map[string]any)
		delete(meta, "managedFields")
		if annotations, ok := meta["annotations"].(map[string]any); ok {
			delete(annotations, lastApplied)
		}
		if !cmp.Equal(got, want) {
			t.Fatalf("%s became %s", in, out)
		}
		for key, got := range map[string]string{"namespace": namespace, "name": name, "resourceVersion": revision} {
			if want, ok := meta[key].(string); ok && strings.Count(string(in), `"`+key+`"`) == 1 && got != want && !strings.ContainsRune(want, '\uFFFD') {
				t.Fatalf("%s: %s is %q, want %q", in, key, got, want)
			}
		}
	})
}
