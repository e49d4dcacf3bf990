package cli

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/policy"
)

// testFile is a file of policy unit tests.
type testFile struct {
	Resources []string   `json:"resources"`
	Tests     []testCase `json:"tests"`
}

// testCase is one test.
type testCase struct {
	Name       string    `json:"name"`
	From       testEnd   `json:"from"`
	To         testEnd   `json:"to"`
	Protocol   string    `json:"protocol"`
	Port       testPorts `json:"port"`
	SourcePort uint16    `json:"sourcePort"`
	ICMP       *icmpArgs `json:"icmp"`
	IPVersion  int       `json:"ipVersion"`
	Expect     string    `json:"expect"`
	By         string    `json:"by"`
}

// testEnd is one end of the connection; a mapping is an invariant over many.
type testEnd struct {
	one  string
	many bool
}

// UnmarshalJSON reads a text, or a mapping with pods, namespaces or nets.
func (e *testEnd) UnmarshalJSON(data []byte) error {
	if bytes.HasPrefix(data, []byte("{")) {
		e.many = true
		return nil
	}
	return json.Unmarshal(data, &e.one)
}

// testPorts are ports to try, all of which must have the verdict.
type testPorts []v3.Port

// UnmarshalJSON reads a port or a list of ports and ranges.
func (p *testPorts) UnmarshalJSON(data []byte) error {
	if !bytes.HasPrefix(data, []byte("[")) {
		data = []byte("[" + string(data) + "]")
	}
	var ports []v3.Port
	if err := json.Unmarshal(data, &ports); err != nil {
		return err
	}
	for _, port := range ports {
		if port.Name != "" {
			return fmt.Errorf("port %q is a name; valid: a number or a range \"a:b\"", port.Name)
		}
	}
	*p = ports
	return nil
}

// testResult is what became of a test, as `-o json` prints it.
type testResult struct {
	Name   string         `json:"name"`
	Passed bool           `json:"passed"`
	Error  string         `json:"error,omitempty"`
	Result *policy.Answer `json:"result"`
}

func newTest(app *App) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "test FILE…",
		Short: "Run policy unit tests, offline",
		Args:  cobra.MinimumNArgs(1),
	}
	in := addInput(c, app)
	addOutput(c, &output, "table", "json", "junit")
	c.RunE = func(c *cobra.Command, args []string) error {
		var results []testResult
		for _, path := range args {
			r, err := in.runTests(c, path)
			if err != nil {
				return err
			}
			results = append(results, r...)
		}
		return printResults(app.Out, output, results)
	}
	return c
}

func (in *input) runTests(c *cobra.Command, path string) ([]testResult, error) {
	file, err := readTests(path)
	if err != nil {
		return nil, usage(err)
	}
	sources := *in
	sources.files = append([]string{}, in.files...)
	for _, r := range file.Resources {
		sources.files = append(sources.files, filepath.Join(filepath.Dir(path), r))
	}
	objects, err := sources.objects(c.Context(), true)
	if err != nil {
		return nil, err
	}
	state, _ := resolve(objects)
	results := make([]testResult, len(file.Tests))
	for i := range file.Tests {
		results[i] = file.Tests[i].run(state)
	}
	return results, nil
}

func readTests(path string) (*testFile, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parseTests(path, data)
}

func parseTests(path string, data []byte) (*testFile, error) {
	file := &testFile{}
	if err := yaml.UnmarshalStrict(data, file); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var errs []error
	for i := range file.Tests {
		t := &file.Tests[i]
		bad := func(format string, args ...any) {
			errs = append(errs, fmt.Errorf("%s: tests[%d] %q: %s", path, i, t.Name, fmt.Sprintf(format, args...)))
		}
		if t.Expect != "" && t.Expect != "Allow" && t.Expect != "Deny" {
			bad("expect: %q; valid: Allow, Deny", t.Expect)
		}
		if t.IPVersion != 0 && t.IPVersion != 4 && t.IPVersion != 6 {
			bad("ipVersion: %d; valid: 4, 6", t.IPVersion)
		}
		if !t.From.many && t.From.one == "" || !t.To.many && t.To.one == "" {
			bad("from and to are needed")
		}
	}
	return file, errors.Join(errs...)
}

// run judges the connection on each port; the first that is not as expected is the result.
func (t *testCase) run(s *dataplane.State) testResult {
	r := testResult{Name: t.Name}
	if t.From.many || t.To.many {
		r.Error = "invariants (from or to as a mapping) can't be proven by this version"
		return r
	}
	ports := []v3.Port(t.Port)
	if len(ports) == 0 {
		ports = []v3.Port{{}}
	}
	for _, port := range ports {
		for n := int(port.Min); n <= int(port.Max); n++ {
			if t.one(s, uint16(n), &r); !r.Passed {
				return r
			}
		}
	}
	return r
}

// one judges one port.
func (t *testCase) one(s *dataplane.State, port uint16, r *testResult) {
	args := flowArgs{from: t.From.one, to: t.To.one, protocol: t.Protocol, port: port, sourcePort: t.SourcePort, icmp: t.ICMP, ipVersion: t.IPVersion}
	flow, err := args.flow(s)
	if err != nil {
		r.Passed, r.Error = false, err.Error()
		return
	}
	answer := policy.Explain(s, flow)
	r.Result = &answer
	r.Error = t.judge(answer)
	if r.Error != "" && len(t.Port) > 0 {
		r.Error = fmt.Sprintf("port %d: %s", port, r.Error)
	}
	r.Passed = r.Error == ""
}

// judge says what is not as expected, "" if all is.
func (t *testCase) judge(a policy.Answer) string {
	if t.Expect != "" && a.Verdict.String() != t.Expect {
		return fmt.Sprintf("expected %s, but it is %s", t.Expect, a.Verdict)
	}
	if t.By == "" {
		return ""
	}
	var deciders []string
	for _, v := range []*policy.Verdict{a.Egress, a.Ingress} {
		if v == nil || v.Action != a.Verdict {
			continue
		}
		name := nameOfDecider(v.By)
		if name == t.By {
			return ""
		}
		deciders = append(deciders, name)
	}
	return fmt.Sprintf("expected to be decided by %s, but it was by %s", t.By, strings.Join(deciders, " and "))
}

// printResults ends with "N passed, N failed", and with status 1 where any failed.
func printResults(w io.Writer, output string, results []testResult) error {
	failed := 0
	for _, r := range results {
		if !r.Passed {
			failed++
		}
	}
	var err error
	switch output {
	case "json":
		err = printJSON(w, results)
	case "junit":
		err = printJUnit(w, results, failed)
	default:
		printFailures(w, results)
		_, err = fmt.Fprintf(w, "%d passed, %d failed\n", len(results)-failed, failed)
	}
	if err == nil && failed > 0 {
		return &exitError{exitNo, nil}
	}
	return err
}

func printFailures(w io.Writer, results []testResult) {
	for _, r := range results {
		if r.Passed {
			continue
		}
		fmt.Fprintf(w, "FAIL %s: %s\n", r.Name, r.Error)
		if r.Result != nil {
			printSide(w, "  egress", r.Result.Egress, "from")
			printSide(w, "  ingress", r.Result.Ingress, "to")
		}
	}
}

type junitSuite struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name    string        `xml:"name,attr"`
	Failure *junitFailure `xml:"failure,omitempty"`
}

type junitFailure struct {
	Message string `xml:"message,attr"`
}

func printJUnit(w io.Writer, results []testResult, failed int) error {
	suite := junitSuite{Name: "felid", Tests: len(results), Failures: failed}
	for i, r := range results {
		c := junitCase{Name: r.Name}
		if c.Name == "" {
			c.Name = "test " + strconv.Itoa(i)
		}
		if !r.Passed {
			c.Failure = &junitFailure{r.Error}
		}
		suite.Cases = append(suite.Cases, c)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	return errors.Join(enc.Encode(suite), enc.Close())
}
