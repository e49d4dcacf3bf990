package cyclonus

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/mattfenwick/cyclonus/pkg/connectivity/probe"
	"github.com/mattfenwick/cyclonus/pkg/generator"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/policy"
	"github.com/felid-net/felid/policy/kube"
)

var (
	namespaces = []string{"x", "y", "z"}
	podNames   = []string{"a", "b", "c"}
	ports      = []int{80, 81}
	protocols  = []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP}
)

// cluster is what an API server of Kubernetes would hold. Keys are "name" or "namespace/name"; objects are replaced, not changed.
type cluster struct {
	base       netip.Addr // pods' addresses are in the 512 from here
	made       int        // pods ever made
	namespaces map[string]*corev1.Namespace
	pods       map[string]*corev1.Pod
	policies   map[string]*networkingv1.NetworkPolicy
}

// newCluster has the nine pods of cyclonus: a, b and c in each of x, y and z.
func newCluster(base netip.Addr) *cluster {
	c := &cluster{
		base: base, namespaces: map[string]*corev1.Namespace{}, pods: map[string]*corev1.Pod{},
		policies: map[string]*networkingv1.NetworkPolicy{},
	}
	for _, ns := range namespaces {
		c.setNamespace(ns, map[string]string{"ns": ns})
		for _, name := range podNames {
			c.createPod(ns, name, map[string]string{"pod": name})
		}
	}
	return c
}

// setNamespace adds the label that the API server does.
func (c *cluster) setNamespace(name string, labels map[string]string) {
	labels = maps.Clone(labels)
	labels[corev1.LabelMetadataName] = name
	c.namespaces[name] = probe.KubeNamespace(name, labels)
}

// createPod gives the pod a named port for each of ports and protocols, as cyclonus does, and an address. Some addresses share the
// last four bits but with that of z/c, some the last eight, some neither: blocks of those sizes are in the cases.
func (c *cluster) createPod(ns, name string, labels map[string]string) {
	pod := probe.NewDefaultPod(ns, name, ports, protocols, false, "registry.example").KubePod()
	pod.Labels = labels
	pod.Status.Phase = corev1.PodRunning
	pod.Status.PodIP = c.address(byte(c.made%2), byte(16*(c.made%3)+c.made+1)).String()
	c.made++
	c.pods[ns+"/"+name] = pod
}

// address is the one of base with these last two bytes, the first of them added.
func (c *cluster) address(high, low byte) netip.Addr {
	bytes := c.base.AsSlice()
	bytes[len(bytes)-2] += high
	bytes[len(bytes)-1] = low
	a, _ := netip.AddrFromSlice(bytes)
	return a
}

// apply does what the action says to the objects.
func (c *cluster) apply(t *testing.T, a *generator.Action) {
	t.Helper()
	switch {
	case a.CreatePolicy != nil:
		c.policies[policyKey(a.CreatePolicy.Policy)] = a.CreatePolicy.Policy
	case a.UpdatePolicy != nil:
		c.policies[policyKey(a.UpdatePolicy.Policy)] = a.UpdatePolicy.Policy
	case a.DeletePolicy != nil:
		delete(c.policies, a.DeletePolicy.Namespace+"/"+a.DeletePolicy.Name)
	case a.CreateNamespace != nil:
		c.setNamespace(a.CreateNamespace.Namespace, a.CreateNamespace.Labels)
	case a.SetNamespaceLabels != nil:
		c.setNamespace(a.SetNamespaceLabels.Namespace, a.SetNamespaceLabels.Labels)
	case a.DeleteNamespace != nil:
		c.deleteNamespace(a.DeleteNamespace.Namespace)
	case a.CreatePod != nil:
		c.createPod(a.CreatePod.Namespace, a.CreatePod.Pod, a.CreatePod.Labels)
	case a.SetPodLabels != nil:
		key := a.SetPodLabels.Namespace + "/" + a.SetPodLabels.Pod
		pod := c.pods[key].DeepCopy()
		pod.Labels = a.SetPodLabels.Labels
		c.pods[key] = pod
	case a.DeletePod != nil:
		delete(c.pods, a.DeletePod.Namespace+"/"+a.DeletePod.Pod)
	default:
		t.Fatalf("action %+v is none that this test knows", a)
	}
}

func (c *cluster) deleteNamespace(name string) {
	delete(c.namespaces, name)
	maps.DeleteFunc(c.pods, func(_ string, p *corev1.Pod) bool { return p.Namespace == name })
	maps.DeleteFunc(c.policies, func(_ string, p *networkingv1.NetworkPolicy) bool { return p.Namespace == name })
}

func policyKey(p *networkingv1.NetworkPolicy) string { return p.Namespace + "/" + p.Name }

// objects are the cluster as policy/kube converts it.
func (c *cluster) objects(t *testing.T) map[v3.Key]v3.Object {
	t.Helper()
	all := map[v3.Key]v3.Object{}
	add := func(o v3.Object) { all[v3.KeyOf(o)] = o }
	for _, ns := range c.namespaces {
		for _, o := range kube.Namespace(ns) {
			add(o)
		}
	}
	for _, pod := range c.pods {
		add(kube.Pod(pod))
	}
	for _, np := range c.policies {
		converted, errs := kube.NetworkPolicy(np)
		if len(errs) > 0 {
			t.Fatalf("%s can't be converted: %v", policyKey(np), errs)
		}
		add(converted)
	}
	if want := len(c.namespaces) + len(c.pods) + len(c.policies); len(all) != want {
		t.Fatalf("%d objects of Kubernetes gave %d", want, len(all))
	}
	return all
}

func (c *cluster) list(t *testing.T) []v3.Object {
	t.Helper()
	return slices.Collect(maps.Values(c.objects(t)))
}

// follower is a Resolver that is told what moves, case after case.
type follower struct {
	*policy.Resolver
	has map[v3.Key]v3.Object
}

// follow tells the Resolver what is not as it was.
func (f *follower) follow(objects map[v3.Key]v3.Object) {
	for key := range f.has {
		if objects[key] == nil {
			f.Update(key, nil)
		}
	}
	for key, o := range objects {
		if !reflect.DeepEqual(o, f.has[key]) {
			f.Update(key, o)
		}
	}
	f.has = objects
}

// outsiders are addresses of nobody: in the smaller and in the larger block around z/c, in neither, and far away.
func (c *cluster) outsiders() []netip.Addr {
	far := netip.MustParseAddr("192.0.2.7")
	if c.base.Is6() {
		far = netip.MustParseAddr("2001:db8::7")
	}
	return []netip.Addr{c.address(0, 42), c.address(0, 200), c.address(1, 200), far}
}

// specs are the policies as they stand, for messages.
func (c *cluster) specs() string {
	var text strings.Builder
	for _, key := range slices.Sorted(maps.Keys(c.policies)) {
		fmt.Fprintf(&text, "\n%s: %+v", key, c.policies[key].Spec)
	}
	return text.String()
}
