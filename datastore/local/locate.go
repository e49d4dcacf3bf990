package local

import (
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// locate is the line, 1-based, of a field ("spec.ingress[0].source") in a YAML or JSON document, or of the nearest field around it that
// is there. It is 1 where the document can't be parsed. This is a second parse, made only where there is an error to report.
func locate(doc []byte, field string) int {
	var root yaml.Node
	if err := yaml.Unmarshal(doc, &root); err != nil || len(root.Content) == 0 {
		return 1
	}
	node := root.Content[0]
	line := node.Line
	for _, step := range steps(field) {
		at, next := child(node, step)
		if next == nil {
			break
		}
		line, node = at, next
	}
	return line
}

// steps cuts "spec.ingress[0].source" into spec, ingress, 0, source. A name in brackets and quotes is one step.
func steps(field string) []string {
	return strings.FieldsFunc(field, func(r rune) bool { return r == '.' || r == '[' || r == ']' })
}

// child is the value of a key, or the element of a list, with its line.
func child(node *yaml.Node, step string) (int, *yaml.Node) {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	switch node.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(node.Content); i += 2 {
			if node.Content[i].Value == step {
				return node.Content[i].Line, node.Content[i+1]
			}
		}
	case yaml.SequenceNode:
		if i, err := strconv.Atoi(step); err == nil && i >= 0 && i < len(node.Content) {
			return node.Content[i].Line, node.Content[i]
		}
	}
	return 0, nil
}

var yamlLine = regexp.MustCompile(`line (\d+)`)

// syntaxLine is the line that an error of the YAML parser names, 1 if it names none.
func syntaxLine(err error) int {
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil && n > 0 {
			return n
		}
	}
	return 1
}
