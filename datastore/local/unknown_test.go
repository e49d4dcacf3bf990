package local

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	v3 "github.com/felid-net/felid/api/v3"
)

// TestUnknownFieldOfAPolicy: a misspelt selector makes a policy one for everybody, which must not pass unsaid. What is in rules is
// judged, and said, by policy.
func TestUnknownFieldOfAPolicy(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"p.yaml": "kind: NetworkPolicy\nmetadata: {name: p, namespace: a}\nspec:\n  selectr: app == 'db'\n  ingress: [{action: Allow}]\n",
		"q.yaml": "kind: GlobalNetworkPolicy\nmetadata: {name: q}\nspec:\n  ingress: [{action: Allow, sorce: {}}]\n",
		"t.yaml": "kind: Tier\nmetadata: {name: t}\nspec: {colour: red}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("apiVersion: projectcalico.org/v3\n"+text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Open(dir, Options{Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	for kind, faults := range map[v3.Kind]int{v3.KindNetworkPolicy: 1, v3.KindGlobalNetworkPolicy: 0, v3.KindTier: 0} {
		list, err := s.List(t.Context(), kind, "")
		if err != nil || len(list.Objects) != 1 || len(list.Faults) != faults {
			t.Errorf("%s: %v, %v, %v", kind, list.Objects, list.Faults, err)
		}
		for _, f := range list.Faults {
			if text := f.String(); f.Line != 5 || !strings.Contains(text, "spec.selectr") || !strings.Contains(text, "unknown field") {
				t.Errorf("%q", text)
			}
		}
	}
}
