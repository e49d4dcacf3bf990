package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"

	api "github.com/felid-net/felid/api/v3"
)

// testFile is a file of policy unit tests.
type testFile struct {
	Resources []string
	Tests     []testCase
}

// testCase is one test, as written.
type testCase struct {
	Name       string    `json:"name"`
	From       testEnd   `json:"from"`
	To         testEnd   `json:"to"`
	Protocol   any       `json:"protocol"` // a name or a number
	Port       testPorts `json:"port"`
	SourcePort uint16    `json:"sourcePort"`
	ICMP       *icmpArgs `json:"icmp"`
	IPVersion  int       `json:"ipVersion"`
	Expect     string    `json:"expect"`
	By         string    `json:"by"`
	AllowEmpty bool      `json:"allowEmpty"` // an invariant about nothing holds

	flow      *flowArgs  // nil for an invariant
	invariant *invariant // nil for a single connection
}

// testEnd is one end of the connection; a mapping makes the test an invariant over many.
type testEnd struct {
	one  string
	many *testScope
}

// UnmarshalJSON reads a text, or a mapping with pods, namespaces or nets.
func (e *testEnd) UnmarshalJSON(data []byte) error {
	if !bytes.HasPrefix(data, []byte("{")) {
		return json.Unmarshal(data, &e.one)
	}
	e.many = &testScope{}
	return e.many.read(data)
}

// testPorts are ports to try, all of which must have the verdict.
type testPorts []api.Port

// UnmarshalJSON reads a port, or a list of ports and ranges.
func (p *testPorts) UnmarshalJSON(data []byte) error {
	if !bytes.HasPrefix(data, []byte("[")) {
		data = append(append([]byte("["), data...), ']')
	}
	var ports []api.Port
	if err := json.Unmarshal(data, &ports); err != nil {
		return err
	}
	for _, port := range ports {
		if port.Problem() != nil || port.Name != "" {
			return fmt.Errorf("port %s is no number; valid: 0 to 65535, or a range \"a:b\"", port)
		}
	}
	*p = ports
	return nil
}

// parseTests reads a file of tests; the error names all that is wrong, with lines.
func parseTests(path string, data []byte) (*testFile, error) {
	var written struct {
		Resources []string    `yaml:"resources"`
		Tests     []yaml.Node `yaml:"tests"`
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	if err := decoder.Decode(&written); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: %s; valid: resources (a list of files) and tests", path, plainYAML(err))
	}
	file := &testFile{Resources: written.Resources, Tests: make([]testCase, len(written.Tests))}
	var errs []error
	for i := range written.Tests {
		t := &file.Tests[i]
		err := t.read(&written.Tests[i])
		if err == nil {
			continue
		}
		for line := range strings.Lines(err.Error()) {
			errs = append(errs, fmt.Errorf("%s:%d: tests[%d] %q: %s", path, written.Tests[i].Line, i, t.Name, strings.TrimSpace(line)))
		}
	}
	if len(written.Tests) == 0 {
		errs = append(errs, fmt.Errorf("%s: tests: is empty; valid: a list of tests", path))
	}
	return file, errors.Join(errs...)
}

// plainYAML is an error of the YAML parser without the names of Go types.
func plainYAML(err error) string {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	text = strings.TrimPrefix(text, "unmarshal errors:\n  ")
	text, _, _ = strings.Cut(text, " in type ")
	text, _, _ = strings.Cut(text, "\n")
	return text
}

// read reads one test and judges what is written.
func (t *testCase) read(node *yaml.Node) error {
	if err := t.decode(node); err != nil {
		return err
	}
	var errs []error
	if t.Expect != "" && t.Expect != "Allow" && t.Expect != "Deny" {
		errs = append(errs, fmt.Errorf("expect: %q; valid: Allow, Deny", t.Expect))
	}
	var err error
	if t.From.many != nil || t.To.many != nil {
		t.invariant, err = t.readInvariant()
		return errors.Join(append(errs, err)...)
	}
	if t.AllowEmpty {
		errs = append(errs, errors.New("allowEmpty: is for an invariant, of which from or to is a mapping; leave it out"))
	}
	t.flow, err = t.text().parse()
	return errors.Join(append(errs, err)...)
}

// text is the connection as it is written.
func (t *testCase) text() *flowText {
	text := &flowText{
		from: t.From.one, to: t.To.one, sourcePort: t.SourcePort, icmp: t.ICMP, ipVersion: t.IPVersion, hasPort: len(t.Port) > 0,
	}
	if t.Protocol != nil {
		text.protocol = fmt.Sprint(t.Protocol)
	}
	return text
}

// decode goes by way of JSON, which is strict about types and names.
func (t *testCase) decode(node *yaml.Node) error {
	var value any
	if err := node.Decode(&value); err != nil {
		return errors.New(plainYAML(err))
	}
	if m, ok := value.(map[string]any); ok {
		t.Name, _ = m["name"].(string)
	}
	data, err := json.Marshal(value)
	if err != nil {
		return errors.New("a key is no text; valid: the names of fields")
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	err = decoder.Decode(t)
	var kind *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &kind):
		return fmt.Errorf("%s: is a %s; valid: %s", kind.Field, kind.Value, kindName(kind.Type.Kind().String()))
	case strings.Contains(err.Error(), "unknown field"):
		return fmt.Errorf("%s; valid: name, from, to, protocol, port, sourcePort, icmp, ipVersion, expect, by, allowEmpty", strings.TrimPrefix(err.Error(), "json: "))
	}
	return err
}

// kindName is what people call a type.
func kindName(kind string) string {
	switch kind {
	case "string":
		return "a text"
	case "struct", "map", "ptr":
		return "a mapping"
	case "uint8":
		return "0 to 255"
	case "uint16":
		return "0 to 65535"
	}
	return "a whole number"
}
