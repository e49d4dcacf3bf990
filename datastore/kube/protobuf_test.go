package kube

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// enveloped is a message as the API server sends an object.
func enveloped(t testing.TB, message interface{ Marshal() ([]byte, error) }) []byte {
	t.Helper()
	raw, err := message.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	unknown := runtime.Unknown{TypeMeta: runtime.TypeMeta{APIVersion: "v1", Kind: "X"}, Raw: raw, ContentType: "application/x"}
	data, err := unknown.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return append(slices.Clone(protobufMagic), data...)
}

func somePods(n int) *corev1.PodList {
	list := &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: "17", Continue: "more"}}
	for i := range n {
		pod := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("pod-%d", i), Namespace: "ns", ResourceVersion: fmt.Sprint(i + 1)}}
		pod.Status.PodIPs = []corev1.PodIP{{IP: "10.0.0.1"}, {IP: "fd00::1"}}
		list.Items = append(list.Items, pod)
	}
	return list
}

func TestProtobufList(t *testing.T) {
	want := somePods(100)
	var got []corev1.Pod
	meta, err := protobufList(bytes.NewReader(enveloped(t, want)), func(raw []byte) error {
		var pod corev1.Pod
		if err := pod.Unmarshal(raw); err != nil {
			return err
		}
		if revision := protobufRevision(raw); revision != pod.ResourceVersion {
			t.Errorf("revision %q, want %q", revision, pod.ResourceVersion)
		}
		got = append(got, pod)
		return nil
	})
	if err != nil || meta.ResourceVersion != "17" || meta.Continue != "more" {
		t.Fatalf("%+v, %v", meta, err)
	}
	if !slices.EqualFunc(got, want.Items, func(a, b corev1.Pod) bool { return a.Name == b.Name && slices.Equal(a.Status.PodIPs, b.Status.PodIPs) }) {
		t.Errorf("got %d pods that differ", len(got))
	}
}

func TestProtobufListCut(t *testing.T) {
	whole := enveloped(t, somePods(3))
	for n := range len(whole) - len("application/x") - 4 { // what comes after the list is of no use
		if _, err := protobufList(bytes.NewReader(whole[:n]), func([]byte) error { return nil }); err == nil {
			t.Fatalf("%d of %d bytes gave no error", n, len(whole))
		}
	}
}

func FuzzProtobuf(f *testing.F) {
	f.Add(enveloped(f, somePods(3)))
	f.Add([]byte("k8s\x00\x12\xff\xff\xff\xff\x0f"))
	f.Fuzz(func(t *testing.T, data []byte) {
		items := 0
		_, err := protobufList(bytes.NewReader(data), func(raw []byte) error {
			items += 1 + len(raw)
			_ = protobufRevision(raw)
			return nil
		})
		if err == nil && items > len(data) {
			t.Errorf("%d bytes of items in %d bytes", items, len(data))
		}
		message := withoutEnvelope(data)
		if len(message) > len(data) {
			t.Error("more came out than went in")
		}
		var unknown runtime.Unknown
		if len(data) > 4 && bytes.HasPrefix(data, protobufMagic) && unknown.Unmarshal(data[4:]) == nil && len(unknown.Raw) > 0 && !bytes.Equal(unknown.Raw, message) {
			t.Errorf("Kubernetes' own decoder reads %x, we %x", unknown.Raw, message)
		}
	})
}
