// Package workload makes the resources of the benchmarks: clusters of a given size, the same ones each time, so that figures of
// different agents and dates can be compared. Nothing is random.
package workload

import (
	"fmt"
	"net/netip"

	v3 "github.com/felid-net/felid/api/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Node is the node whose endpoints are local.
const Node = "peer-node0"

// remoteNodes is how many nodes the remote endpoints are spread over.
const remoteNodes = 100

// Params is the size of a workload.
type Params struct {
	Local, Remote int // endpoints on Node, and on others
	Policies      int
	Namespaces    int
}

// The workloads' sizes.
var (
	SizeW1 = Params{Local: 100, Remote: 0, Policies: 100, Namespaces: 10}
	SizeW2 = Params{Local: 250, Remote: 10_000, Policies: 1_000, Namespaces: 500}
	SizeW3 = Params{Local: 250, Remote: 50_000, Policies: 5_000, Namespaces: 500}
)

// W1 is a node alone.
func W1() []v3.Object { return SizeW1.Objects() }

// W2 is a cluster of 10,250 endpoints.
func W2() []v3.Object { return SizeW2.Objects() }

// W3 is a cluster of 50,250 endpoints.
func W3() []v3.Object { return SizeW3.Objects() }

// Objects are all resources of a workload of this size.
func (p Params) Objects() []v3.Object {
	objects := []v3.Object{pool(), node(Node, 0)}
	if p.Remote > 0 {
		for j := range remoteNodes {
			objects = append(objects, node(remoteNode(j), j+1))
		}
	}
	for n := range p.Namespaces {
		objects = append(objects, namespace(n))
	}
	for g := range 10 {
		objects = append(objects, networkSet(g))
	}
	for q := range p.Policies {
		objects = append(objects, p.Policy(q))
	}
	for i := range p.Local {
		objects = append(objects, p.LocalEndpoint(i))
	}
	for j := range p.Remote {
		objects = append(objects, p.RemoteEndpoint(j))
	}
	return objects
}

func namespaceName(n int) string { return fmt.Sprintf("ns-%03d", n) }

func remoteNode(j int) string { return fmt.Sprintf("remote-node-%d", j%remoteNodes) }

func app(n int) string { return fmt.Sprintf("app-%d", n%20) }

func role(n int) string { return fmt.Sprintf("role-%d", n%7) }

func pool() v3.Object {
	return &v3.IPPool{
		ObjectMeta: metav1.ObjectMeta{Name: "pool"},
		Spec: v3.IPPoolSpec{
			CIDR: "10.64.0.0/12", BlockSize: 26, NATOutgoing: true, IPIPMode: v3.EncapNever, VXLANMode: v3.EncapNever,
			NodeSelector: "all()",
		},
	}
}

func node(name string, i int) v3.Object {
	o := &v3.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	o.Spec.Addresses = []v3.NodeAddress{{Address: fmt.Sprintf("192.0.2.%d", i+1), Type: "InternalIP"}}
	return o
}

// namespace is the profile of namespace n, which allows everything.
func namespace(n int) v3.Object {
	env := "prod"
	if n%2 == 1 {
		env = "dev"
	}
	allow := []v3.Rule{{Action: v3.Allow}}
	return &v3.Profile{
		ObjectMeta: metav1.ObjectMeta{Name: "kns." + namespaceName(n)},
		Spec: v3.ProfileSpec{Ingress: allow, Egress: allow, LabelsToApply: map[string]string{
			"pcns.team": fmt.Sprintf("team-%d", n%10), "pcns.env": env, "pcns.projectcalico.org/name": namespaceName(n),
		}},
	}
}

func networkSet(g int) v3.Object {
	name := fmt.Sprintf("gns-%d", g)
	o := &v3.GlobalNetworkSet{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"nset": name}}}
	for i := range 100 {
		o.Spec.Nets = append(o.Spec.Nets, fmt.Sprintf("198.%d.%d.0/24", 18+g, i))
	}
	return o
}

// LocalEndpoint is endpoint i of Node. Its interface is cali%08d.
func (p Params) LocalEndpoint(i int) *v3.WorkloadEndpoint {
	o := p.endpoint(fmt.Sprintf("l-%d", i), i, i/p.Namespaces, netip.AddrFrom4([4]byte{10, 65, byte(i >> 8), byte(i)}))
	o.Spec.Node, o.Spec.InterfaceName = Node, fmt.Sprintf("cali%08d", i)
	if i < 100 {
		o.Labels["inc100"] = "y"
	}
	return o
}

// RemoteEndpoint is endpoint j of other nodes.
func (p Params) RemoteEndpoint(j int) *v3.WorkloadEndpoint {
	o := p.endpoint(fmt.Sprintf("r-%d", j), j, 1+j/p.Namespaces, netip.AddrFrom4([4]byte{10, byte(66 + j>>16), byte(j >> 8), byte(j)}))
	o.Spec.Node = remoteNode(j)
	return o
}

// endpoint is the k-th of its namespace, more or less.
func (p Params) endpoint(name string, i, k int, address netip.Addr) *v3.WorkloadEndpoint {
	n := i % p.Namespaces
	return &v3.WorkloadEndpoint{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: namespaceName(n),
			Labels: map[string]string{"app": app(3*n + k), "role": role(n + k), "pod": name},
		},
		Spec: v3.WorkloadEndpointSpec{
			Orchestrator: "k8s", Pod: name, Endpoint: "eth0", IPNetworks: []string{netip.PrefixFrom(address, 32).String()},
			Profiles: []string{"kns." + namespaceName(n)},
		},
	}
}

// Policy is policy number i; those past the size's own may be added to it.
func (p Params) Policy(i int) v3.Object {
	n, q := i%p.Namespaces, i/p.Namespaces
	if (7*n+q)%5 == 4 {
		return GlobalPolicy(i, fmt.Sprintf("app == '%s' && role == '%s'", app(i), role(i)))
	}
	selector := "has(role)"
	if q%2 == 0 {
		selector = fmt.Sprintf("app == '%s'", app(3*n+q/2))
	}
	spec := spec(i, selector, v3.EntityRule{Nets: []string{fmt.Sprintf("172.16.%d.0/24", i%256)}})
	return &v3.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("p-%05d", i), Namespace: namespaceName(n)},
		Spec:       v3.NetworkPolicySpec{PolicySpec: spec},
	}
}

// GlobalPolicy has the six rules of global policy number i, for the endpoints of a selector.
func GlobalPolicy(i int, selector string) *v3.GlobalNetworkPolicy {
	spec := spec(i, selector, v3.EntityRule{Selector: fmt.Sprintf("nset == 'gns-%d'", i%10)})
	return &v3.GlobalNetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("gp-%05d", i)},
		Spec:       v3.GlobalNetworkPolicySpec{PolicySpec: spec},
	}
}

func spec(i int, selector string, dns v3.EntityRule) v3.PolicySpec {
	tcp, udp := &v3.Protocol{Name: "TCP"}, &v3.Protocol{Name: "UDP"}
	port := func(n uint16) v3.Port { return v3.Port{Min: n, Max: n} }
	peers := func(selector string, ports ...v3.Port) v3.EntityRule {
		return v3.EntityRule{Selector: selector, Ports: ports}
	}
	return v3.PolicySpec{
		Tier: v3.DefaultTier, Order: new(1000.0), Selector: selector, Types: []v3.PolicyType{v3.PolicyTypeIngress, v3.PolicyTypeEgress},
		Ingress: []v3.Rule{
			{Action: v3.Allow, Protocol: tcp, Source: peers(fmt.Sprintf("role == '%s'", role(i))), Destination: peers("", port(80), port(443))},
			{Action: v3.Allow, Protocol: tcp, Destination: peers("", port(8080)), Source: v3.EntityRule{
				NamespaceSelector: fmt.Sprintf("team == 'team-%d'", i%10), Selector: fmt.Sprintf("app == '%s'", app(i+1)),
			}},
			{Action: v3.Allow, Protocol: udp, Source: dns, Destination: peers("", port(53))},
		},
		Egress: []v3.Rule{
			{Action: v3.Allow, Protocol: tcp, Destination: peers(fmt.Sprintf("app == '%s'", app(i+7)), port(5432))},
			{Action: v3.Allow, Protocol: udp, Destination: peers(fmt.Sprintf("role == '%s'", role(i+3)), port(53))},
			{Action: v3.Allow, Protocol: tcp, Destination: v3.EntityRule{Nets: []string{fmt.Sprintf("192.168.%d.0/24", i%256)}}},
		},
	}
}
