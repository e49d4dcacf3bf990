//go:build linux

package kube

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/test/bench/workload"
)

// The large cluster.
const (
	manyPods, manyNodes, manyPolicies, manyNamespaces = 100_000, 5_000, 5_000, 500
	localPods                                         = 20
)

// BenchmarkStart: an agent's start against a large cluster. Bars: enforcing in under 20 s, under 400 MB resident at the peak, under 200 MB after.
func BenchmarkStart(b *testing.B) {
	s := newBed(b, 1)
	for i := range localPods {
		if _, err := s.pod("node-1", fmt.Sprintf("local-%d", i), labelsOf(i)); err != nil {
			b.Fatal(err)
		}
	}
	n := s.Nodes[0]
	if err := syscall.Kill(n.PID, syscall.SIGTERM); err != nil {
		b.Fatal(err)
	}
	if err := s.seed(); err != nil {
		b.Fatal(err)
	}
	for range b.N {
		start := time.Now()
		if err := s.Start(n, s.flags()...); err != nil {
			b.Fatal(err)
		}
		for err := s.WaitReady(b.Context(), n); err != nil; err = s.WaitReady(b.Context(), n) {
			if time.Since(start) > 5*time.Minute {
				b.Fatal(err)
			}
		}
		ready := time.Since(start)
		cpu, err := processTime(n.PID)
		if err != nil {
			b.Fatal(err)
		}
		time.Sleep(75 * time.Second)
		after, peak, err := memory(n.PID)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(ready.Seconds(), "enforcing-s")
		b.ReportMetric(cpu.Seconds(), "cpu-s")
		b.ReportMetric(float64(peak)/1e6, "peak-MB")
		b.ReportMetric(float64(after)/1e6, "after-MB")
	}
}

func labelsOf(i int) map[string]string {
	labels := workload.SizeW3.RemoteEndpoint(i).Labels
	return map[string]string{"app": labels["app"], "tier": labels["tier"], "pod-template-hash": fmt.Sprintf("%08x", i%5000*2654435761), "i": fmt.Sprint(i % 5000)}
}

// seed writes the large cluster into etcd.
func (s *bed) seed() error {
	store, err := clientv3.New(clientv3.Config{Endpoints: []string{s.server.Etcd}})
	if err != nil {
		return err
	}
	defer store.Close()
	w := writer{store: store}
	for i := range manyNamespaces {
		ns := &corev1.Namespace{ObjectMeta: born("", fmt.Sprintf("ns-%d", i)), Status: corev1.NamespaceStatus{Phase: corev1.NamespaceActive}}
		ns.Labels = map[string]string{"kubernetes.io/metadata.name": ns.Name, "team": fmt.Sprint(i % 20)}
		w.core("/registry/namespaces/"+ns.Name, "Namespace", ns)
	}
	for i := range manyNodes {
		n := &corev1.Node{ObjectMeta: born("", fmt.Sprintf("far-%d", i))}
		n.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: fmt.Sprintf("192.0.%d.%d", 3+i/250, i%250+1)}}
		n.Status.Images = []corev1.ContainerImage{{Names: []string{"registry.example/some/image@sha256:" + fmt.Sprint(i)}, SizeBytes: 1 << 20}}
		w.core("/registry/minions/"+n.Name, "Node", n)
	}
	for i := range manyPods {
		p := farPod(i)
		w.core("/registry/pods/"+p.Namespace+"/"+p.Name, "Pod", p)
	}
	for i := range manyPolicies {
		p := workload.GlobalPolicy(i, fmt.Sprintf("i == '%d'", i))
		p.ObjectMeta = born("", p.Name)
		text, err := v3.Encode(p)
		if err != nil {
			return err
		}
		w.put("/registry/projectcalico.org/globalnetworkpolicies/"+p.Name, text)
	}
	if err := w.flush(); err != nil {
		return err
	}
	return s.caughtUp()
}

func born(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: namespace, Name: name, UID: types.UID("uid-" + namespace + "-" + name), CreationTimestamp: metav1.NewTime(time.Unix(1.7e9, 0)), Generation: 1,
	}
}

// ownership is as much as a pod says of who set which of its fields.
var ownership = `{"f:status":{` + strings.Repeat(`"f:conditions":{},`, 60) + `"f:phase":{}}}`

// farPod is about as large as pods are: some 3 kB.
func farPod(i int) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: born(fmt.Sprintf("ns-%d", i%manyNamespaces), fmt.Sprintf("deployment-%d-7c9f8d6b5-%05d", i%5000, i))}
	p.Labels = labelsOf(i)
	p.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubelet", Operation: metav1.ManagedFieldsOperationUpdate, APIVersion: "v1",
		FieldsType: "FieldsV1", FieldsV1: &metav1.FieldsV1{Raw: []byte(ownership)}}}
	p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: fmt.Sprintf("deployment-%d-7c9f8d6b5", i%5000), UID: "u"}}
	p.Spec = corev1.PodSpec{NodeName: fmt.Sprintf("far-%d", i%manyNodes), ServiceAccountName: "default", RestartPolicy: corev1.RestartPolicyAlways,
		Containers: []corev1.Container{{Name: "main", Image: "registry.example/team/service:v1.2.3", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080, Protocol: corev1.ProtocolTCP}},
			Env:       []corev1.EnvVar{{Name: "A", Value: "some value"}, {Name: "B", Value: "http://service.namespace.svc:8080/path"}},
			Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{"cpu": resource.MustParse("100m"), "memory": resource.MustParse("128Mi")}}}}}
	p.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: fmt.Sprintf("10.%d.%d.%d", 128+i>>16, i>>8&255, i&255), QOSClass: corev1.PodQOSBurstable}
	p.Status.PodIPs = []corev1.PodIP{{IP: p.Status.PodIP}}
	for _, c := range []corev1.PodConditionType{corev1.PodInitialized, corev1.PodReady, corev1.ContainersReady, corev1.PodScheduled} {
		p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: c, Status: corev1.ConditionTrue, LastTransitionTime: p.CreationTimestamp})
	}
	return p
}

// writer puts many keys into etcd, a hundred a transaction.
type writer struct {
	store *clientv3.Client
	ops   []clientv3.Op
	err   error
}

func (w *writer) put(key string, value []byte) {
	w.ops = append(w.ops, clientv3.OpPut(key, string(value)))
	if len(w.ops) == 100 {
		w.err = w.flush()
	}
}

func (w *writer) flush() error {
	if w.err != nil || len(w.ops) == 0 {
		return w.err
	}
	_, err := w.store.Txn(context.Background()).Then(w.ops...).Commit()
	w.ops = w.ops[:0]
	return err
}

// core puts an object of Kubernetes' own as the API server stores it: a protobuf message in an envelope.
func (w *writer) core(key, kind string, o interface{ Marshal() ([]byte, error) }) {
	raw, err := o.Marshal()
	if err == nil {
		envelope := runtime.Unknown{TypeMeta: runtime.TypeMeta{APIVersion: "v1", Kind: kind}, Raw: raw}
		raw, err = envelope.Marshal()
	}
	if err != nil {
		w.err = err
		return
	}
	w.put(key, append([]byte("k8s\x00"), raw...))
}
