package v3

import (
	"encoding/json"
	"fmt"
	"reflect"
)

// EncodeOver is the JSON of o, as Encode makes it, with those fields of the JSON that is stored now that this version does not know: a
// newer one may have written them. Fields inside of lists are o's alone (see Lacks).
func EncodeOver(o Object, stored []byte) ([]byte, error) {
	data, err := Encode(o)
	if err != nil {
		return nil, err
	}
	if _, whole := o.(*Unenforced); whole {
		return data, nil
	}
	ours, err := parseTree(data)
	if err != nil {
		return nil, fmt.Errorf("%s: encode: %w", KeyOf(o), err)
	}
	theirs, err := parseTree(stored)
	if err != nil {
		return nil, fmt.Errorf("%s: what is stored is not JSON: %w", KeyOf(o), err)
	}
	if !keepUnknown(ours, theirs, reflect.TypeOf(o).Elem()) {
		return data, nil
	}
	if data, err = json.Marshal(ours); err != nil {
		return nil, fmt.Errorf("%s: encode: %w", KeyOf(o), err)
	}
	return data, nil
}

// keepUnknown copies what the struct type t has no field for, and tells whether there was anything.
func keepUnknown(ours, theirs map[string]any, t reflect.Type) (kept bool) {
	known := fieldTypes(t)
	for name, value := range theirs {
		field, ok := known[name]
		if !ok {
			ours[name], kept = value, true
			continue
		}
		for field.Kind() == reflect.Pointer {
			field = field.Elem()
		}
		below, isObject := value.(map[string]any)
		if !isObject || field.Kind() != reflect.Struct || reflect.PointerTo(field).Implements(unmarshalerType) {
			continue
		}
		into, there := ours[name].(map[string]any)
		if !there {
			into = map[string]any{}
		}
		if keepUnknown(into, below, field) {
			ours[name], kept = into, true
		}
	}
	return kept
}
