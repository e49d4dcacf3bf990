package local

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	v3 "github.com/felid-net/felid/api/v3"
)

// write makes a file below dir.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

const mixed = `# comment
apiVersion: projectcalico.org/v3
kind: Tier
metadata: {name: app}
spec: {order: 100}
---
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Namespace
  metadata: {name: web, labels: {team: a}}
- apiVersion: v1
  kind: Pod
  metadata: {name: web-1, namespace: web, labels: {app: web}}
  spec: {containers: [{name: c, ports: [{name: http, containerPort: 80}]}]}
  status: {podIP: 10.0.0.1}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: d}
--- {"apiVersion": "projectcalico.org/v3", "kind": "BGPPeer", "metadata": {"name": "p"}, "spec": {"peerIP": "1.2.3.4"}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: np, namespace: web}
spec: {podSelector: {}}
`

func TestReadFiles(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a/mixed.yaml", mixed)
	write(t, dir, "b/record.json", `{"kind":"WorkloadEndpoint","apiVersion":"projectcalico.org/v3","metadata":{"name":"web-1","namespace":"web"},`+
		`"spec":{"pod":"web-1","endpoint":"eth0","containerID":"c1","interfaceName":"fld1","ipNetworks":["10.0.0.9/32"],"node":"n1"}}`)
	write(t, dir, "b/.hidden.yaml", "kind: ]")
	write(t, dir, "b/notes.txt", "kind: ]")
	objects, faults, err := ReadFiles(dir)
	if err != nil || len(faults) > 0 {
		t.Fatal(err, faults)
	}
	type row struct {
		key    v3.Key
		origin string
		line   int
	}
	var got []row
	for _, f := range objects.Found {
		got = append(got, row{v3.KeyOf(f.Object), f.Origin, f.Line})
	}
	want := []row{
		{v3.Key{Kind: "Tier", Name: "app"}, "", 1},
		{v3.Key{Kind: "Profile", Name: "kns.web"}, "Namespace web", 7},
		{v3.Key{Kind: "WorkloadEndpoint", Namespace: "web", Name: "web-1"}, "", 1},
		{v3.Key{Kind: "BGPPeer", Name: "p"}, "", 22},
		{v3.Key{Kind: "KubernetesNetworkPolicy", Namespace: "web", Name: "np"}, "NetworkPolicy web/np", 24},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(row{})); diff != "" {
		t.Fatal(diff)
	}
	wep := objects.Found[2].Object.(*v3.WorkloadEndpoint)
	if wep.Labels["app"] != "web" || wep.Spec.IPNetworks[0] != "10.0.0.9/32" || len(wep.Spec.Ports) != 1 {
		t.Errorf("pod and record are not merged: %+v", wep)
	}
	if objects.Foreign["apps/v1 Deployment"] != 1 || len(objects.NotEnforced) != 1 || len(objects.Raw) != 3 {
		t.Errorf("foreign %v, not enforced %v, raw %d", objects.Foreign, objects.NotEnforced, len(objects.Raw))
	}
}

func TestReadFilesErrors(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"unknown field", "apiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {name: a}\nspec:\n  ordre: 1\n", "f.yaml:5: Tier a: spec.ordre:"},
		{"syntax", "kind: Tier\n---\napiVersion: v1\nkind: [\n", "f.yaml:4: not YAML"},
		{"tab", "---\n---\nkind: Tier\nspec:\n\torder: 1\n", "f.yaml:5: not YAML"},
		{"unknown kind", "apiVersion: projectcalico.org/v3\nkind: NetworkPolice\nmetadata: {name: a}\n", "f.yaml:2: NetworkPolice: kind:"},
		{"no kind", "apiVersion: projectcalico.org/v3\nmetadata: {name: a}\n", "kind"},
		{"no name", "\napiVersion: projectcalico.org/v3\nkind: Tier\n", "f.yaml:2: Tier: metadata.name: is missing"},
		{"scalar", "hello\n", "f.yaml:1: is not an object"},
		{"twice", "apiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {name: a}\n---\napiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {name: a}\n",
			"f.yaml:5: Tier a: is also in "},
		{"in a list", "apiVersion: v1\nkind: List\nitems:\n- apiVersion: projectcalico.org/v3\n  kind: Tier\n  metadata: {name: a}\n  spec: {oder: 1}\n",
			"f.yaml:7: Tier a: spec.oder:"},
		{"kubernetes policy", "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: a, namespace: b}\nspec: {podSelectr: {}}\n",
			"f.yaml:4: NetworkPolicy b/a: spec.podSelectr:"},
		{"duplicate key", "kind: Tier\nkind: Tier\n", "f.yaml:2: not YAML"},
		{"truncated json", `{"kind":"Tier","apiVersion":"projectcalico.org/v3","metadata":{"name":"a"`, "f.yaml:1: not YAML"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := write(t, t.TempDir(), "f.yaml", test.text)
			_, faults, err := ReadFiles(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range faults {
				if strings.Contains(f.Error(), test.want) {
					return
				}
			}
			t.Errorf("got %v, want an error with %q", faults, test.want)
		})
	}
}

func TestReadFilesNoSuchFile(t *testing.T) {
	if _, _, err := ReadFiles(filepath.Join(t.TempDir(), "no")); err == nil {
		t.Fatal("no error for a file that is not there")
	}
}
