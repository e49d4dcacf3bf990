package oldest

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/cel-go/cel"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	kyaml "k8s.io/apimachinery/pkg/util/yaml"
	plugin "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/cel/environment"
	"sigs.k8s.io/yaml"
)

// each hands the documents of the YAML files of a folder of deploy to a function.
func each(t *testing.T, folder string, with func(file string, document []byte)) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("../../../deploy", folder, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("deploy/%s: no files: %v", folder, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		reader := kyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
		for {
			document, err := reader.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			with(filepath.Base(file), document)
		}
	}
}

func TestCRDs(t *testing.T) {
	each(t, "crds", func(file string, document []byte) {
		var written apiextensionsv1.CustomResourceDefinition
		if err := yaml.UnmarshalStrict(document, &written); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		apiextensionsv1.SetDefaults_CustomResourceDefinition(&written)
		apiextensionsv1.SetDefaults_CustomResourceDefinitionSpec(&written.Spec)
		written.Status.StoredVersions = []string{written.Spec.Versions[0].Name}
		var crd apiextensions.CustomResourceDefinition
		if err := apiextensionsv1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(&written, &crd, nil); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, err := range validation.ValidateCustomResourceDefinition(t.Context(), &crd) {
			t.Errorf("%s: %v", file, err)
		}
	})
}

// expression is one of an admission policy, and what it has to yield.
type expression struct {
	name, text string
	yields     []*cel.Type
}

func (e expression) GetName() string          { return e.name }
func (e expression) GetExpression() string    { return e.text }
func (e expression) ReturnTypes() []*cel.Type { return e.yields }

func TestAdmissionPolicies(t *testing.T) {
	n := 0
	each(t, "policies", func(file string, document []byte) {
		var p admissionv1.ValidatingAdmissionPolicy
		if err := yaml.Unmarshal(document, &p); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if p.Kind == "ValidatingAdmissionPolicy" {
			n += compile(t, file+": "+p.Name, &p.Spec)
		}
	})
	if n < 20 {
		t.Errorf("only %d expressions compiled", n)
	}
}

// compile compiles all expressions of a policy, as the API server does when it is created, and counts them.
func compile(t *testing.T, name string, spec *admissionv1.ValidatingAdmissionPolicySpec) int {
	t.Helper()
	compiler, err := plugin.NewCompositedCompiler(environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion(), true))
	if err != nil {
		t.Fatal(err)
	}
	options := plugin.OptionalVariableDeclarations{HasAuthorizer: true, StrictCost: true}
	n := 0
	check := func(result plugin.CompilationResult, text string) {
		n++
		if result.Error != nil {
			t.Errorf("%s: %s\n%v", name, text, result.Error)
		}
	}
	one := func(text string, yields *cel.Type) {
		check(compiler.CompileCELExpression(expression{text: text, yields: []*cel.Type{yields}}, options, environment.NewExpressions), text)
	}
	for _, c := range spec.MatchConditions {
		one(c.Expression, cel.BoolType)
	}
	for _, v := range spec.Variables {
		check(compiler.CompileAndStoreVariable(expression{v.Name, v.Expression, []*cel.Type{cel.AnyType, cel.DynType}}, options, environment.NewExpressions), v.Expression)
	}
	for _, v := range spec.Validations {
		one(v.Expression, cel.BoolType)
		if v.MessageExpression != "" {
			one(v.MessageExpression, cel.StringType)
		}
	}
	return n
}
