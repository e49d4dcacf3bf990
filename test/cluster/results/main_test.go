package main

import (
	"strings"
	"testing"
)

const junit = `<?xml version="1.0"?>
<testsuites tests="4"><testsuite name="e2e">
<testcase name="[SynchronizedBeforeSuite]" time="1"></testcase>
<testcase name="[It] allows" time="7.25"></testcase>
<testcase name="[It] sctp" time="0"><skipped message="no"></skipped></testcase>
%s
</testsuite></testsuites>`

func TestReport(t *testing.T) {
	for name, c := range map[string]struct {
		more, text string
		want       int
		good       bool
	}{
		"all passed":   {"", "pass    7.2 s  allows\ntotal: 1 of 1 passed\n", 1, true},
		"too few":      {"", "pass    7.2 s  allows\ntotal: 1 of 1 passed; 47 were wanted\n", 47, false},
		"one failed":   {`<testcase name="[It] denies" time="60"><failure>x</failure></testcase>`, "FAIL   60.0 s  denies\npass    7.2 s  allows\ntotal: 1 of 2 passed\n", 1, false},
		"set-up broke": {`<testcase name="[BeforeSuite]" time="2"><error>x</error></testcase>`, "FAIL    2.0 s  [BeforeSuite]\npass    7.2 s  allows\ntotal: 1 of 2 passed\n", 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			all, err := read(nil, []byte(strings.Replace(junit, "%s", c.more, 1)))
			if err != nil {
				t.Fatal(err)
			}
			var text strings.Builder
			if good := report(&text, all, c.want); good != c.good || text.String() != c.text {
				t.Errorf("good is %v, and the text\n%s", good, text.String())
			}
		})
	}
	if _, err := read(nil, []byte("<testsuites>")); err == nil {
		t.Error("half a file was taken for a result")
	}
	if report(&strings.Builder{}, nil, 1) {
		t.Error("a suite that ran nothing is taken for good")
	}
}
