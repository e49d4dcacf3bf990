package crds

import (
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/test/kubernetes"
)

// documents are those in files of ours, of kinds that the API server keeps: the examples, and the resources of the shared cases.
func documents(t *testing.T) []v3.Document {
	t.Helper()
	var docs []v3.Document
	add := func(name string, text []byte) {
		more, errs := v3.ReadDocuments(name, text)
		if len(errs) > 0 {
			t.Fatalf("%s: %v", name, errs)
		}
		for _, d := range more {
			info, ok := v3.InfoOf(v3.Kind(d.Kind))
			if d.APIVersion == v3.APIVersion && ok && !info.View && !slices.Contains(views, info.Kind) {
				docs = append(docs, d)
			}
		}
	}
	for _, pattern := range []string{"../examples/*.yaml", "../../dataplane/dptest/testdata/*.txtar"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no files: %v", pattern, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if filepath.Ext(file) == ".yaml" {
				add(file, data)
				continue
			}
			for _, part := range txtar.Parse(data).Files {
				if strings.HasSuffix(part.Name, ".yaml") {
					add(file, part.Data)
				}
			}
		}
	}
	return docs
}

// TestCasesAreJudgedAlike gives the API server what the shared cases, which agents have to cope with, and the examples are made of.
func TestCasesAreJudgedAlike(t *testing.T) {
	s := server(t)
	admin := newClient(t, s.Config)
	namespaces := map[string]bool{}
	refused, accepted := 0, 0
	for _, d := range documents(t) {
		if d.Namespace != "" && !namespaces[d.Namespace] {
			s.Namespace(t, d.Namespace)
			namespaces[d.Namespace] = true
		}
		kind := v3.Kind(d.Kind)
		faults, answer := validate(t, string(d.JSON)), create(t, admin, kind, d.Namespace, string(d.JSON))
		if _, problem := compare(kind, faults, answer); problem != "" {
			t.Errorf("%s:%d: %s\n%s", d.File, d.Line, problem, d.JSON)
		}
		if answer.code < 300 {
			accepted++
		} else {
			refused++
		}
	}
	if accepted < 300 || refused < 10 {
		t.Errorf("%d objects are accepted and %d refused: are the cases read?", accepted, refused)
	}
}

// TestExamplesApply applies the examples as their reader does, with kubectl, unchanged, and again.
func TestExamplesApply(t *testing.T) {
	s := kubernetes.Start(t, kubernetes.Options{})
	s.InstallCRDs(t)
	s.Apply(t, "../../deploy/policies")
	for _, namespace := range []string{"production", "web-ns", "my-namespace"} {
		s.Namespace(t, namespace)
	}
	first := s.Kubectl(t, "apply", "-f", "../examples")
	if n := strings.Count(first, " created\n"); n != 16 || strings.Count(first, "\n") != n {
		t.Errorf("the first time says\n%s", first)
	}
	second := s.Kubectl(t, "apply", "-f", "../examples")
	if n := strings.Count(second, " unchanged\n"); n != 16 || strings.Count(second, "\n") != n {
		t.Errorf("the second time says\n%s", second)
	}
	admin := newClient(t, s.Config)
	pool := decoded[v3.IPPool](t, admin, v3.KindIPPool, "", "dmz-pool")
	if got := pool.Spec; got.VXLANMode != v3.EncapNever || got.AssignmentMode != "Automatic" || !slices.Equal(got.AllowedUses, []string{"Workload", "Tunnel"}) {
		t.Errorf("the pool is stored without its defaults: %+v", got)
	}
	s.Kubectl(t, "delete", "--wait=false", "-f", "../examples") // nothing empties the namespace
	if left := s.Kubectl(t, "get", "felid", "-A", "-o", "name"); strings.Contains(left, "/") {
		t.Errorf("left are\n%s", left)
	}
}

// decoded is an object as the API server has it.
func decoded[T any](t *testing.T, c *client, kind v3.Kind, namespace, name string) *T {
	t.Helper()
	a := c.must(t, http.MethodGet, collection(kind, namespace)+"/"+name, "", 200)
	o, errs := v3.DecodeJSON(kind, a.body, false)
	if len(errs) > 0 {
		t.Fatalf("%s %s: %v", kind, name, errs)
	}
	return any(o).(*T)
}

// What kinds known by name alone hold is kept as it is written, status and all.
func TestNamedKindsAreKeptAsWritten(t *testing.T) {
	admin := newClient(t, server(t).Config)
	for _, info := range v3.Kinds() {
		if info.New != nil {
			continue
		}
		body := `{"apiVersion":"projectcalico.org/v3","kind":"` + string(info.Kind) + `","metadata":{"name":"any"},"spec":{"a":{"b":[1,"x",null]}},"status":{"c":true},"other":1}`
		a := create(t, admin, info.Kind, "corpus", body)
		o, errs := v3.DecodeJSON(info.Kind, a.body, true)
		if a.code != 201 || len(errs) > 0 {
			t.Errorf("%s: %s %v", info.Kind, a, errs)
			continue
		}
		kept := o.(*v3.Unenforced).Content
		for name, want := range map[string]string{"spec": `{"a":{"b":[1,"x",null]}}`, "status": `{"c":true}`, "other": "1"} {
			if string(kept[name]) != want {
				t.Errorf("%s keeps %v", info.Kind, slices.Sorted(maps.Keys(kept)))
			}
		}
	}
}
