package crds

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/test/kubernetes"
)

// withoutRules is a CRD that takes anything.
func withoutRules(t *testing.T, c *crd) string {
	t.Helper()
	data, err := json.Marshal(c.tree)
	if err != nil {
		t.Fatal(err)
	}
	var lax map[string]any
	if err := json.Unmarshal(data, &lax); err != nil {
		t.Fatal(err)
	}
	version := lax["spec"].(map[string]any)["versions"].([]any)[0].(map[string]any)
	version["schema"] = map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}}
	if data, err = json.Marshal(lax); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), c.file)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// Objects from before our CRDs, which would be refused today, are kept, can be edited beside what is wrong with them, and got rid of.
func TestOldObjectsStayEditable(t *testing.T) {
	s := kubernetes.Start(t, kubernetes.Options{})
	for _, c := range deployed(t) {
		if c.Spec.Group == v3.Group {
			s.Apply(t, withoutRules(t, &c))
		}
	}
	s.AwaitCRDs(t)
	s.Namespace(t, "old")
	admin := newClient(t, s.Config)
	policies, sets := collection(v3.KindNetworkPolicy, "old"), collection(v3.KindGlobalNetworkSet, "")
	bad := manifest(v3.KindNetworkPolicy, "old", "p", `{"tier":"a.b","ingress":[{"action":"Allow","priority":3,"icmp":{"type":8},"source":{"nets":["10.0.0.0/8","fd00::/8"]}}]}`)
	admin.must(t, http.MethodPost, policies, bad, 201)
	labelled := `{"apiVersion":"projectcalico.org/v3","kind":"GlobalNetworkSet","metadata":{"name":"s","labels":{"projectcalico.org/namespace":"x"}},"spec":{"nets":["x"]}}`
	admin.must(t, http.MethodPost, sets, labelled, 201)

	s.InstallCRDs(t)
	s.Apply(t, "../../deploy/policies")
	within(t, time.Minute, func() string {
		for path, object := range map[string]string{policies: bad, sets: labelled} {
			if a := admin.do(t, http.MethodPost, path+"?dryRun=All", object); a.code != http.StatusUnprocessableEntity {
				return "the same is still accepted as new: " + a.String()
			}
		}
		return ""
	})
	admin.must(t, http.MethodPatch, policies+"/p", `{"metadata":{"labels":{"a":"b"}},"spec":{"order":5}}`, 200)
	admin.must(t, http.MethodPatch, sets+"/s", `{"metadata":{"labels":{"a":"b"}}}`, 200)
	admin.invalid(t, http.MethodPatch, policies+"/p", `{"spec":{"tier":"c.d"}}`, "spec.tier")
	admin.invalid(t, http.MethodPatch, policies+"/p", `{"spec":{"ingress":[{"action":"Allow","icmp":{"type":9}}]}}`, "need protocol ICMP")
	admin.must(t, http.MethodPatch, policies+"/p", `{"spec":{"tier":"c","ingress":[]}}`, 200)
	admin.must(t, http.MethodDelete, policies+"/p", "", 200)
	admin.must(t, http.MethodDelete, sets+"/s", "", 200)
}
