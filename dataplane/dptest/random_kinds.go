package dptest

import (
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v3 "github.com/felid-net/felid/api/v3"
)

// options are how the hosts treat their own pods. One case in three is not for real packets, and has what those runners can't send.
func (g *generator) options() Options {
	o := Options{Guest: g.maybe(4), NoIPv6: g.maybe(12), Skip: map[string]string{}}
	if g.maybe(4) {
		o.HostToWorkload = "Policy"
	}
	if g.maybe(5) {
		o.WorkloadToHost = pick(g, "Deny", "Pass")
		o.Skip[RunnerACLs] = "HNS sees no traffic to its own node as such"
	}
	if g.maybe(3) {
		o.Skip[RunnerPackets] = "two pods of one address have one route, and the machine may have no SCTP"
	}
	return o
}

// tiers are some of those that policies name; the others do not exist, or are built in.
func (g *generator) tiers() []v3.Object {
	var tiers []v3.Object
	for i := range 3 {
		if g.maybe(5) {
			continue
		}
		t := &v3.Tier{
			TypeMeta: typeMeta(v3.KindTier), ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("t%d", i)},
			Spec: v3.TierSpec{Order: g.order(6), DefaultAction: pick(g, v3.Deny, v3.Deny, v3.Pass)},
		}
		tiers = append(tiers, t)
	}
	return tiers
}

func (g *generator) tier() string {
	return pick(g, "", "", "default", "t0", "t0", "t1", "t1", "t2", "kube-admin", "kube-baseline")
}

// order is nil once in n times.
func (g *generator) order(n int) *float64 {
	if g.maybe(n) {
		return nil
	}
	order := pick(g, 0, 1, 1, 2, -0.5, 1000, 1e7)
	return &order
}

func (g *generator) types() []v3.PolicyType {
	return pick(g, nil, nil, nil, []v3.PolicyType{v3.PolicyTypeIngress}, []v3.PolicyType{v3.PolicyTypeEgress},
		[]v3.PolicyType{v3.PolicyTypeIngress, v3.PolicyTypeEgress}, []v3.PolicyType{v3.PolicyTypeEgress, v3.PolicyTypeIngress})
}

// workloads are not of Kubernetes: they bring their profiles, which have rules and lend labels.
func (g *generator) workloads() []v3.Object {
	profile := func(name string) v3.Object {
		p := &v3.Profile{TypeMeta: typeMeta(v3.KindProfile), ObjectMeta: metav1.ObjectMeta{Name: name}}
		p.Spec.LabelsToApply = pick(g, nil, map[string]string{"role": "x"}, map[string]string{"role": "y", "size": "big"})
		for range g.IntN(3) {
			p.Spec.Ingress = append(p.Spec.Ingress, g.rule())
		}
		for range g.IntN(3) {
			p.Spec.Egress = append(p.Spec.Egress, g.rule())
		}
		return p
	}
	vm := &v3.WorkloadEndpoint{
		TypeMeta:   typeMeta(v3.KindWorkloadEndpoint),
		ObjectMeta: metav1.ObjectMeta{Namespace: pick(g, "a", "v"), Name: "vm", Labels: pick(g, nil, map[string]string{"role": "z"})},
		Spec: v3.WorkloadEndpointSpec{
			Node: "n1", Orchestrator: pick(g, "", "openstack"), Pod: "vm", Endpoint: "eth0", ContainerID: "c1", InterfaceName: "fldvm",
			IPNetworks: []string{"10.65.0.50", "fd00:65::50"},
			Profiles:   pick(g, nil, []string{"one"}, []string{"one", "missing", "two"}, []string{"two", "one"}, []string{"kns.a", "two"}),
			Ports:      pick(g, nil, []v3.EndpointPort{{Name: "http", Protocol: v3.Protocol{Name: "TCP"}, Port: 81}}),
		},
	}
	if g.maybe(3) {
		vm.Spec.AllowSpoofedSourcePrefixes = []string{"192.0.2.0/24", "fd00:65::/126"}
	}
	return []v3.Object{profile("one"), profile("two"), vm}
}

// claimant is a pod with the address of another; sometimes a block says whose it is.
func (g *generator) claimant(c *Case) error {
	short, err := parseCluster(fmt.Sprintf("pod b/twin role=%s ip:10.65.0.1 ip:fd00:65::1 created:%d", pick(g, "x", "y", "z"), pick(g, 1, 99)))
	if err != nil {
		return err
	}
	c.addCluster(short)
	if g.maybe(2) {
		index := 0
		secondary := pick(g, map[string]string{"namespace": "a", "pod": "p0"}, map[string]string{"namespace": "b", "pod": "twin"})
		c.add(&v3.IPAMBlock{
			TypeMeta: typeMeta(v3.KindIPAMBlock), ObjectMeta: metav1.ObjectMeta{Name: "10-65-0-0-30"},
			Spec: v3.IPAMBlockSpec{
				CIDR: "10.65.0.0/30", Allocations: []*int{nil, &index, nil, nil}, Unallocated: []int{0, 2, 3},
				Attributes: []v3.AllocationAttribute{{Secondary: secondary}},
			},
		})
	}
	return nil
}

// kubernetesPolicy is a NetworkPolicy as JSON.
func (g *generator) kubernetesPolicy(name string) []byte {
	spec := tree{"podSelector": g.labelSelector()}
	if types := g.types(); types != nil {
		spec["policyTypes"] = types
	}
	for _, direction := range []struct{ name, peers string }{{"ingress", "from"}, {"egress", "to"}} {
		if g.maybe(3) {
			continue
		}
		rules := []any{}
		for range g.IntN(3) {
			rules = append(rules, g.kubernetesRule(direction.peers))
		}
		spec[direction.name] = rules
	}
	data, err := json.Marshal(tree{
		"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": tree{"namespace": pick(g, "a", "b"), "name": name}, "spec": spec,
	})
	if err != nil {
		panic(err)
	}
	return data
}

func (g *generator) kubernetesRule(list string) tree {
	rule := tree{}
	if !g.maybe(4) {
		peers := []any{}
		for range g.IntN(3) {
			peers = append(peers, g.kubernetesPeer())
		}
		rule[list] = peers
	}
	if g.maybe(2) {
		ports := []any{}
		for range 1 + g.IntN(3) {
			ports = append(ports, pick(g, tree{"port": 80}, tree{"port": 81, "endPort": 90}, tree{"port": "http"}, tree{"protocol": "UDP"},
				tree{"port": 53, "protocol": "UDP"}, tree{"port": 80, "protocol": "SCTP"}, tree{"port": 70000}))
		}
		rule["ports"] = ports
	}
	return rule
}

func (g *generator) kubernetesPeer() tree {
	switch g.IntN(5) {
	case 0:
		return tree{"ipBlock": pick(g, tree{"cidr": "10.65.0.0/29", "except": []string{"10.65.0.2/31", "10.65.0.3/32"}}, tree{"cidr": "0.0.0.0/0", "except": []string{"10.0.0.0/8"}},
			tree{"cidr": "::/0", "except": []string{"fd00::/8"}}, tree{"cidr": "192.0.2.0/33"}, tree{"cidr": "fd00:65::/125", "except": []string{"fd00:65::4/126"}})}
	case 1:
		return tree{"namespaceSelector": g.labelSelector(), "podSelector": g.labelSelector()}
	case 2:
		return tree{"namespaceSelector": pick(g, tree{}, tree{"matchLabels": tree{"team": "red"}}, tree{"matchExpressions": []any{tree{"key": "team", "operator": "NotIn", "values": []string{"red"}}}})}
	}
	return tree{"podSelector": g.labelSelector()}
}

func (g *generator) labelSelector() tree {
	expression := func(operator string, values ...string) tree {
		e := tree{"key": "role", "operator": operator}
		if values != nil {
			e["values"] = values
		}
		return tree{"matchExpressions": []any{e}}
	}
	return pick(g, tree{}, tree{}, tree{"matchLabels": tree{"role": "x"}}, expression("In", "x", "y"), expression("NotIn", "x"), expression("Exists"), expression("DoesNotExist"))
}
