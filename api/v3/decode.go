package v3

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kjson "sigs.k8s.io/json"
)

// DecodeJSON reads an object whose kind is known. Field names are matched exactly. It does not default, and does not validate beyond
// what the types say.
//
// Strict (people's input): an unknown field, a field given twice or a value of the wrong type is an error; all of them are returned,
// and no object if there is one.
//
// Not strict (agents): the object comes back wherever it can be judged, beside errors that name what was left out. Fields that are
// unknown are ignored; those of a rule are named in Rule.Unknown too. A rule with a value of the wrong type says so in Rule.Invalid. An element of a list
// of texts that is none is kept as its JSON text. Only an object without such parts that can't be read is nil, with the reasons.
func DecodeJSON(kind Kind, data []byte, strict bool) (Object, []FieldError) {
	o, ok := newObject(kind)
	if !ok {
		return nil, []FieldError{{Object: string(kind), Field: "kind", Problem: "unknown kind", Valid: "a kind of " + APIVersion}}
	}
	var faults []error
	var err error
	if !decodeQuickly(data, o) {
		o, _ = newObject(kind)
		faults, err = kjson.UnmarshalStrict(data, o)
	}
	if err == nil && len(faults) == 0 {
		if errs := checkType(kind, o); errs != nil {
			return nil, errs
		}
		return o, nil
	}
	return decodeSlowly(kind, data, faults, strict)
}

// newObject is New, and an Unenforced for kinds that are known by name alone.
func newObject(kind Kind) (Object, bool) {
	if o, ok := New(kind); ok {
		typeMeta(o).Kind = ""
		return o, true
	}
	if _, ok := InfoOf(kind); ok {
		return &Unenforced{}, true
	}
	return nil, false
}

// typeMeta is the part of o that says apiVersion and kind.
func typeMeta(o Object) *metav1.TypeMeta {
	return o.(interface{ typeMeta() *metav1.TypeMeta }).typeMeta()
}

// checkType compares apiVersion and kind with what is expected; absent ones are filled in.
func checkType(kind Kind, o Object) []FieldError {
	meta := typeMeta(o)
	var errs []FieldError
	if meta.APIVersion != "" && meta.APIVersion != APIVersion {
		errs = append(errs, FieldError{Field: "apiVersion", Problem: fmt.Sprintf("is %q", meta.APIVersion), Valid: APIVersion})
	}
	if meta.Kind != "" && meta.Kind != string(kind) {
		errs = append(errs, FieldError{Field: "kind", Problem: fmt.Sprintf("is %q", meta.Kind), Valid: string(kind)})
	}
	*meta = metav1.TypeMeta{APIVersion: APIVersion, Kind: string(kind)}
	if errs == nil {
		return nil
	}
	return named(errs, KeyOf(o))
}

func named(errs []FieldError, key Key) []FieldError {
	for i := range errs {
		errs[i].Object = key.String()
	}
	return errs
}

// decodeSlowly finds all that is wrong, and saves what can be saved.
func decodeSlowly(kind Kind, data []byte, faults []error, strict bool) (Object, []FieldError) {
	tree, err := parseTree(data)
	if err != nil {
		return nil, []FieldError{{Object: string(kind), Problem: "is not JSON: " + err.Error()}}
	}
	o, _ := newObject(kind)
	r := repair{ruleFaults: map[string]*ruleFault{}}
	if kind == KindHostEndpoint {
		r.host = &HostEndpointSpec{}
	}
	tree = r.walk(tree, reflect.TypeOf(o).Elem(), "")
	r.duplicates(faults)
	if err := decodeTree(tree, o); err != nil {
		r.fatal("", "can't be read: "+err.Error(), "")
		return nil, named(r.errs, Key{Kind: kind})
	}
	wrongType := checkType(kind, o)
	errs := named(append(r.errs, wrongType...), KeyOf(o))
	if kind == KindStagedKubernetesNetworkPolicy && len(r.ruleFaults) > 0 {
		r.hopeless = true // its rules have no place to say that they lack something
	}
	if strict || r.hopeless || wrongType != nil {
		return nil, errs
	}
	r.mark(o)
	return o, errs
}

func parseTree(data []byte) (map[string]any, error) {
	var tree any
	dec := json.NewDecoder(strings.NewReader(string(data)))
	dec.UseNumber()
	if err := dec.Decode(&tree); err != nil {
		return nil, err
	}
	if dec.More() {
		return nil, fmt.Errorf("more than one value")
	}
	object, ok := tree.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%s instead of an object", typeName(tree))
	}
	return object, nil
}

func decodeTree(tree any, o Object) error {
	data, err := json.Marshal(tree)
	if err != nil {
		return err
	}
	return kjson.UnmarshalCaseSensitivePreserveInts(data, o)
}

// Encode is the JSON of o, as a datastore keeps it: apiVersion and kind are always there.
func Encode(o Object) ([]byte, error) {
	want := metav1.TypeMeta{APIVersion: APIVersion, Kind: string(o.GetKind())}
	if *typeMeta(o) != want {
		o = o.Copy()
		*typeMeta(o) = want
	}
	data, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("%s: encode: %w", KeyOf(o), err)
	}
	return data, nil
}

// Lacks says what of a decoded object could not be read, or is not known, and would be lost if the object was written; "" for nothing.
func Lacks(o Object) string {
	if h, ok := o.(*HostEndpoint); ok {
		return h.Spec.Invalid
	}
	ingress, egress := rulesOf(o)
	for _, r := range slices.Concat(ingress, egress) {
		switch {
		case r.Invalid != "":
			return r.Invalid
		case len(r.Unknown) > 0:
			return "the field " + r.Unknown[0] + " of a rule is unknown"
		}
	}
	return ""
}
