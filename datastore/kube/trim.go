package kube

import (
	"bytes"
	"encoding/json"
)

// lastApplied is the annotation in which kubectl keeps what was applied, which is the object once more.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// trim blanks out, in place, what of an object's JSON no view of it needs: metadata.managedFields, and the annotation lastApplied. JSON
// that is none is left as it is.
func trim(raw []byte) []byte {
	members(raw, func(name, value []byte, at span) {
		if string(name) != "metadata" {
			return
		}
		members(value, func(name, value []byte, at span) {
			switch string(name) {
			case "managedFields":
				at.blank()
			case "annotations":
				members(value, func(name, _ []byte, at span) {
					if string(name) == lastApplied {
						at.blank()
					}
				})
			}
		})
	})
	return raw
}

// metaOf is the name, namespace and revision of an object, from its JSON. What is not there, or is no text, is "".
func metaOf(raw []byte) (namespace, name, revision string) {
	members(raw, func(member, value []byte, _ span) {
		if string(member) != "metadata" {
			return
		}
		members(value, func(member, value []byte, _ span) {
			switch string(member) {
			case "namespace":
				namespace = textIn(value)
			case "name":
				name = textIn(value)
			case "resourceVersion":
				revision = textIn(value)
			}
		})
	})
	return namespace, name, revision
}

func textIn(value []byte) string {
	if n := len(value); n >= 2 && value[0] == '"' && bytes.IndexByte(value, '\\') < 0 {
		return string(value[1 : n-1])
	}
	var text string
	_ = json.Unmarshal(value, &text) // no text: ""
	return text
}

// span is where a member of a JSON object is, with one comma beside it if there is one.
type span struct {
	in       []byte
	from, to int
}

// blank overwrites it with blanks.
func (s span) blank() {
	for i := s.from; i < s.to; i++ {
		s.in[i] = ' '
	}
}

// members calls f for each member of a JSON object; the name is as written between its quotes. It looks only as closely as it needs to
// and stops where it does not understand what it sees. f may blank out the member that it is given.
func members(object []byte, f func(name, value []byte, at span)) {
	i := skipBlanks(object, 0)
	if i >= len(object) || object[i] != '{' {
		return
	}
	comma := -1 // the one before, unless it was blanked out
	for i++; ; i++ {
		start := skipBlanks(object, i)
		end := skipString(object, start)
		colon := skipBlanks(object, end)
		if end < 0 || colon >= len(object) || object[colon] != ':' {
			return
		}
		from := skipBlanks(object, colon+1)
		to := skipValue(object, from)
		if to < 0 {
			return
		}
		i = skipBlanks(object, to)
		more := i < len(object) && object[i] == ','
		at := span{object, start, to}
		if more {
			at.to = i + 1
		} else if comma >= 0 {
			at.from = comma
		}
		f(object[start+1:end-1], object[from:to], at)
		if !more {
			return
		}
		if object[i] == ',' {
			comma = i
		}
	}
}

func skipBlanks(text []byte, i int) int {
	if i < 0 {
		return len(text)
	}
	for i < len(text) && (text[i] == ' ' || text[i] == '\n' || text[i] == '\t' || text[i] == '\r') {
		i++
	}
	return i
}

// skipString is the place after a string that begins at i, -1 if none does.
func skipString(text []byte, i int) int {
	if i >= len(text) || text[i] != '"' {
		return -1
	}
	for i++; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

// skipValue is the place after the value that begins at i, -1 if it does not end.
func skipValue(text []byte, i int) int {
	depth := 0
	for i < len(text) {
		switch text[i] {
		case '"':
			if i = skipString(text, i); i < 0 {
				return -1
			}
			if depth == 0 {
				return i
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i // the end of what a bare word is in
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ' ', '\n', '\t', '\r':
			if depth == 0 {
				return i
			}
		}
		i++
	}
	if depth == 0 {
		return i
	}
	return -1
}
