package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

// rawObjects of the kinds that Kubernetes writes.
const rawObjects = `apiVersion: v1
kind: Namespace
metadata: {name: web}
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: web, labels: {app: web}}
spec: {nodeName: n1, containers: [{name: c, ports: [{name: http, containerPort: 80}]}]}
status: {podIP: 10.0.0.1}
---
apiVersion: v1
kind: Pod
metadata: {name: on-host, namespace: web}
spec: {nodeName: n1, hostNetwork: true, containers: [{name: c}]}
status: {podIP: 192.0.2.1}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: np, namespace: web}
spec: {podSelector: {matchLabels: {app: web}}}
---
apiVersion: v1
kind: Service
metadata: {name: svc, namespace: web}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: svc-1, namespace: web, labels: {kubernetes.io/service-name: svc}}
addressType: IPv4
endpoints: [{addresses: [10.0.0.1]}]
ports: [{name: http, port: 80, protocol: TCP}]
`

func rawsOf(t *testing.T, text string) []Raw {
	t.Helper()
	found, faults := Parse("raw.yaml", []byte(text))
	if len(faults) > 0 || len(found.Raw) == 0 {
		t.Fatalf("%d objects, %v", len(found.Raw), faults)
	}
	return found.Raw
}

func openRaw(t *testing.T) (*Store, string) {
	t.Helper()
	dir := t.TempDir()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, dir
}

// put checks what PutRaw says or, with want an error, why it fails; CheckRaw must have known before.
func putRaw(t *testing.T, s *Store, raw Raw, mode PutMode, want any) {
	t.Helper()
	checked := s.CheckRaw(t.Context(), raw, mode)
	what, err := s.PutRaw(t.Context(), raw, mode)
	if fmt.Sprint(checked) != fmt.Sprint(err) {
		t.Errorf("%s: CheckRaw says %v, PutRaw %v", raw.Origin, checked, err)
	}
	switch want := want.(type) {
	case error:
		if !errors.Is(err, want) || !strings.Contains(err.Error(), raw.Origin) {
			t.Errorf("%s: %v, want %v", raw.Origin, err, want)
		}
	case string:
		if err != nil || what != want {
			t.Errorf("%s: %q, %v, want %q", raw.Origin, what, err, want)
		}
	}
}

func TestPutRawModes(t *testing.T) {
	s, dir := openRaw(t)
	views := []v3.Key{
		{Kind: v3.KindProfile, Name: "kns.web"}, {Kind: v3.KindWorkloadEndpoint, Namespace: "web", Name: "web-1"},
		{Kind: v3.KindKubernetesNetworkPolicy, Namespace: "web", Name: "np"},
	}
	for _, raw := range rawsOf(t, rawObjects) {
		putRaw(t, s, raw, PutReplace, datastore.ErrNotFound)
		putRaw(t, s, raw, PutDelete, datastore.ErrNotFound)
		putRaw(t, s, raw, PutCreate, "created")
		putRaw(t, s, raw, PutCreate, datastore.ErrExists)
		putRaw(t, s, raw, PutApply, "applied")
		putRaw(t, s, raw, PutReplace, "replaced")
	}
	for _, key := range views {
		if _, err := s.Get(t.Context(), key); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"Namespace/web.json", "Pod/web/web-1.json", "Pod/web/on-host.json", "KubernetesNetworkPolicy/web/np.json"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	for _, raw := range rawsOf(t, rawObjects) {
		putRaw(t, s, raw, PutDelete, "deleted")
	}
	for _, key := range views {
		if _, err := s.Get(t.Context(), key); !errors.Is(err, datastore.ErrNotFound) {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// TestPutRawInPlace: an object in a file that somebody wrote is changed there.
func TestPutRawInPlace(t *testing.T) {
	s, dir := openRaw(t)
	path := write(t, dir, "mine.yaml", "# ours\n"+rawObjects)
	pod := rawsOf(t, strings.ReplaceAll(strings.Split(rawObjects, "---\n")[1], "app: web", "app: other"))[0]
	putRaw(t, s, pod, PutApply, "applied")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if text := string(data); !strings.HasPrefix(text, "# ours\n") || !strings.Contains(text, "app: other") || !strings.Contains(text, "on-host") {
		t.Errorf("the file is now\n%s", text)
	}
	if _, err := os.Stat(filepath.Join(dir, "Pod")); err == nil {
		t.Error("there is a second file")
	}
	o, err := s.Get(t.Context(), v3.Key{Kind: v3.KindWorkloadEndpoint, Namespace: "web", Name: "web-1"})
	if err != nil || o.GetLabels()["app"] != "other" {
		t.Errorf("%v, %v", o, err)
	}
}

// TestPutRawFinishedPod: a pod that has finished is no endpoint, wherever it stands.
func TestPutRawFinishedPod(t *testing.T) {
	key := v3.Key{Kind: v3.KindWorkloadEndpoint, Namespace: "web", Name: "web-1"}
	one := strings.Split(rawObjects, "---\n")[1]
	finished := rawsOf(t, strings.Replace(one, "status: {", "status: {phase: Succeeded, ", 1))[0]
	for _, name := range []string{"Pod/web/web-1.json", "mine.yaml"} {
		s, dir := openRaw(t)
		text := string(rawsOf(t, one)[0].JSON)
		if name == "mine.yaml" {
			text = rawObjects
		}
		write(t, dir, name, text)
		if _, err := s.Get(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		putRaw(t, s, finished, PutApply, "applied")
		if _, err := s.Get(t.Context(), key); !errors.Is(err, datastore.ErrNotFound) {
			t.Errorf("%s: it is an endpoint yet: %v", name, err)
		}
	}
}

// TestPutRawBesideARecord: the record of a pod's sandbox stays as it is, and is merged.
func TestPutRawBesideARecord(t *testing.T) {
	s, _ := openRaw(t)
	record := &v3.WorkloadEndpoint{}
	record.Namespace, record.Name = "web", "web-1"
	record.Spec = v3.WorkloadEndpointSpec{
		Pod: "web-1", Endpoint: "eth0", ContainerID: "c1", Node: "n1", InterfaceName: "fld1", IPNetworks: []string{"10.9.9.9/32"},
	}
	if _, err := s.Create(t.Context(), record); err != nil {
		t.Fatal(err)
	}
	pod := rawsOf(t, strings.Split(rawObjects, "---\n")[1])[0]
	putRaw(t, s, pod, PutApply, "created")
	o, err := s.Get(t.Context(), v3.KeyOf(record))
	if err != nil {
		t.Fatal(err)
	}
	if wep := o.(*v3.WorkloadEndpoint); wep.Labels["app"] != "web" || wep.Spec.IPNetworks[0] != "10.9.9.9/32" || wep.Spec.InterfaceName != "fld1" {
		t.Errorf("merged: %+v", wep)
	}
	putRaw(t, s, pod, PutDelete, "deleted")
	if o, err = s.Get(t.Context(), v3.KeyOf(record)); err != nil || o.GetLabels()["app"] != "" {
		t.Errorf("%v, %v", o, err)
	}
}

// TestPutRawRefuses: what can't be told apart or read is not overwritten.
func TestPutRawRefuses(t *testing.T) {
	one := strings.Split(rawObjects, "---\n")[1]
	pod := rawsOf(t, one)[0]
	for problem, files := range map[string]map[string]string{
		"valid: an object in one file, once": {"a.yaml": one, "b.yaml": one},
		"can't be read":                      {"Pod/web/web-1.json": `{"kind":"Pod"`},
		"is an item of a List": {"list.yaml": "apiVersion: v1\nkind: List\nitems:\n" +
			"- {apiVersion: v1, kind: Pod, metadata: {name: web-1, namespace: web}, status: {podIP: 10.0.0.1}}\n" +
			"- {apiVersion: v1, kind: Namespace, metadata: {name: web}}\n"},
	} {
		s, dir := openRaw(t)
		for name, text := range files {
			write(t, dir, name, text)
		}
		if _, err := s.PutRaw(t.Context(), pod, PutApply); err == nil || !strings.Contains(err.Error(), problem) {
			t.Errorf("%v, want %q", err, problem)
		}
	}
	s, _ := openRaw(t)
	if _, err := s.PutRaw(t.Context(), Raw{Origin: "Pod web/web-1", JSON: []byte(`{"apiVersion":"v1","kind":"Pod","metadata":3}`)}, PutApply); !errors.Is(err, datastore.ErrInvalid) {
		t.Errorf("broken: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.PutRaw(ctx, pod, PutApply); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestGroupsOfKubernetes: kinds that felid knows of are stored, those that nobody knows are errors, and the others are left alone.
func TestGroupsOfKubernetes(t *testing.T) {
	found, faults := Parse("f.yaml", []byte(`apiVersion: policy.networking.k8s.io/v1alpha1
kind: AdminNetworkPolicy
metadata: {name: anp}
spec: {priority: 1}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: i}
---
apiVersion: projectcalico.org/v3
kind: TierList
items:
- {apiVersion: projectcalico.org/v3, kind: Tier, metadata: {name: a}}
- {metadata: {name: b}}
`))
	if len(faults) > 0 || len(found.Raw) != 1 || len(found.Found) != 2 || found.Foreign["networking.k8s.io/v1 Ingress"] != 1 {
		t.Errorf("%+v, %v", found, faults)
	}
	if found.Raw[0].Enforced() {
		t.Error("an AdminNetworkPolicy is not enforced")
	}
	s, dir := openRaw(t)
	putRaw(t, s, found.Raw[0], PutApply, "created")
	putRaw(t, s, found.Raw[0], PutApply, "applied")
	if _, err := os.Stat(filepath.Join(dir, "AdminNetworkPolicy", "anp.json")); err != nil {
		t.Error(err)
	}
	for _, meta := range []string{
		"policy.networking.k8s.io/v1alpha1 NetworkPolicy", "policy.networking.k8s.io/v9 AdminNetworkPolicy", "networking.k8s.io/v1 NetworkPolice",
		"networking.k8s.io/v1beta1 NetworkPolicy", "projectcalico.org/v3 Gadget",
	} {
		group, kind, _ := strings.Cut(meta, " ")
		_, faults := Parse("f.yaml", []byte("apiVersion: "+group+"\nkind: "+kind+"\nmetadata: {name: a}\n"))
		if len(faults) != 1 || faults[0].Line != 2 || faults[0].Valid == "" {
			t.Errorf("%s: %v", meta, faults)
		}
	}
}
