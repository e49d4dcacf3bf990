package policy_test

import (
	"fmt"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"
)

// maker draws resources from a small universe, so that they meet: few names, labels and addresses, some of them invalid.
type maker struct{ *rapid.T }

func pick[T any](m maker, label string, from ...T) T {
	return rapid.SampledFrom(from).Draw(m.T, label)
}

func (m maker) chance(label string, percent int) bool {
	return rapid.IntRange(0, 99).Draw(m.T, label) < percent
}

func some[T any](m maker, label string, most int, draw func() T) []T {
	var out []T
	for range rapid.IntRange(0, most).Draw(m.T, label) {
		out = append(out, draw())
	}
	return out
}

func (m maker) labels() map[string]string {
	out := map[string]string{}
	for range rapid.IntRange(1, 3).Draw(m.T, "labels") {
		out[pick(m, "key", "app", "app", "role", "role", "pcns.team", "projectcalico.org/namespace")] = pick(m, "value", "a", "b", "c")
	}
	return out
}

func (m maker) selector() string {
	return pick(m, "selector",
		"", "all()", "app == 'a'", "app == 'b'", "role == 'a'", "app == 'a'", "has(app)", "app != 'c'", "role in {'a', 'b'}", "pcns.team == 'a'", "has(app)", "!has(role)", "app != 'a'", "app in {'a', 'c'}",
		"role not in {'b'}", "app == 'a' && role == 'b'", "app == 'a' || role == 'c'", "app starts with 'a' && has(role)",
		"pcns.team == 'a'", "app == 'a' && app == 'b'", "!(app == 'c' && has(role))", "projectcalico.org/name == 'x'", "global()", "app =",
	)
}

func (m maker) name(prefix string, n int) string {
	return fmt.Sprintf("%s%d", prefix, rapid.IntRange(1, n).Draw(m.T, prefix))
}

func (m maker) namespace() string { return m.name("n", 3) }

func (m maker) meta(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: namespace, Name: name, Labels: m.labels(),
		CreationTimestamp: metav1.Time{Time: time.Unix(int64(rapid.IntRange(0, 2).Draw(m.T, "created")), 0)},
	}
}

func (m maker) address() string {
	return pick(m, "address", "10.0.0.1", "10.0.0.2", "10.0.0.3/32", "10.0.0.4", "fd00::1", "fd00::2/128", "fd00::3", "10.0.0.1", "10.0.0.2", "10.0.0.5", "10.0.0.300")
}

func (m maker) net() string {
	return pick(m, "net", "10.0.0.0/8", "10.0.0.1", "10.0.0.2/32", "0.0.0.0/0", "::/0", "fd00::/64", "fd00::1", "192.0.2.7/24", "nonsense", "10.0.0.0/40")
}

func (m maker) protocol() *v3.Protocol {
	p := pick(m, "protocol", v3.Protocol{Name: "TCP"}, v3.Protocol{Name: "TCP"}, v3.Protocol{Name: "TCP"}, v3.Protocol{Name: "udp"}, v3.Protocol{Name: "UDP"}, v3.Protocol{Name: "ICMP"}, v3.Protocol{Number: 132}, v3.Protocol{Name: "XYZ"})
	return &p
}

func (m maker) port() v3.Port {
	return pick(m, "port", v3.Port{Min: 80, Max: 80}, v3.Port{Min: 8000, Max: 9000}, v3.Port{Name: "http"}, v3.Port{Name: "http"}, v3.Port{Name: "dns"}, v3.Port{})
}

func (m maker) endpointPort() v3.EndpointPort {
	return v3.EndpointPort{
		Name: pick(m, "port name", "http", "http", "dns", "dns", ""), Protocol: *m.protocol(), Port: pick[uint16](m, "port number", 80, 80, 8080, 53, 0),
	}
}

func (m maker) entity() v3.EntityRule {
	var e v3.EntityRule
	if m.chance("nets?", 25) {
		e.Nets = some(m, "nets", 3, m.net)
	}
	if m.chance("notNets?", 8) {
		e.NotNets = some(m, "notNets", 2, m.net)
	}
	if m.chance("selector?", 55) {
		e.Selector = m.selector()
	}
	if m.chance("notSelector?", 20) {
		e.NotSelector = m.selector()
	}
	if m.chance("namespaceSelector?", 20) {
		e.NamespaceSelector = pick(m, "namespaceSelector", "team == 'a'", "all()", "global()", "projectcalico.org/name == 'n1'", "team != 'b'", "team ==")
	}
	if m.chance("services?", 20) {
		e.Services = &v3.ServiceMatch{Name: m.name("s", 2), Namespace: pick(m, "service namespace", "", "n1", "n2")}
	}
	if m.chance("ports?", 30) {
		e.Ports = some(m, "ports", 3, m.port)
	}
	if m.chance("notPorts?", 15) {
		e.NotPorts = some(m, "notPorts", 2, m.port)
	}
	if m.chance("domains?", 4) {
		e.Domains = []string{"example.org"}
	}
	if m.chance("serviceAccounts?", 15) {
		e.ServiceAccounts = &v3.ServiceAccountMatch{
			Names:    some(m, "accounts", 2, func() string { return m.name("sa", 2) }),
			Selector: pick(m, "account selector", "", "team == 'a'", "team ="),
		}
	}
	return e
}

func (m maker) rule() v3.Rule {
	r := v3.Rule{Action: pick(m, "action", v3.Allow, v3.Allow, v3.Allow, v3.Deny, v3.Deny, v3.Pass, v3.Log, "Jump"), Source: m.entity(), Destination: m.entity()}
	if m.chance("protocol?", 40) {
		r.Protocol = m.protocol()
	}
	if m.chance("notProtocol?", 10) {
		r.NotProtocol = m.protocol()
	}
	if m.chance("ipVersion?", 15) {
		r.IPVersion = new(pick(m, "ipVersion", 4, 6, 6, 4, 5))
	}
	if m.chance("icmp?", 10) {
		r.ICMP = pick(m, "icmp", &v3.ICMPFields{}, &v3.ICMPFields{Type: new(8)}, &v3.ICMPFields{Type: new(8), Code: new(0)}, &v3.ICMPFields{Code: new(1)})
	}
	if m.chance("notICMP?", 10) {
		r.NotICMP = pick(m, "notICMP", &v3.ICMPFields{}, &v3.ICMPFields{Type: new(3)}, &v3.ICMPFields{Type: new(300)})
	}
	if m.chance("http?", 2) {
		r.HTTP = &v3.HTTPMatch{Methods: []string{"GET"}}
	}
	if m.chance("unknown?", 2) {
		r.Unknown = []string{"mood"}
	}
	return r
}

func (m maker) order() *float64 {
	if m.chance("order?", 40) {
		return nil
	}
	return new(pick(m, "order", 1.0, 2.0, 2.5))
}

func (m maker) spec() v3.PolicySpec {
	s := v3.PolicySpec{
		Tier: pick(m, "tier", "", "default", "t1", "t1", "t2", "kube-admin", "no.tier"), Order: m.order(), Selector: m.selector(),
		Ingress: some(m, "ingress", 4, m.rule), Egress: some(m, "egress", 3, m.rule),
		ServiceAccountSelector: pick(m, "serviceAccountSelector", "", "", "", "", "", "team == 'a'"),
	}
	if m.chance("hint?", 8) {
		s.PerformanceHints = []string{v3.AssumeNeededOnEveryNode}
	}
	if m.chance("types?", 40) {
		s.Types = some(m, "types", 2, func() v3.PolicyType {
			return pick(m, "type", v3.PolicyTypeIngress, v3.PolicyTypeEgress, v3.PolicyTypeIngress, v3.PolicyTypeEgress, "Sideways")
		})
	}
	return s
}

// ofCluster makes a view of a ClusterNetworkPolicy, whose rules may be parts of one that was written, and mean nodes.
func (m maker) ofCluster(o *v3.GlobalNetworkPolicy) {
	o.Kind = string(v3.KindClusterNetworkPolicy)
	for _, rules := range [][]v3.Rule{o.Spec.Ingress, o.Spec.Egress} {
		for i := range rules {
			rules[i].Written = 1 + i/2
			if m.chance("nodes?", 40) {
				rules[i].Destination.NodeSelector = pick(m, "nodes", "all()", "zone == 'a'", "!has(zone)", "zone =")
			}
			if m.chance("unsupported?", 10) {
				rules[i].Unsupported = "a part of it"
			}
		}
	}
}

func (m maker) workload() *v3.WorkloadEndpoint {
	namespace, name := m.namespace(), m.name("p", 4)
	o := &v3.WorkloadEndpoint{ObjectMeta: m.meta(namespace, name)}
	o.Spec = v3.WorkloadEndpointSpec{
		Orchestrator: pick(m, "orchestrator", "k8s", ""), Node: pick(m, "node", "a", "b"), Pod: name, Endpoint: pick(m, "interface", "eth0", "eth0", "net1"),
		ServiceAccountName: pick(m, "account", "", "sa1", "sa2"), IPNetworks: append(some(m, "networks", 2, m.address), m.address()),
		Profiles: some(m, "profiles", 2, func() string { return pick(m, "profile", "kns."+namespace, "extra", "absent") }),
		Ports:    some(m, "endpoint ports", 2, m.endpointPort), InterfaceName: "fld" + name,
	}
	if m.chance("twin?", 15) {
		o.Spec.Pod = "p1"
	}
	if m.chance("probes?", 20) {
		o.Spec.ProbePorts = some(m, "probes", 3, func() uint16 { return pick[uint16](m, "probe", 8080, 80, 9901) })
	}
	if m.chance("spoof?", 10) {
		o.Spec.AllowSpoofedSourcePrefixes = some(m, "spoof", 2, m.net)
	}
	return o
}

func (m maker) service() *v3.ServiceEndpoints {
	namespace, name := pick(m, "service namespace", "n1", "n2"), m.name("s", 2)
	if m.chance("slice?", 50) {
		o := &v3.ServiceEndpoints{ObjectMeta: m.meta(namespace, name+"/"+m.name("slice", 2))}
		o.Spec = v3.ServiceEndpointsSpec{Service: name, Endpoints: some(m, "endpoints", 3, func() v3.ServiceEndpoint {
			return v3.ServiceEndpoint{Address: m.address(), Ports: some(m, "ports", 2, m.endpointPort)}
		})}
		return o
	}
	o := &v3.ServiceEndpoints{ObjectMeta: m.meta(namespace, name)}
	o.Spec = v3.ServiceEndpointsSpec{Selector: m.selector(), Ports: some(m, "service ports", 2, func() v3.ServicePort {
		return v3.ServicePort{Protocol: *m.protocol(), Port: 80, Target: m.port()}
	})}
	return o
}

func (m maker) block() *v3.IPAMBlock {
	o := &v3.IPAMBlock{ObjectMeta: metav1.ObjectMeta{Name: m.name("block", 2)}}
	o.Spec.CIDR = pick(m, "cidr", "10.0.0.0/29", "fd00::/125", "broken")
	for range 8 {
		o.Spec.Allocations = append(o.Spec.Allocations, pick(m, "allocation", nil, new(0), new(1), new(7)))
	}
	for i := range 2 {
		o.Spec.Attributes = append(o.Spec.Attributes, v3.AllocationAttribute{
			Secondary: map[string]string{"namespace": m.namespace(), "pod": fmt.Sprintf("p%d", i+1)},
		})
	}
	return o
}

func (m maker) profile() *v3.Profile {
	o := &v3.Profile{ObjectMeta: metav1.ObjectMeta{Name: pick(m, "profile", "kns.n1", "kns.n2", "kns.n3", "ksa.n1.sa1", "ksa.n2.sa1", "extra", v3.DefaultAllowProfile)}}
	o.Spec.LabelsToApply = map[string]string{
		pick(m, "key", "pcns.team", "pcsa.team", "app"): pick(m, "value", "a", "b"), "pcns.projectcalico.org/name": pick(m, "value", "n1", "n2"),
	}
	if m.chance("namespace label?", 20) {
		o.Spec.LabelsToApply["projectcalico.org/namespace"] = m.namespace()
	}
	o.Spec.Ingress, o.Spec.Egress = some(m, "ingress", 2, m.rule), some(m, "egress", 1, m.rule)
	return o
}

func (m maker) object() v3.Object {
	switch rapid.IntRange(0, 14).Draw(m.T, "kind") {
	case 0, 1, 2:
		return m.workload()
	case 3, 4:
		return &v3.NetworkPolicy{ObjectMeta: m.meta(m.namespace(), m.name("np", 3)), Spec: v3.NetworkPolicySpec{PolicySpec: m.spec()}}
	case 5:
		o := &v3.GlobalNetworkPolicy{ObjectMeta: m.meta("", m.name("gnp", 4)), Spec: v3.GlobalNetworkPolicySpec{PolicySpec: m.spec()}}
		o.Spec.NamespaceSelector = pick(m, "policy namespaces", "", "", "team == 'a'", "all()", "team =")
		if m.chance("of the cluster?", 30) {
			m.ofCluster(o)
			return o
		}
		o.Spec.DoNotTrack, o.Spec.PreDNAT, o.Spec.ApplyOnForward = m.chance("doNotTrack", 15), m.chance("preDNAT", 15), m.chance("applyOnForward", 40)
		return o
	case 6:
		o := &v3.NetworkPolicy{ObjectMeta: m.meta(m.namespace(), m.name("np", 3)), Spec: v3.NetworkPolicySpec{PolicySpec: m.spec()}}
		o.Kind = string(v3.KindKubernetesNetworkPolicy)
		return o
	case 7:
		o := &v3.Tier{ObjectMeta: metav1.ObjectMeta{Name: pick(m, "tier", "t1", "t2", "default", "kube-admin")}}
		o.Spec.Order, o.Spec.DefaultAction = m.order(), pick(m, "default action", v3.Deny, v3.Pass, "")
		return o
	case 8:
		return &v3.NetworkSet{ObjectMeta: m.meta(m.namespace(), m.name("set", 2)), Spec: m.networkSet()}
	case 9:
		return &v3.GlobalNetworkSet{ObjectMeta: m.meta("", m.name("set", 2)), Spec: m.networkSet()}
	case 10:
		return m.profile()
	case 11:
		return m.service()
	case 12, 13:
		return m.hostEndpoint()
	}
	if m.chance("block?", 50) {
		return m.block()
	}
	o := &v3.Node{ObjectMeta: metav1.ObjectMeta{Name: pick(m, "node", "a", "b")}}
	o.Labels = pick(m, "node labels", nil, map[string]string{"zone": "a"}, map[string]string{"zone": "b"})
	o.Spec.Addresses = some(m, "addresses", 2, func() v3.NodeAddress { return v3.NodeAddress{Address: m.address()} })
	return o
}

func (m maker) hostEndpoint() *v3.HostEndpoint {
	o := &v3.HostEndpoint{ObjectMeta: m.meta("", m.name("host", 4))}
	o.Spec = v3.HostEndpointSpec{
		Node: pick(m, "node", "a", "a", "a", "b", ""), InterfaceName: pick(m, "interface", "*", "*", "eth0", "eth1", "", "", "no interface"),
		ExpectedIPs: some(m, "addresses", 3, m.address), Ports: some(m, "ports", 1, m.endpointPort),
		Profiles: some(m, "profiles", 2, func() string {
			return pick(m, "profile", "extra", "absent", v3.DefaultAllowProfile, v3.DefaultAllowProfile)
		}),
	}
	if m.chance("unreadable?", 10) {
		o.Spec.Invalid = "metadata.labels.role 5 does not fit"
	}
	return o
}

func (m maker) networkSet() v3.NetworkSetSpec {
	s := v3.NetworkSetSpec{Nets: some(m, "nets", 3, m.net)}
	if m.chance("domains?", 10) {
		s.AllowedEgressDomains = []string{"example.org"}
	}
	return s
}
