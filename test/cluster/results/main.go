// Command results prints what a run of the upstream suite came to, from its JUnit files: a line per test that ran, failures first, and
// the totals. It exits with status 1 if a test failed, or if fewer passed than were wanted: a suite that ran nothing has proven nothing.
package main

import (
	"cmp"
	"encoding/xml"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

func main() {
	want := flag.Int("want", 1, "how many tests must have passed")
	flag.Parse()
	var all []outcome
	for _, path := range flag.Args() {
		text, err := os.ReadFile(path)
		if err == nil {
			all, err = read(all, text)
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "error: %s: %v\n", path, err)
			os.Exit(1)
		}
	}
	if !report(os.Stdout, all, *want) {
		os.Exit(1)
	}
}

// outcome is what one test came to.
type outcome struct {
	name    string
	seconds float64
	failed  bool
}

// read appends the outcomes in a JUnit file: of the tests themselves, not of the suite's set-up, unless that failed.
func read(all []outcome, text []byte) ([]outcome, error) {
	var file struct {
		Suites []struct {
			Cases []struct {
				Name    string    `xml:"name,attr"`
				Seconds float64   `xml:"time,attr"`
				Skipped *struct{} `xml:"skipped"`
				Failure *struct{} `xml:"failure"`
				Error   *struct{} `xml:"error"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(text, &file); err != nil {
		return nil, err
	}
	for _, suite := range file.Suites {
		for _, c := range suite.Cases {
			name, test := strings.CutPrefix(c.Name, "[It] ")
			failed := c.Failure != nil || c.Error != nil
			if c.Skipped == nil && (test || failed) {
				all = append(all, outcome{name, c.Seconds, failed})
			}
		}
	}
	return all, nil
}

// report prints the outcomes and says whether all is well.
func report(w io.Writer, all []outcome, want int) bool {
	slices.SortFunc(all, func(a, b outcome) int { return cmp.Or(-cmp.Compare(rank(a), rank(b)), cmp.Compare(a.name, b.name)) })
	passed := 0
	for _, o := range all {
		word := "FAIL"
		if !o.failed {
			word, passed = "pass", passed+1
		}
		fmt.Fprintf(w, "%s %6.1f s  %s\n", word, o.seconds, o.name)
	}
	fmt.Fprintf(w, "total: %d of %d passed", passed, len(all))
	if passed < want {
		fmt.Fprintf(w, "; %d were wanted", want)
	}
	fmt.Fprintln(w)
	return passed == len(all) && passed >= want
}

func rank(o outcome) int {
	if o.failed {
		return 1
	}
	return 0
}
