package crds

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	v3 "github.com/felid-net/felid/api/v3"
)

// crd is a file of deploy/crds.
type crd struct {
	apiextensionsv1.CustomResourceDefinition
	file string
	tree map[string]any
}

func deployed(t *testing.T) []crd {
	t.Helper()
	files, err := filepath.Glob("../../deploy/crds/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no CRDs: %v", err)
	}
	crds := make([]crd, len(files))
	for i, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		c := &crds[i]
		c.file = filepath.Base(file)
		if err := yaml.UnmarshalStrict(data, &c.CustomResourceDefinition); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if err := yaml.Unmarshal(data, &c.tree); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	return crds
}

// names is what a CRD says of its kind, apart from its schema.
type names struct {
	Kind, List, Plural, Singular string
	Short                        []string
	Scope                        apiextensionsv1.ResourceScope
	Categories                   []string
	Versions                     []string
	Label                        string
}

func namesOf(c *crd) names {
	n := c.Spec.Names
	got := names{n.Kind, n.ListKind, n.Plural, n.Singular, n.ShortNames, c.Spec.Scope, n.Categories, nil, c.Labels["app.kubernetes.io/managed-by"]}
	for _, v := range c.Spec.Versions {
		got.Versions = append(got.Versions, v.Name)
	}
	return got
}

// views are kinds of the table that the API server does not keep.
var views = []v3.Kind{v3.KindNode, v3.KindWorkloadEndpoint}

func TestKindsAreThoseOfTheTable(t *testing.T) {
	want := map[string]names{}
	for _, info := range v3.Kinds() {
		if info.View || slices.Contains(views, info.Kind) {
			continue
		}
		scope := apiextensionsv1.ClusterScoped
		if info.Namespaced {
			scope = apiextensionsv1.NamespaceScoped
		}
		kind := string(info.Kind)
		want[kind] = names{kind, kind + "List", info.Plural, strings.ToLower(kind), info.Short, scope, []string{"felid"}, []string{"v3"}, "felid"}
	}
	got := map[string]names{}
	for _, c := range deployed(t) {
		if c.Spec.Group == v3.Group {
			got[c.Spec.Names.Kind] = namesOf(&c)
		}
		if c.Labels["app.kubernetes.io/managed-by"] != "felid" || !slices.Contains(c.Spec.Names.Categories, "felid") {
			t.Errorf("%s lacks the label or the category", c.file)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("CRDs (-want +got):\n%s", diff)
	}
}
