package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore/local"
)

// The severities of a finding. An error does surely not what it was written for; a warning may be meant.
const (
	lintError   = "error"
	lintWarning = "warning"
)

// finding is one thing that lint has to say, as -o json prints it; its names are stable.
type finding struct {
	Rule     string `json:"rule"`
	Severity string `json:"severity"`
	Object   string `json:"object"`
	File     string `json:"file,omitempty"` // "" where it did not come from a file
	Line     int    `json:"line,omitempty"`
	Field    string `json:"field"`
	Message  string `json:"message"`
	Proposal string `json:"proposal"`
	Fixes    []fix  `json:"fixes,omitempty"` // the best one first

	key   v3.Key
	rule  int // in its direction, where the finding is of one
	plans []plan
}

// lintRule looks at all resources for one kind of mistake.
type lintRule struct {
	name, severity string
	find           func(*cluster) []finding
}

var lintRules = []lintRule{
	{"missing-tier", lintError, missingTiers},
	{"overlapping-pool", lintError, overlappingPools},
	{"log-only", lintError, logOnly},
	{"unused", lintWarning, unusedPolicies},
	{"poor-scope", lintWarning, poorScopes},
	{"shadowed", lintWarning, shadowed},
	{"baked-in", lintWarning, bakedIn},
	{"tier-order", lintWarning, tierOrder},
	{"unsupported-on-windows", lintWarning, unsupportedOnWindows},
}

func newLint(app *App) *cobra.Command {
	var output string
	var fixes bool
	c := &cobra.Command{
		Use:   "lint [-f FILE|DIR|-]",
		Short: "Find policy that can't mean what it says, and propose what to write instead",
		Long:  "Find policy that can't mean what it says, and propose what to write instead. The rules are:\n" + lintHelp(),
		Args:  cobra.NoArgs,
	}
	in := addInput(c, app)
	addOutput(c, &output, "table", "json")
	c.Flags().BoolVar(&fixes, "fix", false, "print the proposed YAML, and what was found as comments")
	c.RunE = func(c *cobra.Command, _ []string) error {
		all, files, err := in.located(c.Context())
		if err != nil {
			return err
		}
		found := all.lint()
		locate(found, files)
		if err := printLint(app.Out, output, fixes, found); err != nil {
			return err
		}
		if slices.ContainsFunc(found, func(f finding) bool { return f.Severity == lintError }) {
			return &exitError{exitNo, nil}
		}
		return nil
	}
	return c
}

func lintHelp() string {
	var b strings.Builder
	for _, r := range lintRules {
		fmt.Fprintf(&b, "  %s (%s)\n", r.name, r.severity)
	}
	return b.String()
}

// lint applies every rule; the findings are ordered by object.
func (c *cluster) lint() []finding {
	all := []finding{}
	planner := newPlanner(c)
	for _, rule := range lintRules {
		for _, f := range rule.find(c) {
			planner.add(&f)
			f.Rule, f.Severity = rule.name, rule.severity
			if f.Object == "" {
				f.Object = f.key.String()
			}
			all = append(all, f)
		}
	}
	slices.SortStableFunc(all, func(a, b finding) int { return cmp.Compare(a.Object, b.Object) })
	return all
}

// located is cluster, with the objects as they were found in files; none where they come from a datastore.
func (in *input) located(ctx context.Context) (*cluster, []local.Found, error) {
	if len(in.files) == 0 {
		all, err := in.cluster(ctx)
		return all, nil, err
	}
	found, err := in.readAll()
	if err != nil {
		return nil, nil, err
	}
	return in.clusterOf(found.All()), found.Found, nil
}

// locate fills in file and line.
func locate(findings []finding, files []local.Found) {
	byKey := make(map[v3.Key]*local.Found, len(files))
	for i := range files {
		byKey[v3.KeyOf(files[i].Object)] = &files[i]
	}
	for i := range findings {
		f := &findings[i]
		if from := byKey[f.key]; from != nil {
			at := []v3.FieldError{{Field: f.Field}}
			from.Locate(at)
			f.File, f.Line = at[0].File, at[0].Line
		}
	}
}

func printLint(w io.Writer, output string, fixes bool, found []finding) error {
	if err := encodeFixes(found); err != nil {
		return err
	}
	switch {
	case output == "json":
		return printJSON(w, found)
	case fixes:
		return printFixes(w, found)
	}
	for _, f := range found {
		printFindings(w, []finding{f})
		printPlans(w, f.Fixes)
	}
	fmt.Fprintln(w, count(len(found), "finding"))
	return nil
}

func printFindings(w io.Writer, findings []finding) {
	for _, f := range findings {
		if f.File != "" {
			fmt.Fprintf(w, "%s:%d: ", f.File, f.Line)
		}
		fmt.Fprintf(w, "%s: %s: ", f.Severity, f.Object)
		if f.Field != "" {
			fmt.Fprintf(w, "%s: ", f.Field)
		}
		fmt.Fprintf(w, "%s (%s)\n", f.Message, f.Rule)
		for line := range strings.Lines(f.Proposal) {
			fmt.Fprintf(w, "  %s\n", strings.TrimSuffix(line, "\n"))
		}
	}
}
