package kube

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"sigs.k8s.io/yaml"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/policy/selector"
)

// read decodes strictly: a misspelt field in a test would prove something else.
func read[T any](t testing.TB, text string) *T {
	t.Helper()
	o := new(T)
	if err := yaml.UnmarshalStrict([]byte(strings.ReplaceAll(text, "\t", "  ")), o); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return o
}

const webPod = `
apiVersion: v1
kind: Pod
metadata:
  name: web-7d4b9
  namespace: shop
  uid: 8c0f6c1e-0000-4000-8000-0123456789ab
  resourceVersion: "4711"
  creationTimestamp: "2026-03-01T10:00:00Z"
  labels:
    app: web
    pcns.team: forged
    pcsa.role: forged
    projectcalico.org/namespace: forged
  annotations:
    cni.projectcalico.org/podIP: 10.9.9.9/32
    cni.projectcalico.org/podIPs: 10.9.9.9/32
spec:
  nodeName: n1
  serviceAccountName: builder
  initContainers:
  - name: migrate
    ports: [{name: gone, containerPort: 1}]
  - name: proxy
    restartPolicy: Always
    ports: [{name: admin, containerPort: 9901}]
  containers:
  - name: web
    ports:
    - {name: http, containerPort: 8080, protocol: TCP}
    - {containerPort: 8081}
    - {name: dns, containerPort: 53, protocol: UDP}
  - name: copy
    ports:
    - {name: http, containerPort: 8080}
status:
  phase: Running
  podIP: 10.65.0.2
  podIPs: [{ip: 10.65.0.2}, {ip: "fd00:65::2"}, {ip: nonsense}]
`

func TestPod(t *testing.T) {
	got := Pod(read[corev1.Pod](t, webPod))
	if got.Name != "web-7d4b9" || got.Namespace != "shop" || got.ResourceVersion != "4711" || got.CreationTimestamp.IsZero() || got.UID == "" {
		t.Errorf("metadata %+v", got.ObjectMeta)
	}
	if got.TypeMeta != typeMeta(v3.KindWorkloadEndpoint) || len(got.Annotations) > 0 {
		t.Errorf("type %+v, annotations %v", got.TypeMeta, got.Annotations)
	}
	wantLabels := map[string]string{
		"app":                              "web",
		"projectcalico.org/namespace":      "shop",
		"projectcalico.org/orchestrator":   "k8s",
		"projectcalico.org/serviceaccount": "builder",
	}
	if diff := cmp.Diff(wantLabels, got.Labels); diff != "" {
		t.Error("labels", diff)
	}
	want := v3.WorkloadEndpointSpec{
		Orchestrator:       "k8s",
		Node:               "n1",
		Pod:                "web-7d4b9",
		Endpoint:           "eth0",
		ServiceAccountName: "builder",
		IPNetworks:         []string{"10.65.0.2/32", "fd00:65::2/128"},
		Profiles:           []string{"kns.shop", "ksa.shop.builder"},
		Ports: []v3.EndpointPort{
			{Name: "admin", Protocol: v3.Protocol{Name: "TCP"}, Port: 9901},
			{Name: "http", Protocol: v3.Protocol{Name: "TCP"}, Port: 8080},
			{Name: "dns", Protocol: v3.Protocol{Name: "UDP"}, Port: 53},
		},
	}
	if diff := cmp.Diff(want, got.Spec); diff != "" {
		t.Error("spec", diff)
	}
}

func TestWhichPodsAreEndpoints(t *testing.T) {
	cases := []struct {
		name, change string
		is           bool
		addresses    int
	}{
		{"running", "", true, 2},
		{"pending, addressed", "status: {phase: Pending, podIPs: [{ip: 10.65.0.2}]}", true, 1},
		{"the older field alone", "status: {phase: Running, podIP: 10.65.0.2}", true, 1},
		{"being deleted", "metadata: {name: x, namespace: y, deletionTimestamp: '2026-03-01T10:00:00Z'}\nstatus: {podIP: 10.65.0.2}", true, 1},
		{"not addressed", "status: {phase: Pending}", true, 0},
		{"zoned address", "status: {podIP: 'fe80::1%eth0'}", true, 0},
		{"IPv4 in IPv6 form", "status: {podIP: '::ffff:10.65.0.2'}", true, 1},
		{"host network", "spec: {hostNetwork: true}\nstatus: {podIP: 172.18.0.1}", false, 0},
		{"succeeded", "status: {phase: Succeeded, podIP: 10.65.0.2}", false, 0},
		{"failed", "status: {phase: Failed, podIP: 10.65.0.2}", false, 0},
	}
	for _, c := range cases {
		text := c.change
		if text == "" {
			text = webPod
		}
		got := Pod(read[corev1.Pod](t, text))
		if (got != nil) != c.is {
			t.Errorf("%s: %+v", c.name, got)
			continue
		}
		if got != nil && len(got.Spec.IPNetworks) != c.addresses {
			t.Errorf("%s: addresses %v", c.name, got.Spec.IPNetworks)
		}
		if got != nil && strings.Contains(strings.Join(got.Spec.IPNetworks, " "), "ffff") {
			t.Errorf("%s: %v", c.name, got.Spec.IPNetworks)
		}
	}
}

func TestPodWithoutServiceAccountHasTheDefaultOne(t *testing.T) {
	got := Pod(read[corev1.Pod](t, "metadata: {name: p, namespace: a}"))
	if diff := cmp.Diff([]string{"kns.a", "ksa.a.default"}, got.Spec.Profiles); diff != "" {
		t.Error(diff)
	}
	if got.Labels[selector.LabelServiceAccount] != "default" {
		t.Errorf("labels %v", got.Labels)
	}
}

func TestLongServiceAccountNamesAreLabelsToo(t *testing.T) {
	name := strings.Repeat("long", 20)
	got := Pod(read[corev1.Pod](t, "metadata: {name: p, namespace: a}\nspec: {serviceAccountName: "+name+"}"))
	if !selector.In(selector.LabelServiceAccount, []string{name}).Evaluate(selector.Map(got.Labels)) {
		t.Errorf("labels %v", got.Labels)
	}
}

func TestMerge(t *testing.T) {
	pod := Pod(read[corev1.Pod](t, webPod))
	record := &v3.WorkloadEndpoint{Spec: v3.WorkloadEndpointSpec{
		Orchestrator: "k8s", Node: "n2", Pod: "web-7d4b9", ContainerID: "c1", Endpoint: "eth0", InterfaceName: "fld123",
		IPNetworks: []string{"10.65.0.77/32"}, Profiles: []string{"kns.shop"}, ServiceAccountName: "default", MAC: "02:00:00:00:00:01",
	}}
	record.Name, record.Namespace, record.ResourceVersion = "web-7d4b9", "shop", "9"
	record.Labels = map[string]string{"from": "the configuration"}
	before := *record
	got := Merge(pod, record)
	want := record.Spec
	want.Profiles, want.ServiceAccountName, want.Ports = pod.Spec.Profiles, "builder", pod.Spec.Ports
	if diff := cmp.Diff(want, got.Spec); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(pod.Labels, got.Labels); diff != "" {
		t.Error(diff)
	}
	if got.ResourceVersion != "9" || !got.CreationTimestamp.Equal(&pod.CreationTimestamp) {
		t.Errorf("metadata %+v", got.ObjectMeta)
	}
	if diff := cmp.Diff(before, *record); diff != "" {
		t.Error("the record was changed", diff)
	}
}

func TestMergeWithOneSideMissing(t *testing.T) {
	pod, record := Pod(read[corev1.Pod](t, webPod)), &v3.WorkloadEndpoint{}
	if Merge(nil, record) != record || Merge(pod, nil) != pod || Merge(nil, nil) != nil {
		t.Error("the side that is there counts")
	}
	if got := Merge(pod, record).Spec; len(got.IPNetworks) != 2 || got.Node != "n1" {
		t.Errorf("an addressless record of eth0 takes the pod's addresses: %+v", got)
	}
	record.Spec.Endpoint = "net1"
	if got := Merge(pod, record).Spec; len(got.IPNetworks) != 0 || got.Endpoint != "net1" {
		t.Errorf("the pod's addresses are those of eth0: %+v", got)
	}
}

func TestNamespaceAndServiceAccount(t *testing.T) {
	objects := Namespace(read[corev1.Namespace](t, "metadata: {name: shop, labels: {team: red, projectcalico.org/name: forged}}"))
	if len(objects) != 1 {
		t.Fatalf("%d objects", len(objects))
	}
	ns := objects[0].(*v3.Profile)
	want := v3.ProfileSpec{
		Ingress: []v3.Rule{{Action: v3.Allow}},
		Egress:  []v3.Rule{{Action: v3.Allow}},
		LabelsToApply: map[string]string{
			"pcns.team": "red", "pcns.projectcalico.org/name": "shop", "pcns.kubernetes.io/metadata.name": "shop",
		},
	}
	if diff := cmp.Diff(want, ns.Spec); diff != "" || ns.Name != "kns.shop" || ns.Namespace != "" {
		t.Error(ns.Name, diff)
	}
	sa := ServiceAccount(read[corev1.ServiceAccount](t, "metadata: {name: builder, namespace: shop, labels: {role: ci}}"))[0].(*v3.Profile)
	want = v3.ProfileSpec{LabelsToApply: map[string]string{"pcsa.role": "ci", "pcsa.projectcalico.org/name": "builder"}}
	if diff := cmp.Diff(want, sa.Spec); diff != "" || sa.Name != "ksa.shop.builder" || sa.Namespace != "" {
		t.Error(sa.Name, diff)
	}
}

func TestNode(t *testing.T) {
	got := Node(read[corev1.Node](t, `
metadata: {name: n1, labels: {zone: a}}
spec: {podCIDR: 10.244.0.0/24}
status:
  addresses:
  - {type: InternalIP, address: 172.18.0.1}
  - {type: ExternalIP, address: 203.0.113.9}
  - {type: InternalIP, address: "fd00:18::1"}
  - {type: Hostname, address: n1}
  - {type: InternalDNS, address: 10.0.0.1}
  - {type: InternalIP, address: ""}`))
	want := v3.NodeSpec{
		OrchRefs:  []v3.OrchRef{{NodeName: "n1", Orchestrator: "k8s"}},
		Addresses: []v3.NodeAddress{{Address: "172.18.0.1", Type: "InternalIP"}, {Address: "203.0.113.9", Type: "ExternalIP"}, {Address: "fd00:18::1", Type: "InternalIP"}},
	}
	if diff := cmp.Diff(want, got.Spec); diff != "" || got.Name != "n1" || got.Labels["zone"] != "a" {
		t.Error(diff)
	}
}

func TestService(t *testing.T) {
	got := Service(read[corev1.Service](t, `
metadata: {name: web, namespace: shop}
spec:
  selector: {app: web, tier: front}
  ports:
  - {name: http, port: 80, targetPort: web}
  - {name: alt, port: 81, targetPort: 8081}
  - {name: dns, port: 53, protocol: UDP}
  - {name: bad, port: 0}`))
	want := v3.ServiceEndpointsSpec{
		Selector: `app == "web" && projectcalico.org/namespace == "shop" && projectcalico.org/orchestrator == "k8s" && tier == "front"`,
		Ports: []v3.ServicePort{
			{Name: "http", Protocol: v3.Protocol{Name: "TCP"}, Port: 80, Target: v3.Port{Name: "web"}},
			{Name: "alt", Protocol: v3.Protocol{Name: "TCP"}, Port: 81, Target: v3.Port{Min: 8081, Max: 8081}},
			{Name: "dns", Protocol: v3.Protocol{Name: "UDP"}, Port: 53, Target: v3.Port{Min: 53, Max: 53}},
		},
	}
	if diff := cmp.Diff(want, got.Spec); diff != "" || got.Name != "web" || got.Namespace != "shop" {
		t.Error(diff)
	}
}

func TestServiceThatSelectsNothing(t *testing.T) {
	for _, text := range []string{
		"metadata: {name: db, namespace: shop}",
		"metadata: {name: db, namespace: shop}\nspec: {type: ExternalName, externalName: db.example.com, selector: {app: web}}",
		"metadata: {name: db, namespace: shop}\nspec: {selector: {'app) || all(': web}}",
	} {
		s, err := selector.Parse(Service(read[corev1.Service](t, text)).Spec.Selector)
		if err != nil || s.Evaluate(selector.Map{}) || s.Evaluate(selector.Map(Pod(read[corev1.Pod](t, webPod)).Labels)) {
			t.Errorf("%s\nselector %s, %v", text, s, err)
		}
	}
}

func TestEndpointSlice(t *testing.T) {
	got := EndpointSlice(read[discoveryv1.EndpointSlice](t, `
metadata: {name: web-x2k, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints:
- {addresses: [10.65.0.2], conditions: {ready: true}, nodeName: n1}
- {addresses: [10.65.1.3], conditions: {ready: false, serving: false, terminating: true}}
- {addresses: [web.example.com]}
ports:
- {name: http, port: 8080, protocol: TCP}
- {port: 53, protocol: UDP}
- {name: any}`))
	ports := []v3.EndpointPort{{Name: "http", Protocol: v3.Protocol{Name: "TCP"}, Port: 8080}, {Protocol: v3.Protocol{Name: "UDP"}, Port: 53}}
	want := v3.ServiceEndpointsSpec{
		Service:   "web",
		Endpoints: []v3.ServiceEndpoint{{Address: "10.65.0.2", Ports: ports}, {Address: "10.65.1.3", Ports: ports}},
	}
	if diff := cmp.Diff(want, got.Spec); diff != "" || got.Name != "web/web-x2k" || got.Namespace != "shop" {
		t.Error(got.Name, diff)
	}
	if EndpointSlice(read[discoveryv1.EndpointSlice](t, "metadata: {name: x, namespace: shop}")) != nil {
		t.Error("a slice of no service must give nothing")
	}
}

func BenchmarkPod(b *testing.B) {
	p := read[corev1.Pod](b, webPod)
	b.ReportAllocs()
	for b.Loop() {
		Pod(p)
	}
}
