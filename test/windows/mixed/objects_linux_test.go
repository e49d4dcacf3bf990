package mixed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane/dptest"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/datastore/kube"
	views "github.com/felid-net/felid/policy/kube"
	"github.com/felid-net/felid/test/kubernetes"
)

// refused is the error of an object that the API server does not take.
var errRefused = errors.New("refused by the API server")

// resources are Kubernetes' own kinds, in the order in which they are written.
var resources = []struct {
	kind string
	schema.GroupVersionResource
}{
	{"Namespace", schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}},
	{"ServiceAccount", schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}},
	{"Node", schema.GroupVersionResource{Version: "v1", Resource: "nodes"}},
	{"Pod", schema.GroupVersionResource{Version: "v1", Resource: "pods"}},
	{"Service", schema.GroupVersionResource{Version: "v1", Resource: "services"}},
	{"EndpointSlice", schema.GroupVersionResource{Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"}},
	{"NetworkPolicy", schema.GroupVersionResource{Group: "networking.k8s.io", Version: "v1", Resource: "networkpolicies"}},
	{"ClusterNetworkPolicy", schema.GroupVersionResource{Group: "policy.networking.k8s.io", Version: "v1alpha2", Resource: "clusternetworkpolicies"}},
}

// api writes the objects of cases to an API server.
type api struct {
	store   *kube.Store
	dynamic dynamic.Interface
	marks   int
}

func newAPI(t *testing.T, server *kubernetes.Server) *api {
	t.Helper()
	server.InstallCRDs(t)
	file := filepath.Join(t.TempDir(), "crd.yaml")
	if err := os.WriteFile(file, []byte(kubernetes.ClusterPolicyCRD), 0o644); err != nil {
		t.Fatal(err)
	}
	server.Apply(t, file)
	server.AwaitCRDs(t)
	store, err := kube.Open(kube.Options{Config: server.Config})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	a := &api{store: store}
	if a.dynamic, err = dynamic.NewForConfig(server.Config); err != nil {
		t.Fatal(err)
	}
	return a
}

// put writes all objects of a case, which go with the test. Resources that the API server refuses are taken out of the case, or mended, and told;
// errRefused says that one of Kubernetes' own is among them.
func (a *api) put(t *testing.T, c *dptest.Case) (refused []v3.Key, err error) {
	t.Helper()
	texts, _ := c.Kubernetes()
	if err := a.putKubernetes(t, texts); err != nil {
		return nil, err
	}
	c.Objects = slices.DeleteFunc(c.Objects, func(o v3.Object) bool {
		key := v3.KeyOf(o)
		if a.store.Derived(key) {
			return false
		}
		err := a.putStored(t, o.Copy())
		for err != nil && c.Title == madeUp && mend(o, err.Error()) {
			if err = a.putStored(t, o.Copy()); err == nil {
				refused = append(refused, key)
				return false
			}
		}
		if err == nil {
			return false
		}
		refused = append(refused, key)
		return true
	})
	return refused, nil
}

// madeUp is the title of cases that are, which have faults on purpose.
const madeUp = "Made up"

var refusedPart = regexp.MustCompile(`spec\.(ingress|egress|nets)\[(\d+)\]`)

// mend takes those rules out of a made-up resource, or nets, which the API server names when it refuses it; false: it names none.
func mend(o v3.Object, why string) bool {
	bad := map[string]bool{}
	for _, m := range refusedPart.FindAllStringSubmatch(why, -1) {
		bad[m[1]+m[2]] = true
	}
	i, mended := 0, false
	drop := func(field string, unknown []string) bool {
		gone := bad[field+strconv.Itoa(i)] || len(unknown) > 0
		i, mended = i+1, mended || gone
		return gone
	}
	rules := func(field string, list []v3.Rule) []v3.Rule {
		i = 0
		return slices.DeleteFunc(slices.Clone(list), func(r v3.Rule) bool { return drop(field, r.Unknown) })
	}
	nets := func(list []string) []string {
		i = 0
		return slices.DeleteFunc(slices.Clone(list), func(string) bool { return drop("nets", nil) })
	}
	switch o := o.(type) {
	case *v3.NetworkPolicy:
		o.Spec.Ingress, o.Spec.Egress = rules("ingress", o.Spec.Ingress), rules("egress", o.Spec.Egress)
	case *v3.GlobalNetworkPolicy:
		o.Spec.Ingress, o.Spec.Egress = rules("ingress", o.Spec.Ingress), rules("egress", o.Spec.Egress)
	case *v3.Profile:
		o.Spec.Ingress, o.Spec.Egress = rules("ingress", o.Spec.Ingress), rules("egress", o.Spec.Egress)
	case *v3.NetworkSet:
		o.Spec.Nets = nets(o.Spec.Nets)
	case *v3.GlobalNetworkSet:
		o.Spec.Nets = nets(o.Spec.Nets)
	}
	return mended
}

// putStored is an error where the API server does not take an object.
func (a *api) putStored(t *testing.T, o v3.Object) error {
	t.Helper()
	key := v3.KeyOf(o)
	o.SetResourceVersion("")
	_, err := a.store.Create(t.Context(), o)
	if errors.Is(err, datastore.ErrExists) { // a tier that is there always
		_, err = a.store.Update(t.Context(), o)
	}
	switch {
	case errors.Is(err, datastore.ErrInvalid), errors.Is(err, datastore.ErrUnsupported), errors.Is(err, datastore.ErrNotServed):
		return err
	case err != nil:
		t.Fatalf("%s: %v", key, err)
	}
	t.Cleanup(func() {
		if err := a.store.Delete(context.Background(), key, ""); err != nil && !errors.Is(err, datastore.ErrNotFound) {
			t.Errorf("deleting %s: %v", key, err)
		}
	})
	return nil
}

func (a *api) putKubernetes(t *testing.T, texts [][]byte) error {
	t.Helper()
	byKind := map[string][]*unstructured.Unstructured{}
	for _, text := range texts {
		o := &unstructured.Unstructured{}
		if err := json.Unmarshal(text, &o.Object); err != nil {
			t.Fatal(err)
		}
		byKind[o.GetKind()] = append(byKind[o.GetKind()], o)
	}
	for _, r := range resources {
		for _, o := range byKind[r.kind] {
			if err := a.putOne(t, r.GroupVersionResource, o); err != nil {
				return err
			}
		}
	}
	return nil
}

// putOne creates an object, or replaces what is left of another case: nobody empties namespaces here, so they stay.
func (a *api) putOne(t *testing.T, gvr schema.GroupVersionResource, o *unstructured.Unstructured) error {
	t.Helper()
	if namespaced := gvr.Resource != "namespaces" && gvr.Resource != "nodes" && gvr.Resource != "clusternetworkpolicies"; namespaced && o.GetNamespace() == "" {
		o.SetNamespace(metav1.NamespaceDefault)
	}
	if gvr.Resource == "pods" {
		completePod(o)
	}
	client := a.dynamic.Resource(gvr).Namespace(o.GetNamespace())
	_, err := client.Create(t.Context(), o, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		var there *unstructured.Unstructured
		if there, err = client.Get(t.Context(), o.GetName(), metav1.GetOptions{}); err == nil {
			o.SetResourceVersion(there.GetResourceVersion())
			_, err = client.Update(t.Context(), o, metav1.UpdateOptions{})
		}
	}
	if err == nil && o.Object["status"] != nil && gvr.Group == "" {
		var body []byte
		if body, err = json.Marshal(map[string]any{"status": o.Object["status"]}); err == nil {
			_, err = client.Patch(t.Context(), o.GetName(), types.MergePatchType, body, metav1.PatchOptions{}, "status")
		}
	}
	name := strings.TrimPrefix(o.GetNamespace()+"/"+o.GetName(), "/")
	if apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || apierrors.IsForbidden(err) {
		return fmt.Errorf("%w: %s %s: %w", errRefused, o.GetKind(), name, err)
	}
	if err != nil {
		t.Fatalf("%s %s: %v", o.GetKind(), name, err)
	}
	if gvr.Resource == "namespaces" {
		return nil
	}
	t.Cleanup(func() {
		now := int64(0)
		err := client.Delete(context.Background(), o.GetName(), metav1.DeleteOptions{GracePeriodSeconds: &now})
		if err != nil && !apierrors.IsNotFound(err) {
			t.Errorf("deleting %s %s: %v", o.GetKind(), name, err)
		}
	})
	return nil
}

// completePod gives a pod what the API server asks for and policy does not.
func completePod(o *unstructured.Unstructured) {
	spec, _ := o.Object["spec"].(map[string]any)
	if spec == nil {
		spec = map[string]any{}
		o.Object["spec"] = spec
	}
	if list, _ := spec["containers"].([]any); len(list) == 0 {
		spec["containers"] = []any{map[string]any{}}
	}
	for _, field := range []string{"containers", "initContainers"} {
		list, _ := spec[field].([]any)
		for i, c := range list {
			c := c.(map[string]any)
			if c["name"] == nil {
				c["name"] = fmt.Sprintf("c%d", i)
			}
			c["image"] = "none"
		}
	}
}

// viewKeys are the keys of the endpoints, of pods and of services, that Kubernetes' own objects of a case stand for.
func viewKeys(t *testing.T, c *dptest.Case) map[v3.Key]bool {
	t.Helper()
	keys := map[v3.Key]bool{}
	texts, _ := c.Kubernetes()
	for _, text := range texts {
		var meta metav1.TypeMeta
		if err := json.Unmarshal(text, &meta); err != nil {
			t.Fatal(err)
		}
		switch meta.Kind {
		case "Pod":
			if e := views.Pod(decode[corev1.Pod](t, text)); e != nil {
				keys[v3.KeyOf(e)] = true
			}
		case "Service":
			keys[v3.KeyOf(views.Service(decode[corev1.Service](t, text)))] = true
		case "EndpointSlice":
			if e := views.EndpointSlice(decode[discoveryv1.EndpointSlice](t, text)); e != nil {
				keys[v3.KeyOf(e)] = true
			}
		}
	}
	return keys
}

func decode[T any](t *testing.T, text []byte) *T {
	t.Helper()
	o := new(T)
	if err := json.Unmarshal(text, o); err != nil {
		t.Fatal(err)
	}
	return o
}

// mark writes a policy that selects nothing, and gives its revision: what was written before is known to an agent that has applied it, but for
// what another watch of it may bring a moment later.
func (a *api) mark(t *testing.T) uint64 {
	t.Helper()
	a.marks++
	order := float64(a.marks)
	p := &v3.GlobalNetworkPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: v3.APIVersion, Kind: string(v3.KindGlobalNetworkPolicy)},
		ObjectMeta: metav1.ObjectMeta{Name: "mark-of-the-test"},
	}
	p.Spec.Selector, p.Spec.Order = "has(nobody-has-this)", &order
	made, err := a.store.Create(t.Context(), p)
	if errors.Is(err, datastore.ErrExists) {
		made, err = a.store.Update(t.Context(), p)
	}
	if err != nil {
		t.Fatal(err)
	}
	var revision uint64
	if _, err := fmt.Sscan(made.GetResourceVersion(), &revision); err != nil {
		t.Fatal(err)
	}
	return revision
}
