package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/policy"
)

// testResult is what became of a test, as `-o json` prints it.
type testResult struct {
	Name   string         `json:"name"`
	Passed bool           `json:"passed"`
	Error  string         `json:"error"`
	Result *policy.Answer `json:"result"` // of the port that failed, or of the last; null where there is none
	// Counter is the connection that breaks an invariant; Result is of it.
	Counter *counterJSON `json:"counter,omitempty"`
}

// testExample is what people start from.
const testExample = `  resources: [cluster.yaml, policies/]
  tests:
  - name: web-1 reaches app-1
    from: pod/web-ns/web-1              # or hostendpoint/NAME, node/NAME, an address
    to: pod/app-ns/app-1
    protocol: TCP                       # the default
    port: [80, "8000:8010"]             # or icmp: {type: 8}; all must have the verdict
    expect: Allow                       # or Deny; without it the test only reports
    by: Profile kns.app-ns              # who must have decided; or: end of tier application
  - name: nothing from outside the zone gets in
    from: {pods: 'pci != "true"'}       # a selector over pods, and one over namespaces: {namespaces: 'team == "x"'}
    to: {pods: 'pci == "true"'}         # or addresses: {nets: [0.0.0.0/0], notNets: [10.0.0.0/8]}
    expect: Deny                        # all ports and protocols where none is given, both families
`

func newTest(app *App) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "test FILE…",
		Short: "Run policy unit tests, offline",
		Long: "Run policy unit tests: connections, with the verdict that each must have. The resources are those that the file names, relative\n" +
			"to itself, and those given by -f; where there are neither, those of the datastore. A file:\n\n" + testExample +
			"\nA test with a mapping for from or to is an invariant: proven for every connection between two ends that it means, or refuted by\n" +
			"one of them. One that is about no connection at all fails, unless allowEmpty is true. It is about the policy of pods.",
		Args: cobra.MinimumNArgs(1),
	}
	in := addInput(c, app)
	addOutput(c, &output, "table", "json", "junit")
	c.RunE = func(c *cobra.Command, args []string) error {
		files := make([]*testFile, len(args))
		for i, path := range args {
			data, err := os.ReadFile(path)
			if err != nil {
				return usage(err)
			}
			if files[i], err = parseTests(path, data); err != nil {
				return usage(err)
			}
		}
		results := []testResult{}
		for i, path := range args {
			r, err := in.runTests(c.Context(), files[i], filepath.Dir(path))
			if err != nil {
				return err
			}
			results = append(results, r...)
		}
		return printResults(app.Out, output, results)
	}
	return c
}

// runTests runs a file's tests on the resources that it names, relative to its folder, and those given by -f.
func (in *input) runTests(ctx context.Context, file *testFile, folder string) ([]testResult, error) {
	sources := *in
	sources.files = append([]string{}, in.files...)
	for _, r := range file.Resources {
		if !filepath.IsAbs(r) {
			r = filepath.Join(folder, r)
		}
		sources.files = append(sources.files, r)
	}
	all, err := sources.cluster(ctx)
	if err != nil {
		return nil, err
	}
	results := make([]testResult, len(file.Tests))
	for i := range file.Tests {
		results[i] = file.Tests[i].run(all)
	}
	return results, nil
}

// run judges the connection on each port; the first that is not as expected is the result.
func (t *testCase) run(all *cluster) testResult {
	if t.invariant != nil {
		r := t.invariant.run(all)
		r.Name = t.Name
		return r
	}
	r := testResult{Name: t.Name}
	conn, err := t.flow.find(all)
	if err != nil {
		r.Error = err.Error()
		return r
	}
	ports := []v3.Port(t.Port)
	if len(ports) == 0 {
		ports = []v3.Port{{}}
	}
	for _, port := range ports {
		for n := int(port.Min); n <= int(port.Max); n++ {
			answer := conn.answer(uint16(n))
			r.Result = &answer
			if r.Error = t.judge(answer); r.Error != "" {
				if len(t.Port) > 0 {
					r.Error = fmt.Sprintf("port %d: %s", n, r.Error)
				}
				return r
			}
		}
	}
	r.Passed = true
	return r
}

// judge says what is not as expected, "" if all is.
func (t *testCase) judge(a policy.Answer) string {
	if t.Expect != "" && a.Verdict.String() != t.Expect {
		return fmt.Sprintf("expected %s, but it is %s: %s", t.Expect, a.Verdict, decidedBy(a))
	}
	if t.By == "" {
		return ""
	}
	for _, v := range a.Sides() {
		if v.Action == a.Verdict && isBy(v.By, t.By) {
			return ""
		}
	}
	return fmt.Sprintf("expected to be decided by %s, but it was: %s", t.By, decidedBy(a))
}

// isBy says whether text names the decider: "NetworkPolicy web-ns/p" (also where the end of its tier decided, which it is the last policy
// of), "Profile kns.web-ns", "end of tier", "end of tier application", "no profile".
func isBy(d policy.Decider, text string) bool {
	return text == d.Reason || text == d.Reason+" "+d.Tier || d.Name != "" && text == nameOfDecider(d)
}

// decidedBy names the sides that the verdict comes from, and what decided there.
func decidedBy(a policy.Answer) string {
	var parts []string
	add := func(side string, v *policy.Verdict) {
		if v != nil && v.Action == a.Verdict {
			parts = append(parts, side+": "+deciderText(v.By))
		}
	}
	add("egress", a.Egress)
	for i := range a.Forward {
		add("forward", &a.Forward[i])
	}
	add("ingress", a.Ingress)
	if len(parts) == 0 {
		return "no policy, for neither end is an endpoint that felid manages"
	}
	return strings.Join(parts, "; ")
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
			printSides(w, "  ", *r.Result, "the source has no endpoint with a say", "the destination has no endpoint with a say")
		}
	}
}
