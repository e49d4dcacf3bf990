package datastore

import (
	"strconv"
	"strings"
)

// String is the fault in one line: "policies.yaml:12: NetworkPolicy web-ns/allow-db: ...".
func (f Fault) String() string {
	var b strings.Builder
	if f.File != "" {
		b.WriteString(f.File)
		if f.Line > 0 {
			b.WriteString(":" + strconv.Itoa(f.Line))
		}
		b.WriteString(": ")
	}
	if f.Key.Name != "" {
		b.WriteString(f.Key.String() + ": ")
	}
	if f.Err != nil {
		b.WriteString(f.Err.Error())
	}
	return b.String()
}
