package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane/dptest"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/datastore/local"
	"github.com/felid-net/felid/test/kubernetes"
)

// viewKinds are made of Kubernetes' objects alone here.
var viewKinds = []v3.Kind{
	v3.KindNode, v3.KindProfile, v3.KindWorkloadEndpoint, v3.KindKubernetesNetworkPolicy, v3.KindClusterNetworkPolicy, v3.KindServiceEndpoints,
}

var resourceOf = map[string]*resource{
	"Pod": podResource, "Namespace": namespaceResource, "ServiceAccount": serviceAccountResource, "Node": nodeResource, "Service": serviceResource,
	"EndpointSlice": sliceResource, "NetworkPolicy": policyResource, "ClusterNetworkPolicy": clusterPolicyResource,
}

func installClusterPolicies(t *testing.T, server *kubernetes.Server) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "crd.yaml")
	if err := os.WriteFile(file, []byte(kubernetes.ClusterPolicyCRD), 0o644); err != nil {
		t.Fatal(err)
	}
	server.Apply(t, file)
	server.AwaitCRDs(t)
}

// origins writes Kubernetes' own objects.
type origins struct{ api *client }

// thing is an object as JSON.
type thing struct {
	resource *resource
	name     objectName
	body     map[string]any
}

// readThing reads an object, and completes a pod as the API server wants it.
func readThing(t *testing.T, text []byte) thing {
	t.Helper()
	th := thing{}
	if err := json.Unmarshal(text, &th.body); err != nil {
		t.Fatal(err)
	}
	kind := th.body["kind"].(string)
	if th.resource = resourceOf[kind]; th.resource == nil {
		t.Fatalf("no resource of kind %s", kind)
	}
	meta := th.body["metadata"].(map[string]any)
	th.name.name, _ = meta["name"].(string)
	th.name.namespace, _ = meta["namespace"].(string)
	if th.resource.namespaced && th.name.namespace == "" {
		th.name.namespace = metav1.NamespaceDefault
		meta["namespace"] = metav1.NamespaceDefault
	}
	if kind == "Pod" {
		completePod(th.body)
	}
	return th
}

func completePod(body map[string]any) {
	spec, _ := body["spec"].(map[string]any)
	if spec == nil {
		spec = map[string]any{}
		body["spec"] = spec
	}
	containers, _ := spec["containers"].([]any)
	if len(containers) == 0 {
		containers = []any{map[string]any{}}
		spec["containers"] = containers
	}
	init, _ := spec["initContainers"].([]any)
	for i, c := range slices.Concat(containers, init) {
		c := c.(map[string]any)
		if c["name"] == nil {
			c["name"] = fmt.Sprintf("c%d", i)
		}
		c["image"] = "none"
	}
}

// put creates or replaces an object with its status.
func (o origins) put(ctx context.Context, th thing) error {
	th.body["metadata"].(map[string]any)["resourceVersion"] = ""
	_, err := o.send(ctx, "create", th, "", th.body)
	if errors.Is(err, datastore.ErrExists) {
		var raw []byte
		plain := *th.resource
		plain.protobuf = false
		if raw, err = o.api.get(ctx, &plain, th.name.namespace, th.name.name); err != nil {
			return err
		}
		_, _, revision := metaOf(raw)
		th.body["metadata"].(map[string]any)["resourceVersion"] = revision
		_, err = o.send(ctx, "update", th, "", th.body)
	}
	if status := th.body["status"]; err == nil && status != nil && th.resource.group == "" {
		_, err = o.send(ctx, "patch", th, "status", map[string]any{"status": status})
	}
	return err
}

func (o origins) send(ctx context.Context, verb string, th thing, sub string, body any) ([]byte, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	return o.api.do(ctx, &call{verb: verb, resource: th.resource, namespace: th.name.namespace, name: th.name.name, sub: sub, body: text})
}

// remove deletes an object at once; a namespace stays, as nobody would empty it.
func (o origins) remove(ctx context.Context, th thing) error {
	if th.resource == namespaceResource {
		return nil
	}
	_, err := o.api.do(ctx, &call{
		verb: "delete", resource: th.resource, namespace: th.name.namespace, name: th.name.name, query: url.Values{"gracePeriodSeconds": {"0"}},
	})
	if errors.Is(err, datastore.ErrNotFound) {
		return nil
	}
	return err
}

// plain is an object without what a store gives it.
func plain(o v3.Object) v3.Object {
	o = o.Copy()
	o.SetResourceVersion("")
	o.SetUID("")
	o.SetGeneration(0)
	o.SetCreationTimestamp(metav1.Time{})
	if p, ok := o.(*v3.GlobalNetworkPolicy); ok {
		p.Status = v3.Status{}
	}
	return o
}

// localViews are what a local store makes of the objects.
func localViews(t *testing.T, things []thing) map[v3.Key]v3.Object {
	t.Helper()
	dir := t.TempDir()
	for i, th := range things {
		text, err := json.Marshal(th.body)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%03d.json", i)), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s, err := local.Open(dir, local.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	views := map[v3.Key]v3.Object{}
	for _, kind := range viewKinds {
		list, err := s.List(t.Context(), kind, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range list.Objects {
			views[v3.KeyOf(o)] = plain(o)
		}
	}
	return views
}

// serverViews are what the store has, without what the API server has of itself, and namespaces of other cases.
func serverViews(have map[v3.Key]v3.Object, want map[v3.Key]v3.Object) map[v3.Key]v3.Object {
	views := map[v3.Key]v3.Object{}
	for key, o := range have {
		if key.Namespace == metav1.NamespaceDefault && strings.HasPrefix(key.Name, "kubernetes") || strings.HasPrefix(key.Name, "kns.") && want[key] == nil {
			continue
		}
		views[key] = plain(o)
	}
	return views
}

// lastOf drops what a later object of the same name replaces.
func lastOf(things []thing) []thing {
	seen := map[origin]int{}
	var out []thing
	for _, th := range things {
		at := origin{th.resource, th.name}
		if i, ok := seen[at]; ok {
			out[i] = th
			continue
		}
		seen[at] = len(out)
		out = append(out, th)
	}
	return out
}

// refusedCases have objects that an API server does not take.
var refusedCases = map[string]bool{"k8s-invalid-elements": true, "k8s-unknown-field": true}

// TestViewsOfSharedCases: the objects of each shared case that consists of Kubernetes' own give, applied to an API server, what they give in files.
func TestViewsOfSharedCases(t *testing.T) {
	server := kubernetes.Start(t, kubernetes.Options{})
	installClusterPolicies(t, server)
	s := openOn(t, server)
	f := syncOf(t, s, viewKinds...)
	f.until("in sync", func() bool { return f.inSync })
	api := origins{s.client}
	compared, refused := 0, map[string]bool{}
	for _, c := range dptest.Cases(t) {
		texts, whole := c.Kubernetes()
		if !whole {
			continue
		}
		var things []thing
		for _, text := range texts {
			things = append(things, readThing(t, text))
		}
		things = lastOf(things)
		var err error
		for _, th := range things {
			if err = api.put(t.Context(), th); err != nil {
				break
			}
		}
		if errors.Is(err, datastore.ErrInvalid) {
			refused[c.Name] = true
			if !refusedCases[c.Name] {
				t.Errorf("%s: refused: %v", c.Name, err)
			}
		} else if err != nil {
			t.Fatalf("%s: %v", c.Name, err)
		} else {
			compared++
			compareViews(t, c.Name, f, localViews(t, things))
		}
		for _, th := range things {
			if err := api.remove(t.Context(), th); err != nil {
				t.Fatalf("%s: %v", c.Name, err)
			}
		}
		f.until("emptied after "+c.Name, func() bool { return len(serverViews(f.have, nil)) == 0 })
	}
	if !maps.Equal(refused, refusedCases) {
		t.Errorf("refused: %v, want %v", slices.Sorted(maps.Keys(refused)), slices.Sorted(maps.Keys(refusedCases)))
	}
	if compared < 30 {
		t.Errorf("only %d cases were compared", compared)
	}
	t.Logf("%d cases compared", compared)
}

func compareViews(t *testing.T, name string, f *synced, want map[v3.Key]v3.Object) {
	t.Helper()
	deadline := time.After(patience / 3)
	for {
		diff := gocmp.Diff(want, serverViews(f.have, want))
		if diff == "" {
			return
		}
		select {
		case b := <-f.out:
			f.take(b)
		case <-deadline:
			t.Errorf("%s: -files +server:\n%s", name, diff)
			return
		}
	}
}
