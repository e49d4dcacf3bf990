package crds

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	yaml3 "go.yaml.in/yaml/v3"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/internal/cli"
)

// group are cases of some kinds, in a file of testdata.
type group struct {
	Kinds []v3.Kind
	Name  string // of the objects; "case" if empty
	Cases []struct {
		Rule      string
		Beyond    string           // the Difference by which the bad ones are refused by felid alone
		Good, Bad []map[string]any // specs
		// Names and Labels, good and bad, of objects with the first good spec, or none.
		Names     []string
		BadNames  []string `yaml:"badNames"`
		Labels    map[string]string
		BadLabels map[string]string `yaml:"badLabels"`
	}
}

// object is one of the corpus, and what is expected of it.
type object struct {
	about  string
	kind   v3.Kind
	fields map[string]any
	good   bool
	beyond string
}

func (o *object) json() string {
	data, err := json.Marshal(o.fields)
	if err != nil {
		panic(err)
	}
	return string(data)
}

func newObject(kind v3.Kind, name string, spec map[string]any) *object {
	metadata := map[string]any{"name": name}
	if info, _ := v3.InfoOf(kind); info.Namespaced {
		metadata["namespace"] = "corpus"
	}
	fields := map[string]any{"apiVersion": v3.APIVersion, "kind": kind, "metadata": metadata}
	if spec != nil {
		fields["spec"] = spec
	}
	return &object{kind: kind, fields: fields}
}

// corpus are the objects of testdata.
func corpus(t *testing.T) []*object {
	t.Helper()
	var objects []*object
	for _, file := range []string{"rules.yaml", "policies.yaml", "network.yaml", "addresses.yaml"} {
		data, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		decoder := yaml3.NewDecoder(bytes.NewReader(data))
		decoder.KnownFields(true)
		for {
			var g group
			err := decoder.Decode(&g)
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			objects = append(objects, g.objects()...)
		}
	}
	return objects
}

func (g *group) objects() []*object {
	name := g.Name
	if name == "" {
		name = "case"
	}
	var objects []*object
	for _, kind := range g.Kinds {
		for i := range g.Cases {
			c := &g.Cases[i]
			add := func(good bool, name string, spec map[string]any, labels map[string]string) {
				o := newObject(kind, name, spec)
				o.about, o.good = fmt.Sprintf("%s: %s", kind, c.Rule), good
				if labels != nil {
					o.fields["metadata"].(map[string]any)["labels"] = labels
				}
				if !good {
					o.beyond = c.Beyond
				}
				objects = append(objects, o)
			}
			for _, spec := range c.Good {
				add(true, name, spec, nil)
			}
			for _, spec := range c.Bad {
				add(false, name, spec, nil)
			}
			for _, name := range c.Names {
				add(true, name, map[string]any{}, nil)
			}
			for _, name := range c.BadNames {
				add(false, name, map[string]any{}, nil)
			}
			if c.Labels != nil {
				add(true, name, map[string]any{}, c.Labels)
			}
			if c.BadLabels != nil {
				add(false, name, map[string]any{}, c.BadLabels)
			}
		}
	}
	return objects
}

// fault is one of what `felid validate -o json` prints.
type fault struct{ Object, Field, Error string }

// validate is `felid validate`: what is wrong with a file.
func validate(t *testing.T, text string) []fault {
	t.Helper()
	var out, errs bytes.Buffer
	app := cli.App{In: strings.NewReader(text), Out: &out, Err: &errs, Env: func(string) (string, bool) { return "", false }}
	code := cli.Main(t.Context(), app, []string{"validate", "-f", "-", "-o", "json"})
	var faults []fault
	if err := json.Unmarshal(out.Bytes(), &faults); err != nil || (code == 0) != (len(faults) == 0) {
		t.Fatalf("felid validate of %s: exit status %d, %v\n%s%s", text, code, err, out.String(), errs.String())
	}
	return faults
}

// create is what the API server says of creating an object, as kubectl asks it to, without creating it.
func create(t *testing.T, c *client, kind v3.Kind, namespace, body string) answer {
	t.Helper()
	return c.do(t, http.MethodPost, collection(kind, namespace)+"?dryRun=All&fieldValidation=Strict", body)
}

// explain names the Difference by which an error of felid's is not the API server's.
func explain(kind v3.Kind, f fault) string {
	for i := range Beyond {
		d := &Beyond[i]
		if d.covers(kind) && d.Field.MatchString(f.Field) && d.Says.MatchString(f.Error) {
			return d.Name
		}
	}
	return ""
}

// compare tells how the verdicts on an object differ: not at all, by Differences, or without a reason.
func compare(kind v3.Kind, faults []fault, server answer) (differences []string, problem string) {
	// An object whose name is taken has been judged before, and found good.
	accepted := server.code < 300 || server.code == http.StatusConflict
	switch {
	case server.code >= 500 || server.code == http.StatusNotFound:
		return nil, "the API server fails: " + server.String()
	case accepted == (len(faults) == 0):
		return nil, ""
	case !accepted:
		return nil, "felid accepts it, the API server does not: " + server.String()
	}
	names := map[string]bool{}
	for _, f := range faults {
		name := explain(kind, f)
		if name == "" {
			return nil, fmt.Sprintf("the API server accepts it, felid does not: %s: %s", f.Field, f.Error)
		}
		names[name] = true
	}
	return slices.Sorted(maps.Keys(names)), ""
}

func TestCorpus(t *testing.T) {
	admin := newClient(t, server(t).Config)
	proven := map[string]bool{}
	said := map[string]bool{}
	bad := 0
	for _, o := range corpus(t) {
		body := o.json()
		faults, answer := validate(t, body), create(t, admin, o.kind, "corpus", body)
		if good := len(faults) == 0; good != o.good {
			t.Errorf("%s\n%s\nfelid: good is %v, want %v: %v", o.about, body, good, o.good, faults)
		}
		differences, problem := compare(o.kind, faults, answer)
		if problem != "" {
			t.Errorf("%s\n%s\n%s", o.about, body, problem)
			continue
		}
		if want := strings.Fields(o.beyond); !slices.Equal(differences, want) {
			t.Errorf("%s\n%s\nis judged otherwise by %v, want %v; felid: %v; API server: %s", o.about, body, differences, want, faults, answer)
		}
		for _, name := range differences {
			proven[name] = true
		}
		if !o.good {
			bad++
		}
		said[answer.message] = true
	}
	for _, d := range Beyond {
		if !proven[d.Name] {
			t.Errorf("no object of the corpus shows the difference %s", d.Name)
		}
	}
	if bad < 300 {
		t.Errorf("only %d bad objects: is the corpus read?", bad)
	}
	everyRuleIsHeard(t, slices.Collect(maps.Keys(said)))
}

// everyRuleIsHeard holds that each rule in CEL of the CRDs, by its message, has refused an object of the corpus.
func everyRuleIsHeard(t *testing.T, said []string) {
	t.Helper()
	messages := map[string]bool{}
	for _, crd := range deployed(t) {
		celMessages(crd.tree, messages)
	}
	if len(messages) < 30 {
		t.Errorf("only %d messages of rules found in deploy/crds", len(messages))
	}
	for _, message := range slices.Sorted(maps.Keys(messages)) {
		if !slices.ContainsFunc(said, func(s string) bool { return strings.Contains(s, message) }) && !onUpdate[message] {
			t.Errorf("no object of the corpus is refused with %q", message)
		}
	}
}

// onUpdate are rules that compare with what was there; TestPoolsKeepTheirRange is theirs.
var onUpdate = map[string]bool{
	"can't be changed; make another pool and delete this one":           true,
	"blockSize can't be changed; make another pool and delete this one": true,
}

// celMessages collects the messages of all x-kubernetes-validations below a part of a CRD.
func celMessages(at any, messages map[string]bool) {
	switch at := at.(type) {
	case []any:
		for _, below := range at {
			celMessages(below, messages)
		}
	case map[string]any:
		rules, _ := at["x-kubernetes-validations"].([]any)
		for _, rule := range rules {
			message, _ := rule.(map[string]any)["message"].(string)
			messages[message] = true
		}
		for _, below := range at {
			celMessages(below, messages)
		}
	}
}
