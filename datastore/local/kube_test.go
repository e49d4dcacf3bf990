package local

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

const podYAML = `apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: web, labels: {app: LABEL}}
spec:
  nodeName: n1
  containers: [{name: c, image: i, ports: [{name: http, containerPort: 80}]}]
`

func podWith(label string) string { return strings.ReplaceAll(podYAML, "LABEL", label) }

func record(name, iface, address string) *v3.WorkloadEndpoint {
	w := &v3.WorkloadEndpoint{Spec: v3.WorkloadEndpointSpec{Node: "n1", Pod: "web-1", Endpoint: iface, ContainerID: "c1",
		InterfaceName: "fld" + iface, IPNetworks: []string{address}}}
	w.Namespace, w.Name = "web", name
	w.Labels = map[string]string{"from": "args"}
	return w
}

func (p *picture) endpoint(name string) *v3.WorkloadEndpoint {
	w, _ := p.objects[v3.Key{Kind: v3.KindWorkloadEndpoint, Namespace: "web", Name: name}].(*v3.WorkloadEndpoint)
	if w == nil {
		return &v3.WorkloadEndpoint{}
	}
	return w
}

func TestPodAndRecordAreOneEndpoint(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	p := follow(t, s)
	first, err := s.Create(t.Context(), record("web-1", "eth0", "10.0.0.1/32"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Create(t.Context(), record("web-1+net1", "net1", "10.9.0.1/32")); err != nil {
		t.Fatal(err)
	}
	p.until("both records", func() bool {
		return p.endpoint("web-1").Labels["from"] == "args" && p.endpoint("web-1+net1").Name != ""
	})

	write(t, dir, "pods.yaml", podWith("web"))
	p.until("labels of the pod on both", func() bool {
		return p.endpoint("web-1").Labels["app"] == "web" && p.endpoint("web-1+net1").Labels["app"] == "web"
	})
	if w := p.endpoint("web-1"); w.Spec.IPNetworks[0] != "10.0.0.1/32" || len(w.Spec.Ports) != 1 || w.Labels["from"] != "" {
		t.Errorf("merged: %+v", w)
	}
	write(t, dir, "pods.yaml", podWith("db"))
	p.until("a new label on both", func() bool {
		return p.endpoint("web-1").Labels["app"] == "db" && p.endpoint("web-1+net1").Labels["app"] == "db"
	})

	changed := p.endpoint("web-1").Copy().(*v3.WorkloadEndpoint)
	changed.Spec.IPNetworks = []string{"10.0.0.2/32"}
	if _, err := s.Update(t.Context(), changed); err != nil {
		t.Fatalf("Update by the revision of the merged object: %v", err)
	}
	if _, err := s.Update(t.Context(), first); !errors.Is(err, datastore.ErrConflict) {
		t.Errorf("Update by an old revision: %v", err)
	}
	p.until("the new address", func() bool { return p.endpoint("web-1").Spec.IPNetworks[0] == "10.0.0.2/32" })

	key := v3.KeyOf(first)
	if err := s.Delete(t.Context(), key, ""); err != nil {
		t.Fatal(err)
	}
	p.until("the pod alone", func() bool { return p.endpoint("web-1").Name != "" && p.endpoint("web-1").Spec.InterfaceName == "" })
	if err := s.Delete(t.Context(), key, ""); !errors.Is(err, datastore.ErrNotFound) {
		t.Errorf("Delete without a record: %v", err)
	}
	if _, err := s.Create(t.Context(), record("web-1", "eth0", "10.0.0.3/32")); err != nil {
		t.Errorf("Create of the record of a pod: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "pods.yaml")); err != nil {
		t.Fatal(err)
	}
	p.until("the labels of the args", func() bool {
		return p.endpoint("web-1").Labels["from"] == "args" && p.endpoint("web-1+net1").Labels["from"] == "args"
	})
}

func TestKubernetesObjectsAreViews(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "k.yaml", `apiVersion: v1
kind: Namespace
metadata: {name: web, labels: {team: a}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: sa, namespace: web}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: np, namespace: web}
spec: {podSelector: {}}
---
apiVersion: v1
kind: Service
metadata: {name: svc, namespace: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
addressType: IPv4
metadata: {name: svc-1, namespace: web, labels: {kubernetes.io/service-name: svc}}
endpoints: [{addresses: [10.0.0.1]}]
ports: [{port: 80, protocol: TCP}]
---
apiVersion: v1
kind: Node
metadata: {name: n1}
status: {addresses: [{type: InternalIP, address: 192.0.2.1}]}
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: np, namespace: web}
`)
	s := openStore(t, dir)
	p := follow(t, s)
	want := []v3.Key{
		{Kind: v3.KindProfile, Name: "kns.web"}, {Kind: v3.KindProfile, Name: "ksa.web.sa"},
		{Kind: v3.KindKubernetesNetworkPolicy, Namespace: "web", Name: "np"}, {Kind: v3.KindNetworkPolicy, Namespace: "web", Name: "np"},
		{Kind: v3.KindServiceEndpoints, Namespace: "web", Name: "svc"}, {Kind: v3.KindServiceEndpoints, Namespace: "web", Name: "svc/svc-1"},
		{Kind: v3.KindNode, Name: "n1"},
	}
	for _, key := range want {
		if p.objects[key] == nil || p.objects[key].GetResourceVersion() == "" {
			t.Errorf("%s is missing, or has no revision", key)
		}
	}
	if len(p.objects) != len(want) || len(p.faults) > 0 {
		t.Errorf("have %v, faults %v", p.objects, p.faults)
	}
	profile := p.objects[want[0]].Copy()
	if _, err := s.Update(t.Context(), profile); !errors.Is(err, datastore.ErrUnsupported) {
		t.Errorf("Update of a view: %v; want ErrUnsupported", err)
	}
	write(t, dir, "profile.yaml", "apiVersion: projectcalico.org/v3\nkind: Profile\nmetadata: {name: kns.web}\n")
	p.until("a profile beside its namespace is a fault", func() bool { return p.fault("Profile kns.web: is in k.yaml and in profile.yaml") })
}

func TestPutRaw(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	p := follow(t, s)
	apply := func(text string) error {
		t.Helper()
		objects, faults := Parse("in.yaml", []byte(text))
		if len(faults) > 0 || len(objects.Raw) != 1 {
			t.Fatal(faults, objects)
		}
		_, err := s.PutRaw(t.Context(), objects.Raw[0], PutApply)
		return err
	}
	for _, label := range []string{"web", "db"} {
		if err := apply(podWith(label)); err != nil {
			t.Fatal(err)
		}
		p.until(label, func() bool { return p.endpoint("web-1").Labels["app"] == label })
	}
	if _, err := os.Stat(filepath.Join(dir, "Pod/web/web-1.json")); err != nil {
		t.Error(err)
	}
	write(t, dir, "ns.yaml", "# why\napiVersion: v1\nkind: Namespace\nmetadata: {name: web}\n")
	p.until("the namespace", func() bool { return len(p.objects) == 2 })
	if err := apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: web, labels: {a: b}}\n"); err != nil {
		t.Fatal(err)
	}
	if text := readFile(t, filepath.Join(dir, "ns.yaml")); !strings.Contains(text, "a: b") || !strings.HasPrefix(text, "# why") {
		t.Errorf("not written in its place:\n%s", text)
	}
	finished := podWith("web") + "status: {phase: Succeeded}\n"
	if err := apply(finished); err != nil {
		t.Fatal(err)
	}
	p.until("no endpoint of a finished pod", func() bool { return p.endpoint("web-1").Name == "" })
	if err := apply(podWith("web")); err != nil {
		t.Fatal(err)
	}
	p.until("an endpoint again", func() bool { return p.endpoint("web-1").Name != "" })
}

// TestUnreadableRuleOfKubernetes: an agent leaves out the rule that it can't read, and not the policy; people are refused.
func TestUnreadableRuleOfKubernetes(t *testing.T) {
	text := []byte("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec:\n  podSelector: {}\n  ingress:\n  - {newField: 1}\n  - {from: web}\n")
	c := parse("p.yaml", text, false)
	if len(c.items) != 1 || c.partial {
		t.Fatalf("%+v", c)
	}
	p := c.items[0].object.(*v3.NetworkPolicy)
	if len(p.Spec.Ingress) != 2 || p.Spec.Ingress[0].Invalid == "" || p.Spec.Ingress[1].Invalid == "" || p.Namespace != "default" || len(p.Spec.Types) != 1 {
		t.Errorf("%+v", p)
	}
	if len(c.errs) != 2 || c.errs[0].Line != 7 || c.errs[1].Line != 8 {
		t.Errorf("%v", c.errs)
	}
	if c := parse("p.yaml", text, true); len(c.errs) == 0 {
		t.Error("strict reading takes it")
	}
}
