package workload

import (
	"fmt"
	"net/netip"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/policy/kube"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Kubernetes is a cluster as its API server knows it: of every namespace the same few pods, and three NetworkPolicies (nothing comes
// in unless allowed; the namespace's own may; one other namespace may on one port, and DNS goes out).
type Kubernetes struct {
	Namespaces int
	PodsEach   int
	// NodePods is how many pods Node has, each of another namespace as far as there are enough.
	NodePods int
}

// SizeWide is the largest cluster of which anybody has published how its policy was resolved.
var SizeWide = Kubernetes{Namespaces: 25_000, PodsEach: 4, NodePods: 110}

// Double is twice the cluster, with as many pods on Node.
func (k Kubernetes) Double() Kubernetes {
	k.Namespaces *= 2
	return k
}

// Objects are the cluster's resources, in the form that the datastore gives them.
func (k Kubernetes) Objects() []v3.Object {
	objects := []v3.Object{node(Node, 0)}
	for n := range k.Namespaces {
		objects = append(objects, kube.Namespace(k.namespace(n))...)
		for _, p := range k.policies(n) {
			view, _ := kube.NetworkPolicy(p)
			objects = append(objects, view)
		}
	}
	for i := range k.Namespaces * k.PodsEach {
		objects = append(objects, k.Pod(i))
	}
	return objects
}

func tenant(n int) string { return fmt.Sprintf("tenant-%05d", n) }

func (k Kubernetes) namespace(n int) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: tenant(n), Labels: map[string]string{
		"kubernetes.io/metadata.name": tenant(n), "team": fmt.Sprintf("team-%d", n%500), "env": fmt.Sprintf("env-%d", n%3),
	}}}
}

// Pod is pod i of the cluster. Pods go round the nodes, as a scheduler spreads them.
func (k Kubernetes) Pod(i int) *v3.WorkloadEndpoint {
	name := fmt.Sprintf("pod-%d", i)
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: tenant(i % k.Namespaces), Labels: map[string]string{
		"app": app(i / k.Namespaces), "version": fmt.Sprintf("v%d", i%5), "pod-template-hash": fmt.Sprintf("%08x", i*2654435761),
	}}}
	nodes := max(1, k.Namespaces*k.PodsEach/k.NodePods)
	p.Spec.NodeName = remoteNode(i % nodes)
	if i%nodes == 0 && i/nodes < k.NodePods {
		p.Spec.NodeName = Node
	}
	p.Spec.Containers = []corev1.Container{{Name: "main", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}}}}
	address := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
	p.Status.Phase, p.Status.PodIP = corev1.PodRunning, address.String()
	view := kube.Pod(p)
	if p.Spec.NodeName == Node {
		view.Spec.InterfaceName = fmt.Sprintf("cali%08d", i)
	}
	return view
}

// policies are the three of namespace n.
func (k Kubernetes) policies(n int) []*networkingv1.NetworkPolicy {
	policy := func(name string, spec networkingv1.NetworkPolicySpec) *networkingv1.NetworkPolicy {
		return &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: tenant(n)}, Spec: spec}
	}
	ingress, egress := networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress
	udp, dns, http := corev1.ProtocolUDP, intstr.FromInt32(53), intstr.FromInt32(8080)
	own := networkingv1.NetworkPolicyPeer{PodSelector: &metav1.LabelSelector{}}
	named := func(name string) *metav1.LabelSelector {
		return &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": name}}
	}
	return []*networkingv1.NetworkPolicy{
		policy("default-deny", networkingv1.NetworkPolicySpec{PolicyTypes: []networkingv1.PolicyType{ingress}}),
		policy("allow-same-namespace", networkingv1.NetworkPolicySpec{
			PolicyTypes: []networkingv1.PolicyType{ingress},
			Ingress:     []networkingv1.NetworkPolicyIngressRule{{From: []networkingv1.NetworkPolicyPeer{own}}},
		}),
		policy("allow-neighbour-and-dns", networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"app": app(0)}},
			PolicyTypes: []networkingv1.PolicyType{ingress, egress},
			Ingress: []networkingv1.NetworkPolicyIngressRule{{
				From:  []networkingv1.NetworkPolicyPeer{{NamespaceSelector: named(tenant((n + 1) % k.Namespaces))}},
				Ports: []networkingv1.NetworkPolicyPort{{Port: &http}},
			}},
			Egress: []networkingv1.NetworkPolicyEgressRule{
				{To: []networkingv1.NetworkPolicyPeer{own}},
				{
					To:    []networkingv1.NetworkPolicyPeer{{NamespaceSelector: named(tenant(0))}},
					Ports: []networkingv1.NetworkPolicyPort{{Protocol: &udp, Port: &dns}},
				},
			},
		}),
	}
}

// Crowd is one namespace with many pods and as many policies, each of which selects by a label of its own and lets in who has
// another.
type Crowd struct {
	Pods, Policies int
	// NodePods is how many of the pods are on Node.
	NodePods int
}

// SizeCrowd is one namespace with ten thousand of each.
var SizeCrowd = Crowd{Pods: 10_000, Policies: 10_000, NodePods: 110}

// Objects are the namespace's resources.
func (c Crowd) Objects() []v3.Object {
	k := Kubernetes{Namespaces: 1, PodsEach: c.Pods, NodePods: c.NodePods}
	objects := append([]v3.Object{node(Node, 0)}, kube.Namespace(k.namespace(0))...)
	label := func(i int) map[string]string {
		return map[string]string{fmt.Sprintf("group-%d", i%c.Pods): "member"}
	}
	for i := range c.Policies {
		p := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("p-%05d", i), Namespace: tenant(0)}}
		p.Spec.PodSelector.MatchLabels = label(i)
		p.Spec.Ingress = []networkingv1.NetworkPolicyIngressRule{{
			From: []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{MatchLabels: label(i + 1)}}},
		}}
		view, _ := kube.NetworkPolicy(p)
		objects = append(objects, view)
	}
	for i := range c.Pods {
		pod := k.Pod(i)
		for key, value := range label(i) {
			pod.Labels[key] = value
		}
		objects = append(objects, pod)
	}
	return objects
}
