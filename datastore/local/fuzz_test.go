package local

import (
	"bytes"
	"testing"

	v3 "github.com/felid-net/felid/api/v3"
)

// FuzzParse proves of any file: nothing panics, documents lie in order within it, errors name lines of it, objects have revisions, and
// where something can't be decoded an error says so.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		mixed, podYAML, "", "---", "--- {}", "{", "{}", "\xef\xbb\xbfkind: Tier", "a: &x [*x]", "kind: List\nitems: [1, {kind: Tier}]", "...\n---\n%YAML 1.2\n---\n",
		tierYAML("a", "1") + "---\n# c\n" + tierYAML("b", "2"), `{"kind":"Tier","apiVersion":"projectcalico.org/v3","metadata":{"name":"a"}}`,
		"apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: a, namespace: b}\nspec: {ingress: [{action: Allow, protocol: 6, foo: 1}]}\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		end, lines := 0, 1
		for _, lineBreak := range []string{"\n", "\r", "\u0085", "\u2028", "\u2029"} { // YAML 1.1, 4.2
			lines += bytes.Count(data, []byte(lineBreak))
		}
		for _, doc := range split(data) {
			if doc.start < end || doc.end <= doc.start || doc.end > len(data) || doc.line < 1 || doc.line > lines {
				t.Fatalf("document %+v after byte %d of %d, %d lines", doc, end, len(data), lines)
			}
			end = doc.end
		}
		for _, strict := range []bool{true, false} {
			c := parse("f", data, strict)
			for _, e := range c.errs {
				if e.Line < 1 || e.Line > lines || e.File != "f" {
					t.Fatalf("error %v at line %d of %d", e, e.Line, lines)
				}
			}
			for _, it := range c.items {
				if it.object == nil || it.revision == "" || it.key != v3.KeyOf(it.object) {
					t.Fatalf("item %+v", it)
				}
			}
			if c.partial && len(c.errs) == 0 {
				t.Fatal("something is missing, and no error says so")
			}
		}
	})
}
