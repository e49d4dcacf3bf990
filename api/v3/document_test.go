package v3

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadDocumentsSplitsAndUnrolls(t *testing.T) {
	text := strings.Join([]string{
		"%YAML 1.1",
		"--- # the first",
		"apiVersion: v1",
		"kind: Namespace",
		"metadata: {name: a}",
		"---",
		"# only a comment",
		"---",
		"apiVersion: v1",
		"kind: List",
		"items:",
		"- apiVersion: projectcalico.org/v3",
		"  kind: Tier",
		"  metadata:",
		"    name: t1",
		"- {apiVersion: v1, kind: Pod, metadata: {name: p, namespace: ns}}",
		"--- {apiVersion: x/v1, kind: Other}",
		"---",
		"apiVersion: projectcalico.org/v3",
		"kind: TierList",
		"items:",
		"- metadata: {name: t2}",
		"---",
		`{"apiVersion":"v1","kind":"List","items":[]}`,
		"",
	}, "\n")
	docs, errs := ReadDocuments("f.yaml", []byte(text))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	type brief struct {
		Type, Name string
		Line       int
	}
	var got []brief
	for _, d := range docs {
		got = append(got, brief{d.APIVersion + " " + d.Kind, strings.Trim(d.Namespace+"/"+d.Name, "/"), d.Line})
	}
	want := []brief{{"v1 Namespace", "a", 3}, {"projectcalico.org/v3 Tier", "t1", 12}, {"v1 Pod", "ns/p", 16}, {"x/v1 Other", "", 17},
		{"projectcalico.org/v3 Tier", "t2", 22}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestBrokenDocumentsAreNamedAndTheOthersComeBack(t *testing.T) {
	text := "apiVersion: v1\nkind: A\nmetadata: {name: ok}\n---\nkind: B\n---\na: [\n---\n- 1\n---\napiVersion: v1\nkind: C\nkind: D\n---\napiVersion: v1\nkind: E\n"
	docs, errs := ReadDocuments("f.yaml", []byte(text))
	kinds := ""
	for _, d := range docs {
		kinds += d.Kind
	}
	if kinds != "AE" {
		t.Errorf("kinds read: %q", kinds)
	}
	var lines []int
	for _, e := range errs {
		lines = append(lines, e.Line)
		if e.File != "f.yaml" || e.Problem == "" {
			t.Errorf("error without file or problem: %+v", e)
		}
	}
	if diff := cmp.Diff([]int{5, 7, 9, 13}, lines); diff != "" {
		t.Errorf("lines of errors (-want +got): %s\n%v", diff, errs)
	}
}

func TestErrorsNameLines(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"yaml": {"---\n# policies\napiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata:\n  name: a\n  namespace: ns\nspec:\n  ingress:\n  - action: Allow\n    source:\n      nets:\n      - 10.0.0.0/8\n      - 5\n      port: [80]\n",
			[]string{"f:15: NetworkPolicy ns/a: spec.ingress[0].source.port: unknown field; valid: ports",
				"f:14: NetworkPolicy ns/a: spec.ingress[0].source.nets[1]: is a number; valid: a string"}},
		"json": {"{\"apiVersion\": \"projectcalico.org/v3\", \"kind\": \"Tier\",\n\"metadata\": {\"name\": \"a\"},\n\"spec\": {\n\"ordr\": 1, \"order\": 2,\n\"order\": 3}}",
			[]string{"f:4: Tier a: spec.ordr: unknown field; valid: defaultAction, order", "f:4: Tier a: spec.order: is given twice"}},
		"list": {"apiVersion: v1\nkind: List\nitems:\n- apiVersion: projectcalico.org/v3\n  kind: Tier\n  metadata: {name: a}\n  spec:\n    x: 1\n",
			[]string{"f:8: Tier a: spec.x: unknown field; valid: defaultAction, order"}},
		"unknown kind": {"apiVersion: projectcalico.org/v3\nkind: Teir\nmetadata: {name: a}\n", []string{"f:2: Teir: kind: unknown kind; valid: a kind of projectcalico.org/v3"}},
		"wrong group":  {"apiVersion: projectcalico.org/v4\nkind: Tier\nmetadata: {name: a}\n", []string{`f:1: Tier a: apiVersion: is "projectcalico.org/v4"; valid: projectcalico.org/v3`}},
	} {
		docs, errs := ReadDocuments("f", []byte(c.text))
		if len(docs) != 1 || len(errs) > 0 {
			t.Fatalf("%s: %v %v", name, docs, errs)
		}
		o, errs := docs[0].Decode(true)
		if o != nil {
			t.Errorf("%s: an object comes back in spite of errors", name)
		}
		var got []string
		for _, e := range errs {
			got = append(got, e.Error())
		}
		slices.Sort(c.want)
		slices.Sort(got)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
