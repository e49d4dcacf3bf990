package local

import (
	"strings"
	"testing"

	v3 "github.com/felid-net/felid/api/v3"
)

const clusterYAML = `apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: p}
spec:
  tier: Admin
  priority: 1
  subject: {namespaces: {}}
  egress:
  - action: Accept
    to:
    - networks: [10.0.0.0/8]
  - action: Deny
    to:
    - gateways: {}
`

// TestClusterPolicyOfPeople: what people write is read strictly, and a fault names its line.
func TestClusterPolicyOfPeople(t *testing.T) {
	found, faults := Parse("f.yaml", []byte(clusterYAML))
	if len(faults) != 1 {
		t.Fatalf("faults %v", faults)
	}
	f := faults[0]
	if f.File != "f.yaml" || f.Line != 14 || f.Field != "spec.egress[1].to[0]" || f.Object != "ClusterNetworkPolicy p" {
		t.Errorf("fault %+v", f)
	}
	if len(found.Raw) != 1 || !found.Raw[0].Enforced() {
		t.Errorf("raw %+v", found.Raw)
	}
}

// TestClusterPolicyOfAStore: an agent takes the rules that it can read, and the policy is no fault of the node.
func TestClusterPolicyOfAStore(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "p.yaml", clusterYAML)
	list, err := openStore(t, dir).List(t.Context(), v3.KindClusterNetworkPolicy, "")
	if err != nil || len(list.Faults) != 0 || len(list.Objects) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	p := list.Objects[0].(*v3.GlobalNetworkPolicy)
	if v3.KeyOf(p).String() != "ClusterNetworkPolicy p" || len(p.Spec.Egress) != 2 || p.Spec.Egress[1].Unsupported == "" {
		t.Errorf("%+v", p)
	}
}

// TestOrderThatCantBeRead: such a policy is in force as the last of its tier, which nothing but a fault says.
func TestOrderThatCantBeRead(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "p.yaml", strings.Replace(clusterYAML, "priority: 1", "priority: first", 1))
	write(t, dir, "np.yaml", "{apiVersion: projectcalico.org/v3, kind: NetworkPolicy, metadata: {name: np, namespace: a}, spec: {order: first}}")
	s := openStore(t, dir)
	for kind, field := range map[v3.Kind]string{v3.KindClusterNetworkPolicy: "spec.priority", v3.KindNetworkPolicy: "spec.order"} {
		list, err := s.List(t.Context(), kind, "")
		if err != nil || len(list.Objects) != 1 || len(list.Faults) != 1 || !strings.Contains(list.Faults[0].String(), field) {
			t.Errorf("%s: %+v, %v", kind, list, err)
		}
	}
}
