package cli

import (
	"cmp"
	"encoding/xml"
	"errors"
	"io"
	"strconv"
)

// The form that build servers read test results in.
type junitSuite struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name    string        `xml:"name,attr"`
	Class   string        `xml:"classname,attr"`
	Failure *junitFailure `xml:"failure,omitempty"`
}

type junitFailure struct {
	Message string `xml:"message,attr"`
}

func printJUnit(w io.Writer, results []testResult, failed int) error {
	suite := junitSuite{Name: "felid", Tests: len(results), Failures: failed}
	for i, r := range results {
		c := junitCase{Name: cmp.Or(r.Name, "test "+strconv.Itoa(i)), Class: "policy"}
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
	err := errors.Join(enc.Encode(suite), enc.Close())
	if err == nil {
		_, err = io.WriteString(w, "\n")
	}
	return err
}
