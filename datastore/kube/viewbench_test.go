package kube

import (
	"fmt"
	"runtime"
	"testing"

	corev1 "k8s.io/api/core/v1"
	quantity "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v3 "github.com/felid-net/felid/api/v3"
)

// bigPod is pod number i of a cluster: twenty to a workload, one node in a hundred pods, and about 6 KB as a real one.
func bigPod(i int) *corev1.Pod {
	workload, node := i/20, i%1000
	namespace := fmt.Sprintf("team-%d", workload%200)
	app := fmt.Sprintf("service-%d", workload)
	hash := fmt.Sprintf("%010x", workload*2654435761)
	p := testPod(namespace, fmt.Sprintf("%s-%s-%05x", app, hash, i), fmt.Sprintf("%08x-1111-4222-8333-%012x", i, i), fmt.Sprintf("node-%04d.example.com", node),
		map[string]string{"app.kubernetes.io/name": app, "app.kubernetes.io/part-of": namespace, "tier": "backend", "pod-template-hash": hash},
		fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255), fmt.Sprintf("fd00::%x", i))
	container := &p.Spec.Containers[0]
	for n := range 12 {
		container.Env = append(container.Env, corev1.EnvVar{Name: fmt.Sprintf("SETTING_%d", n), Value: "a value of some length that a program is configured with"})
	}
	container.Image = "registry.example.com/team/" + app + "@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	container.Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: quantity.MustParse("100m")}
	container.ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: 8080}}}
	for n := range 5 {
		p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: fmt.Sprintf("volume-%d", n), VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
		p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: "Ready", Status: "True", LastTransitionTime: metav1.Now()})
	}
	p.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubelet", FieldsV1: &metav1.FieldsV1{Raw: make([]byte, 2500)}}}
	p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: app + "-" + hash, UID: p.UID}}
	return p
}

// bigBlock has the addresses of 64 pods of a node.
func bigBlock(number int, pods []*corev1.Pod) *v3.IPAMBlock {
	name := fmt.Sprintf("10.%d.%d.%d/26", number>>10, number>>2&255, number<<6&255)
	b := &v3.IPAMBlock{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v3.IPAMBlockSpec{CIDR: name, Allocations: make([]*int, 64)}}
	for i, p := range pods {
		b.Spec.Allocations[i] = &i
		sandbox := fmt.Sprintf("%064x", number*64+i)
		b.Spec.Attributes = append(b.Spec.Attributes, allocationFor(p.Namespace, p.Name, string(p.UID), p.Spec.NodeName, sandbox, someTimes[0]))
	}
	return b
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkViewPods feeds 100,000 pods of about 6 KB, and the blocks with their addresses, through what an agent does with each, and says what is held of
// one: without and with what the blocks say of it.
func BenchmarkViewPods(b *testing.B) {
	const pods = 100_000
	for range b.N {
		v := newViews(newTwin(), viewOptions{})
		w := v.byKind[v3.KindWorkloadEndpoint]
		before := heap()
		b.ResetTimer()
		for i := range pods {
			b.StopTimer()
			raw := encodeFor(podResource, bigPod(i))
			b.StartTimer()
			d := w.sources[0].decode(raw)
			w.sources[0].take(&d)
		}
		b.StopTimer()
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/pods/float64(b.N), "ns/pod")
		held := heap()
		b.ReportMetric(float64(held-before)/pods, "heldB/pod")
		for number := range pods / 64 {
			var of []*corev1.Pod
			for i := range 64 {
				of = append(of, bigPod(number*64+i))
			}
			d := decoded{name: objectName{"", fmt.Sprintf("b%d", number)}, object: bigBlock(number, of)}
			w.sources[1].take(&d)
		}
		b.ReportMetric(float64(heap()-held)/pods, "blockB/pod")
		held = heap()
		list := w.list("")
		b.ReportMetric(float64(heap()-held)/pods, "listedB/pod")
		if len(list.Objects) != pods {
			b.Fatalf("%d objects", len(list.Objects))
		}
		b.StartTimer()
		runtime.KeepAlive(v)
	}
}

// BenchmarkViewPodStatus is an update of a pod's status that changes nothing that matters.
func BenchmarkViewPodStatus(b *testing.B) {
	v := newViews(newTwin(), viewOptions{})
	w := v.byKind[v3.KindWorkloadEndpoint]
	raw := encodeFor(podResource, bigPod(7))
	b.ReportAllocs()
	for b.Loop() {
		d := w.sources[0].decode(raw)
		w.sources[0].take(&d)
	}
}
