package policy_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/policy"
)

func TestPeersOf(t *testing.T) {
	labelled := func(key, value string) map[string]string { return map[string]string{key: value} }
	var objects []v3.Object
	for name, address := range map[string]string{"a": "10.0.0.1", "b": "10.0.0.2", "c": "10.0.0.3"} {
		pod := &v3.WorkloadEndpoint{ObjectMeta: named("n", name)}
		pod.Labels, pod.Spec = labelled("pod", name), v3.WorkloadEndpointSpec{Pod: name, Node: "n1", IPNetworks: []string{address}}
		objects = append(objects, pod)
	}
	host := &v3.HostEndpoint{ObjectMeta: named("", "h")}
	host.Labels, host.Spec = labelled("role", "outside"), v3.HostEndpointSpec{Node: "n1", InterfaceName: "*", ExpectedIPs: []string{"172.18.0.1"}}
	global := &v3.GlobalNetworkSet{ObjectMeta: named("", "g")}
	global.Labels = labelled("role", "outside")
	own := &v3.NetworkSet{ObjectMeta: named("n", "s")}
	own.Labels = labelled("role", "outside")
	node := &v3.Node{ObjectMeta: named("", "n1")}
	node.Labels, node.Spec.Addresses = labelled("zone", "z"), []v3.NodeAddress{{Address: "172.18.0.1"}}
	slice := &v3.ServiceEndpoints{ObjectMeta: named("n", "svc/1")}
	slice.Spec.Service = "svc"
	for _, address := range []string{"10.0.0.2", "192.0.2.1"} {
		slice.Spec.Endpoints = append(slice.Spec.Endpoints, v3.ServiceEndpoint{
			Address: address, Ports: []v3.EndpointPort{{Protocol: v3.Protocol{Name: "TCP"}, Port: 80}},
		})
	}
	objects = append(objects, host, global, own, node, slice)

	p := &v3.GlobalNetworkPolicy{ObjectMeta: named("", "p")}
	p.Kind, p.Spec.Selector = string(v3.KindClusterNetworkPolicy), "nobody == 'x'"
	matching := func(s string) v3.EntityRule { return v3.EntityRule{Selector: s} }
	p.Spec.Ingress = []v3.Rule{
		{Action: v3.Allow, Source: matching("role == 'outside'")},
		{Action: v3.Allow, Source: v3.EntityRule{Nets: []string{"10.0.0.0/8"}}},
		{Action: v3.Deny, Source: v3.EntityRule{Selector: "has(pod)", NotSelector: "pod == 'b'"}, Destination: matching("pod == 'c'")},
	}
	p.Spec.Egress = []v3.Rule{
		{Action: v3.Allow, Written: 1, Destination: matching("pod == 'a'")},
		{Action: v3.Allow, Written: 1, Destination: v3.EntityRule{NodeSelector: "zone == 'z'"}},
		{Action: v3.Allow, Written: 2, Destination: v3.EntityRule{Services: &v3.ServiceMatch{Namespace: "n", Name: "svc"}}},
		{Action: v3.Allow, Written: 3, Destination: matching("pod == 'nothing'")},
	}
	want := []policy.RulePeers{
		{Direction: dataplane.Ingress, Source: []string{"globalnetworkset/g", "hostendpoint/h", "networkset/n/s"}},
		{Direction: dataplane.Ingress, Rule: 2, Source: []string{"pod/n/a", "pod/n/b", "pod/n/c"}, NotSource: []string{"pod/n/b"}, Destination: []string{"pod/n/c"}},
		{Direction: dataplane.Egress, Destination: []string{"node/n1", "pod/n/a"}},
		{Direction: dataplane.Egress, Rule: 1, Destination: []string{"192.0.2.1", "pod/n/b"}},
		{Direction: dataplane.Egress, Rule: 2, Destination: []string{}},
	}
	if diff := cmp.Diff(want, policy.PeersOf(objects, p)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := policy.PeersOf(objects, node); got != nil {
		t.Errorf("a node has rules: %v", got)
	}
}
