package dptest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/policy/kube"
)

// readExample reads a file of the published examples, in the source tree.
func readExample(name string) ([]byte, error) {
	_, self, _, _ := runtime.Caller(0)
	return os.ReadFile(filepath.Join(filepath.Dir(self), "..", "..", "test", "examples", filepath.Base(name)))
}

// load fills Objects from the files "cluster", "example" and "resources.yaml".
func (c *Case) load(example func(string) ([]byte, error)) error {
	short, err := parseCluster(string(c.file("cluster")))
	if err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	c.addCluster(short)
	for _, name := range strings.Fields(string(c.file("example"))) {
		data, err := example(name)
		if err != nil {
			return fmt.Errorf("example: %w", err)
		}
		if err := c.addYAML(data); err != nil {
			return fmt.Errorf("example %s: %w", name, err)
		}
	}
	if err := c.addYAML(c.file("resources.yaml")); err != nil {
		return fmt.Errorf("resources.yaml: %w", err)
	}
	return nil
}

func (c *Case) addCluster(short *cluster) {
	c.devices = short.devices
	for _, n := range short.nodes {
		c.addOrigin(n)
		c.add(kube.Node(n))
	}
	for _, ns := range short.namespaces {
		c.addOrigin(ns)
		c.add(kube.Namespace(ns)...)
	}
	for _, sa := range short.accounts {
		c.addOrigin(sa)
		c.add(kube.ServiceAccount(sa)...)
	}
	for _, p := range short.pods {
		c.addOrigin(p)
		c.addPod(p)
	}
}

// addOrigin keeps an object of Kubernetes' as it was before it became a view.
func (c *Case) addOrigin(o any) {
	text, err := json.Marshal(o)
	if err != nil {
		panic("dptest: " + err.Error()) // it has just been made here
	}
	c.origins = append(c.origins, text)
}

// Kubernetes are the Kubernetes objects that Objects are views of, as JSON; whole tells whether there are no others.
func (c *Case) Kubernetes() (objects [][]byte, whole bool) { return c.origins, !c.stored }

// add appends objects; one of the same key replaces the earlier.
func (c *Case) add(objects ...v3.Object) {
	for _, o := range objects {
		replaced := false
		for i, old := range c.Objects {
			if v3.KeyOf(old) == v3.KeyOf(o) {
				c.Objects[i], replaced = o, true
			}
		}
		if !replaced {
			c.Objects = append(c.Objects, o)
		}
	}
}

// addPod adds the pod's endpoint, if it is one, with the interface that the CNI plugin would have made.
func (c *Case) addPod(p *corev1.Pod) {
	e := kube.Pod(p)
	if e == nil {
		return
	}
	c.addEndpoint(e)
}

func (c *Case) addEndpoint(e *v3.WorkloadEndpoint) {
	if e.Spec.InterfaceName == "" {
		e.Spec.InterfaceName = InterfaceName(e.Namespace, e.Name)
	}
	if e.Spec.Node == "" {
		e.Spec.Node = "n1"
	}
	c.add(e)
}

// addYAML adds every document of data.
func (c *Case) addYAML(data []byte) error {
	for i, doc := range bytes.Split(append([]byte("\n"), data...), []byte("\n---")) {
		text, err := yaml.YAMLToJSON(doc)
		if err != nil {
			return fmt.Errorf("document %d: %w", i+1, err)
		}
		if string(text) == "null" {
			continue
		}
		if err := c.addJSON(text); err != nil {
			return fmt.Errorf("document %d: %w", i+1, err)
		}
	}
	return nil
}

func (c *Case) addJSON(data []byte) error {
	var meta metav1.TypeMeta
	if err := json.Unmarshal(data, &meta); err != nil {
		return err
	}
	if c.stored = c.stored || meta.APIVersion == v3.APIVersion; meta.APIVersion != v3.APIVersion {
		c.origins = append(c.origins, data)
	}
	switch meta.APIVersion + " " + meta.Kind {
	case "v1 Namespace":
		return decode(data, func(o *corev1.Namespace) { c.add(kube.Namespace(o)...) })
	case "v1 ServiceAccount":
		return decode(data, func(o *corev1.ServiceAccount) { c.add(kube.ServiceAccount(o)...) })
	case "v1 Pod":
		return decode(data, c.addPod)
	case "v1 Node":
		return decode(data, func(o *corev1.Node) { c.add(kube.Node(o)) })
	case "v1 Service":
		return decode(data, func(o *corev1.Service) { c.add(kube.Service(o)) })
	case "discovery.k8s.io/v1 EndpointSlice":
		return decode(data, func(o *discoveryv1.EndpointSlice) {
			if view := kube.EndpointSlice(o); view != nil {
				c.add(view)
			}
		})
	case "networking.k8s.io/v1 NetworkPolicy":
		_, p, _, err := kube.DecodeNetworkPolicy(data, "default")
		if err == nil {
			c.add(p)
		}
		return err
	}
	if meta.Kind == string(v3.KindClusterNetworkPolicy) {
		return c.addClusterPolicy(data)
	}
	if meta.APIVersion != v3.APIVersion {
		return fmt.Errorf("%s %s is not read here", meta.APIVersion, meta.Kind)
	}
	return c.addV3(v3.Kind(meta.Kind), data)
}

// addClusterPolicy adds the view, and what it is of for the judge.
func (c *Case) addClusterPolicy(data []byte) error {
	view, _, err := kube.DecodeClusterNetworkPolicy(data, false)
	if err == nil {
		c.add(view)
		c.Options.clusterPolicies = append(c.Options.clusterPolicies, data)
	}
	return err
}

// decode reads a Kubernetes object strictly: a case with a misspelt field would prove something else.
func decode[T any](data []byte, add func(*T)) error {
	o := new(T)
	if err := yaml.UnmarshalStrict(data, o); err != nil {
		return err
	}
	add(o)
	return nil
}

// addV3 decodes as agents do, which leave out elements that can't be read and go on.
func (c *Case) addV3(kind v3.Kind, data []byte) error {
	o, faults := v3.DecodeJSON(kind, data, false)
	if o == nil {
		return fmt.Errorf("%s: %v", kind, faults)
	}
	v3.SetDefaults(o)
	if e, ok := o.(*v3.WorkloadEndpoint); ok {
		c.addEndpoint(e)
		return nil
	}
	c.add(o)
	return nil
}
