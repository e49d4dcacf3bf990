package v3

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// fieldTypes are the JSON fields of a struct type, those of inlined structs among them.
func fieldTypes(t reflect.Type) map[string]reflect.Type {
	fields := map[string]reflect.Type{}
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-":
		case name == "" && f.Anonymous:
			maps.Copy(fields, fieldTypes(f.Type))
		default:
			fields[name] = f.Type
		}
	}
	return fields
}

func sortedKeys[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// suggest names the field that was probably meant, or all there are.
func suggest(path string, known map[string]reflect.Type) string {
	name := path[strings.LastIndexByte(path, '.')+1:]
	for candidate := range known {
		if strings.EqualFold(candidate, name) || strings.EqualFold(candidate, name+"s") || strings.EqualFold(candidate+"s", name) {
			return candidate
		}
	}
	return strings.Join(sortedKeys(known), ", ")
}

// typeName says what kind of JSON value v is.
func typeName(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case json.Number:
		return "a number"
	case string:
		return "a string"
	case []any:
		return "a list"
	}
	return "an object"
}

// wanted says what JSON value fits a Go type.
func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return wanted(t.Elem())
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Float64:
		return "a number"
	case reflect.Slice:
		return "a list"
	case reflect.Map, reflect.Struct:
		if t.Name() == "Time" {
			return "a time such as 2026-01-31T12:00:00Z"
		}
		return "an object"
	}
	if strings.HasPrefix(t.Kind().String(), "uint") {
		return fmt.Sprintf("a whole number from 0 to %d", uint64(1)<<t.Bits()-1)
	}
	return "a whole number"
}

// clip keeps what is quoted in an error short.
func clip(data []byte) string {
	if len(data) > 60 {
		return string(data[:60]) + "…"
	}
	return string(data)
}
