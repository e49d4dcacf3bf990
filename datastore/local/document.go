package local

import (
	"bytes"
)

// document is one YAML document of a file, or the one JSON value.
type document struct {
	start, end int // bytes of the file; separators are outside
	line       int // of its first byte, 1-based
	json       bool
}

// split finds the documents of a file; those that hold nothing but space and comments are left out. A file that begins with "{" is
// one JSON value, or a YAML document in flow style, which is told when it is decoded.
func split(data []byte) []document {
	start := 0
	if bytes.HasPrefix(data, []byte("\xef\xbb\xbf")) {
		start = 3
	}
	if trimmed := bytes.TrimLeft(data[start:], " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '{' && !bytes.Contains(trimmed, []byte("\n---")) {
		return []document{{start: start, end: len(data), line: 1, json: true}}
	}
	var docs []document
	doc, line, number := start, 1, 1
	for at := start; at < len(data); {
		next := len(data)
		if i := bytes.IndexByte(data[at:], '\n'); i >= 0 {
			next = at + i + 1
		}
		if isSeparator(data[at:next]) {
			docs = appendDocument(docs, data, doc, at, line)
			doc, line = next, number+1
			if rest := data[at:next]; len(bytes.TrimSpace(rest[3:])) > 0 && rest[0] == '-' {
				doc, line = at+3, number // "--- {…}"
			}
		}
		at = next
		number++
	}
	return appendDocument(docs, data, doc, len(data), line)
}

// isSeparator says whether a line ends a document.
func isSeparator(line []byte) bool {
	if len(line) < 3 || string(line[:3]) != "---" && string(line[:3]) != "..." {
		return false
	}
	return len(line) == 3 || bytes.IndexByte([]byte(" \t\r\n"), line[3]) >= 0
}

func appendDocument(docs []document, data []byte, start, end, line int) []document {
	if onlyComments(data[start:end]) {
		return docs
	}
	first := bytes.TrimLeft(data[start:end], " \t\r\n")
	return append(docs, document{start: start, end: end, line: line, json: first[0] == '{'})
}

// onlyComments says whether a document holds nothing; directives ("%YAML 1.2") count as nothing.
func onlyComments(text []byte) bool {
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if len(line) > 0 && line[0] != '#' && line[0] != '%' {
			return false
		}
	}
	return true
}
