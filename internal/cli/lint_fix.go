package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"sigs.k8s.io/yaml"

	v3 "github.com/felid-net/felid/api/v3"
)

// fix is something that could be written instead: objects that replace those of the same name, or are new.
type fix struct {
	Title   string            `json:"title"`
	Objects []json.RawMessage `json:"objects,omitempty"`
	Deletes []string          `json:"deletes,omitempty"` // objects that go: "NetworkPolicy ns/name"
	// Keeps: with it every connection is judged as it is now.
	Keeps bool `json:"keepsEveryVerdict"`
	// Effect is what it opens and closes, as diff says it, where it does not keep every verdict.
	Effect *diffAnswer `json:"effect,omitempty"`
	// Unknown says why neither is known.
	Unknown string `json:"unknown,omitempty"`

	objects []v3.Object
}

// encodeFixes writes the objects of all fixes as JSON.
func encodeFixes(findings []finding) error {
	for i := range findings {
		for n := range findings[i].Fixes {
			f := &findings[i].Fixes[n]
			for _, o := range f.objects {
				data, err := v3.Encode(o)
				if err != nil {
					return err
				}
				f.Objects = append(f.Objects, data)
			}
		}
	}
	return nil
}

// printFixes prints YAML to apply: of each finding the first fix, if it keeps every verdict. All else, the alternatives among it, is
// comment.
func printFixes(w io.Writer, findings []finding) error {
	for _, f := range findings {
		var text strings.Builder
		printFindings(&text, []finding{f})
		comment(w, text.String())
		for n := range f.Fixes {
			doc, err := f.Fixes[n].yaml()
			if err != nil {
				return err
			}
			if n == 0 && f.Fixes[n].Keeps {
				fmt.Fprintf(w, "# Proposed: %s.\n%s%s", f.Fixes[n].Title, f.Fixes[n].deletesText(), doc)
				continue
			}
			comment(w, "Alternative: "+f.Fixes[n].Title+".\n"+f.Fixes[n].effectText()+f.Fixes[n].deletesText()+doc)
		}
	}
	return nil
}

// deletesText names what goes, as comments: YAML can't say it.
func (f *fix) deletesText() string {
	var text strings.Builder
	for _, object := range f.Deletes {
		fmt.Fprintf(&text, "# delete %s\n", object)
	}
	return text.String()
}

func comment(w io.Writer, text string) {
	for line := range strings.Lines(text) {
		fmt.Fprintln(w, strings.TrimRight("# "+line, " \n"))
	}
}

// yaml are the objects as documents.
func (f *fix) yaml() (string, error) {
	var out strings.Builder
	for _, o := range f.Objects {
		text, err := yaml.JSONToYAML(o)
		if err != nil {
			return "", err
		}
		out.WriteString("---\n" + string(text))
	}
	return out.String(), nil
}
