package v3

import (
	"strconv"
	"strings"
)

// FieldError is one thing that is wrong with one field of an object, or worth a warning.
//
// +kubebuilder:object:generate=false
type FieldError struct {
	Object  string // as Key.String
	Field   string // "spec.ingress[0].source.nets[1]"; "" for the object as a whole
	Problem string
	Valid   string // what would be valid; "" where the problem says it
	// Warning: the object is accepted, and what the problem says was done to it.
	Warning bool
	// Element: one element of a list can't be read; the others, and the object, are not affected.
	Element bool
	File    string // "" where it did not come from a file
	Line    int    // 1-based; 0 where unknown
}

// Error is all of it in one line: "p.yaml:12: NetworkPolicy web-ns/a: spec.order: is text; valid: a number".
func (e FieldError) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File)
		if e.Line > 0 {
			b.WriteString(":" + strconv.Itoa(e.Line))
		}
		b.WriteString(": ")
	}
	for _, part := range []string{e.Object, e.Field} {
		if part != "" {
			b.WriteString(part + ": ")
		}
	}
	if e.Warning {
		b.WriteString("warning: ")
	}
	b.WriteString(e.Problem)
	if e.Valid != "" {
		b.WriteString("; valid: " + e.Valid)
	}
	return b.String()
}

// Failed tells whether any of the errors is more than a warning.
func Failed(errs []FieldError) bool {
	for i := range errs {
		if !errs[i].Warning {
			return true
		}
	}
	return false
}
