package v3

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	yaml3 "go.yaml.in/yaml/v3"
	"sigs.k8s.io/yaml"
)

// Document is one object of a file, not decoded: a caller looks at APIVersion and Kind and decides who decodes it.
//
// +kubebuilder:object:generate=false
type Document struct {
	APIVersion, Kind, Namespace, Name string

	JSON []byte
	File string // as given to ReadDocuments
	Line int    // of the document, 1-based; of the object where it is an item of a list

	text   []byte // the YAML document that it comes from
	offset int    // lines of the file before text
	item   string // "items[2]" for an item of a list
}

// ReadDocuments splits a file of YAML documents or JSON into objects; lists (a kind that ends in List, with items) are unrolled. A
// document that can't be read is left out, and named in the errors with its line; those beside it come back.
func ReadDocuments(file string, data []byte) ([]Document, []FieldError) {
	var docs []Document
	var errs []FieldError
	for _, part := range splitYAML(data) {
		more, err := part.read(file)
		if err != nil {
			errs = append(errs, yamlErrors(err, file, part)...)
			continue
		}
		docs = append(docs, more...)
	}
	return docs, errs
}

// Decode reads a document of this API (see DecodeJSON); the errors name file and line.
func (d *Document) Decode(strict bool) (Object, []FieldError) {
	o, errs := DecodeJSON(Kind(d.Kind), d.JSON, strict)
	d.Locate(errs)
	return o, errs
}

// Locate writes file and line into errors about this document, from their fields: the nearest line that can be found.
func (d *Document) Locate(errs []FieldError) {
	if len(errs) == 0 {
		return
	}
	var root yaml3.Node
	if yaml3.Unmarshal(d.text, &root) != nil {
		root = yaml3.Node{}
	}
	for i := range errs {
		errs[i].File, errs[i].Line = d.File, d.Line
		if line := lineOf(&root, joinFields(d.item, errs[i].Field)); line > 0 {
			errs[i].Line = d.offset + line
		}
	}
}

func joinFields(item, field string) string {
	if item == "" || field == "" {
		return item + field
	}
	return item + "." + field
}

// yamlPart is one document of a file.
//
// +kubebuilder:object:generate=false
type yamlPart struct {
	text   []byte
	offset int // lines before it
}

// splitYAML cuts before every line that begins with "---". Parts without content are left out.
func splitYAML(data []byte) []yamlPart {
	var parts []yamlPart
	var part yamlPart
	number := 0
	for line := range bytes.Lines(data) {
		if isSeparator(line) {
			parts = append(parts, part)
			part = yamlPart{offset: number}
		}
		part.text = append(part.text, line...)
		number++
	}
	parts = append(parts, part)
	return slices.DeleteFunc(parts, func(p yamlPart) bool { return p.firstLine() == 0 })
}

func isSeparator(line []byte) bool {
	rest, ok := bytes.CutPrefix(line, []byte("---"))
	return ok && (len(rest) == 0 || strings.ContainsRune(" \t\r\n", rune(rest[0])))
}

// firstLine is that of the first content, 1-based; 0 where there is none.
func (p yamlPart) firstLine() int {
	number := 0
	for line := range bytes.Lines(p.text) {
		number++
		if isSeparator(line) {
			line = line[3:]
		}
		line = bytes.TrimSpace(line)
		if len(line) > 0 && line[0] != '#' && line[0] != '%' && string(line) != "..." && string(line) != "\ufeff" {
			return number
		}
	}
	return 0
}

func (p yamlPart) read(file string) ([]Document, error) {
	data, err := p.json()
	if err != nil || string(data) == "null" {
		return nil, err
	}
	d := Document{JSON: data, File: file, Line: p.offset + p.firstLine(), text: p.text, offset: p.offset}
	items, isList, err := d.sniff()
	if err != nil || !isList {
		return []Document{d}, err
	}
	return d.unroll(items)
}

// json is the document as JSON. JSON is taken as it is: YAML reads some of its escapes otherwise.
func (p yamlPart) json() ([]byte, error) {
	text := bytes.TrimSpace(p.text)
	if len(text) > 0 && text[0] == '{' && json.Valid(text) {
		return text, nil
	}
	return yaml.YAMLToJSONStrict(p.text)
}

// sniff reads what is needed to say who decodes the document.
func (d *Document) sniff() (items []json.RawMessage, isList bool, err error) {
	var head struct {
		APIVersion string            `json:"apiVersion"`
		Kind       string            `json:"kind"`
		Metadata   json.RawMessage   `json:"metadata"`
		Items      []json.RawMessage `json:"items"`
	}
	if err := json.Unmarshal(d.JSON, &head); err != nil {
		return nil, false, fmt.Errorf("is not an object with apiVersion and kind: %w", err)
	}
	if head.APIVersion == "" || head.Kind == "" {
		return nil, false, fmt.Errorf("is not an object: apiVersion or kind is missing")
	}
	d.APIVersion, d.Kind = head.APIVersion, head.Kind
	var names struct{ Namespace, Name string }
	// A name that can't be read is found by whoever decodes the object.
	if json.Unmarshal(head.Metadata, &names) == nil {
		d.Namespace, d.Name = names.Namespace, names.Name
	}
	return head.Items, strings.HasSuffix(head.Kind, "List") && head.Items != nil, nil
}

func (d *Document) unroll(items []json.RawMessage) ([]Document, error) {
	var root yaml3.Node
	if yaml3.Unmarshal(d.text, &root) != nil {
		root = yaml3.Node{}
	}
	docs := make([]Document, 0, len(items))
	for i, item := range items {
		at := "items[" + strconv.Itoa(i) + "]"
		one := Document{JSON: item, File: d.File, Line: d.Line, text: d.text, offset: d.offset, item: at}
		if line := lineOf(&root, at); line > 0 {
			one.Line = d.offset + line
		}
		one.typeFromList(d)
		if _, _, err := one.sniff(); err != nil {
			return nil, fmt.Errorf("%s: %w", at, err)
		}
		docs = append(docs, one)
	}
	return docs, nil
}

// typeFromList gives an item of a typed list (NetworkPolicyList) the type that API servers leave out of it.
func (d *Document) typeFromList(list *Document) {
	kind := strings.TrimSuffix(list.Kind, "List")
	var fields map[string]json.RawMessage
	if kind == "" || json.Unmarshal(d.JSON, &fields) != nil || fields == nil {
		return
	}
	for name, value := range map[string]string{"apiVersion": list.APIVersion, "kind": kind} {
		if fields[name] == nil {
			fields[name] = json.RawMessage(strconv.Quote(value))
		}
	}
	if data, err := json.Marshal(fields); err == nil {
		d.JSON = data
	}
}
