package kube

import (
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"pgregory.net/rapid"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/policy/kube"
)

// TestViewTrimmedPodIsWhole: the view of a pod of which only some fields are read is that of the whole pod.
func TestViewTrimmedPodIsWhole(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	rapid.Check(t, func(t *rapid.T) {
		p := bigPod(rapid.IntRange(0, 1000).Draw(t, "number"))
		few := drawPod(t)
		p.Status.Phase, p.Spec.HostNetwork, p.Labels, p.DeletionTimestamp = few.Status.Phase, few.Spec.HostNetwork, few.Labels, few.DeletionTimestamp
		p.Spec.DeprecatedServiceAccount, p.Status.PodIP = p.Spec.ServiceAccountName, "10.1.2.3"
		if rapid.Bool().Draw(t, "old") {
			p.Spec.ServiceAccountName, p.Status.PodIPs = "", nil
		}
		side := corev1.Container{Name: "side", RestartPolicy: &always, Ports: []corev1.ContainerPort{{Name: "side", ContainerPort: 99, Protocol: "UDP"}}}
		side.LivenessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Port: intstr.FromString("side")}}}
		side.StartupProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(7)}}}
		p.Spec.InitContainers = []corev1.Container{{Name: "first"}, side}
		got, _ := decodePod(encodeFor(podResource, p)).object.(*v3.WorkloadEndpoint)
		if diff := gocmp.Diff(kube.Pod(p), got); diff != "" {
			t.Fatalf("-whole +trimmed:\n%s", diff)
		}
	})
}

// FuzzKeep: what is kept of anything is no longer than it could be, and what can be read is read alike twice.
func FuzzKeep(f *testing.F) {
	f.Add(encodeFor(podResource, bigPod(1)))
	f.Add([]byte{0x0a, 0xff})
	f.Fuzz(func(t *testing.T, message []byte) {
		kept, ok := keep(nil, message, wantedOfPod)
		if !ok {
			return
		}
		again, ok := keep(nil, kept, wantedOfPod)
		if !ok || len(again) != len(kept) {
			t.Fatalf("what is kept is %d bytes, of which %d are kept (%t)", len(kept), len(again), ok)
		}
	})
}
