package v3

import (
	"regexp"
	"strconv"
	"strings"

	yaml3 "go.yaml.in/yaml/v3"
)

// lineOf finds a field ("spec.ingress[0].source.nets[1]") in a tree: its line, or that of the nearest part above it that is there.
// Keys that hold dots themselves are found too.
func lineOf(node *yaml3.Node, field string) int {
	if node.Kind == yaml3.DocumentNode && len(node.Content) > 0 {
		node = node.Content[0]
	}
	line := node.Line
	for field != "" && node != nil {
		node, line, field = step(node, line, field)
	}
	return line
}

// step goes one key or index down; the node is nil where that is not there.
func step(node *yaml3.Node, line int, field string) (*yaml3.Node, int, string) {
	if node.Kind == yaml3.AliasNode && node.Alias != nil {
		node = node.Alias
	}
	if index, rest, ok := cutIndex(field); ok {
		if node.Kind != yaml3.SequenceNode || index >= len(node.Content) {
			return nil, line, ""
		}
		return node.Content[index], node.Content[index].Line, rest
	}
	if node.Kind != yaml3.MappingNode {
		return nil, line, ""
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i]
		rest, ok := strings.CutPrefix(field, key.Value)
		if ok && key.Value != "" && (rest == "" || rest[0] == '.' || rest[0] == '[') {
			return node.Content[i+1], key.Line, strings.TrimPrefix(rest, ".")
		}
	}
	return nil, line, ""
}

// cutIndex takes "[3]" off the front.
func cutIndex(field string) (index int, rest string, ok bool) {
	if !strings.HasPrefix(field, "[") {
		return 0, field, false
	}
	digits, rest, _ := strings.Cut(field[1:], "]")
	index, err := strconv.Atoi(digits)
	return index, strings.TrimPrefix(rest, "."), err == nil && index >= 0
}

var yamlErrorLine = regexp.MustCompile(`^(?:.*yaml: )?(?:line (\d+): )?(.*)$`)

// yamlErrors makes one error of each that a YAML parser reports, with the line in the file instead of the line in the document.
func yamlErrors(err error, file string, part yamlPart) []FieldError {
	var errs []FieldError
	for text := range strings.Lines(err.Error()) {
		m := yamlErrorLine.FindStringSubmatch(strings.TrimSpace(text))
		if m == nil || m[2] == "unmarshal errors:" {
			continue
		}
		e := FieldError{Problem: m[2], File: file, Line: part.offset + part.firstLine()}
		if n, err := strconv.Atoi(m[1]); err == nil {
			e.Line = part.offset + n
		}
		errs = append(errs, e)
	}
	return errs
}
