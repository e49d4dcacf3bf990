package kube

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v3 "github.com/felid-net/felid/api/v3"
)

// TestProbePorts: of every sort of probe, of the containers that last, and of the pod itself.
func TestProbePorts(t *testing.T) {
	const head = "metadata: {name: p, namespace: a}\nstatus: {podIP: 10.65.0.2, podIPs: [{ip: 10.65.0.2}, {ip: 'fd00::2'}]}\nspec:\n"
	container := func(probes string) string { return head + "  containers:\n  - {name: c, " + probes + "}\n" }
	for name, test := range map[string]struct {
		pod  string
		want []uint16
	}{
		"none":                     {container("ports: [{containerPort: 80}]"), nil},
		"number":                   {container("livenessProbe: {httpGet: {port: 8080}}"), []uint16{8080}},
		"number as text":           {container("livenessProbe: {httpGet: {port: '8080'}}"), []uint16{8080}},
		"name":                     {container("readinessProbe: {tcpSocket: {port: web}}, ports: [{name: web, containerPort: 81}]"), []uint16{81}},
		"name of nothing":          {container("readinessProbe: {tcpSocket: {port: web}}"), nil},
		"grpc":                     {container("startupProbe: {grpc: {port: 9000}}"), []uint16{9000}},
		"exec":                     {container("startupProbe: {exec: {command: [x]}}"), nil},
		"all three, sorted, once":  {container("livenessProbe: {grpc: {port: 3}}, readinessProbe: {grpc: {port: 1}}, startupProbe: {httpGet: {port: 3}}"), []uint16{1, 3}},
		"out of range":             {container("livenessProbe: {grpc: {port: 70000}}, readinessProbe: {httpGet: {port: 0}}"), nil},
		"another host":             {container("livenessProbe: {httpGet: {port: 80, host: 10.9.9.9}}, readinessProbe: {tcpSocket: {port: 80, host: example.org}}"), nil},
		"the pod's own host":       {container("livenessProbe: {httpGet: {port: 80, host: 'fd00::2'}}"), []uint16{80}},
		"name of another's port":   {head + "  containers:\n  - {name: c, livenessProbe: {httpGet: {port: web}}}\n  - {name: d, ports: [{name: web, containerPort: 82}]}\n", nil},
		"several containers":       {head + "  containers:\n  - {name: c, livenessProbe: {httpGet: {port: 2}}}\n  - {name: d, livenessProbe: {httpGet: {port: 1}}}\n", []uint16{1, 2}},
		"sidecar":                  {head + "  initContainers:\n  - {name: c, restartPolicy: Always, livenessProbe: {httpGet: {port: 2}}}\n", []uint16{2}},
		"init container that ends": {head + "  initContainers:\n  - {name: c, livenessProbe: {httpGet: {port: 2}}}\n", nil},
	} {
		view := Pod(read[corev1.Pod](t, test.pod))
		if !slices.Equal(view.Spec.ProbePorts, test.want) {
			t.Errorf("%s: %v, want %v", name, view.Spec.ProbePorts, test.want)
		}
		record := &v3.WorkloadEndpoint{Spec: v3.WorkloadEndpointSpec{IPNetworks: []string{"10.65.0.2/32"}}}
		if merged := Merge(view, record); !slices.Equal(merged.Spec.ProbePorts, test.want) {
			t.Errorf("%s: merged %v, want %v", name, merged.Spec.ProbePorts, test.want)
		}
	}
}

func TestAutoHostEndpoint(t *testing.T) {
	node := &v3.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", Labels: map[string]string{"zone": "a"}}, Spec: v3.NodeSpec{
		Addresses:           []v3.NodeAddress{{Address: "192.0.2.1", Type: "InternalIP"}, {Address: "2001:db8::1/64"}, {Address: "nonsense"}},
		BGP:                 &v3.NodeBGPSpec{IPv4Address: "192.0.2.1/24", IPv4IPIPTunnelAddr: "10.65.0.1"},
		IPv4VXLANTunnelAddr: "10.65.0.0",
	}}
	want := &v3.HostEndpoint{
		TypeMeta: metav1.TypeMeta{APIVersion: v3.APIVersion, Kind: "HostEndpoint"},
		ObjectMeta: metav1.ObjectMeta{
			Name: "n1-auto-hep", Labels: map[string]string{"zone": "a", "projectcalico.org/created-by": "calico-kube-controllers"},
		},
		Spec: v3.HostEndpointSpec{
			Node: "n1", InterfaceName: "*", ExpectedIPs: []string{"192.0.2.1", "2001:db8::1", "10.65.0.0", "10.65.0.1"},
			Profiles: []string{"projectcalico-default-allow"},
		},
	}
	got := AutoHostEndpoint(node)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if faults := v3.Validate(got); len(faults) > 0 {
		t.Errorf("it is not valid: %v", faults)
	}
	if len(node.Labels) != 1 {
		t.Errorf("the node's own labels are now %v", node.Labels)
	}
	bare := AutoHostEndpoint(&v3.Node{ObjectMeta: metav1.ObjectMeta{Name: "n2"}})
	if bare.Name != "n2-auto-hep" || len(bare.Labels) != 1 || len(bare.Spec.ExpectedIPs) > 0 {
		t.Errorf("of a node without labels and addresses: %+v", bare)
	}
}
