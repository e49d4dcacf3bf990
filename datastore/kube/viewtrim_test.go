package kube

import (
	"net/netip"
	"testing"
	"time"

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

func TestViewDoubt(t *testing.T) {
	start := time.Unix(1_700_000_000, 0)
	for _, test := range []struct {
		what        string
		known, lost int
		revision    string
		odd         bool
	}{
		{"nothing is lost", 100, 0, "200", false},
		{"a few of many", 100, 50, "200", false},
		{"most of many", 100, 51, "200", true},
		{"most of few", 9, 8, "200", false},
		{"all of few", 1, 1, "200", true},
		{"one, of a server that went back", 100, 1, "99", true},
		{"none, of a server that went back", 100, 0, "99", false},
		{"the first list", 0, 0, "1", false},
	} {
		d := doubt{}
		d.seen("100")
		if believed := d.believe(test.known, test.lost, test.revision, start, time.Minute); believed == test.odd {
			t.Errorf("%s: believed is %t", test.what, believed)
		}
		if !test.odd {
			continue
		}
		if d.believe(test.known, test.lost, test.revision, start.Add(59*time.Second), time.Minute) {
			t.Errorf("%s: believed after 59 s", test.what)
		}
		if !d.believe(test.known, test.lost, test.revision, start.Add(time.Minute), time.Minute) || !d.since.IsZero() {
			t.Errorf("%s: not believed after a minute", test.what)
		}
	}
	d := doubt{}
	d.believe(20, 20, "1", start, time.Minute)
	if !d.believe(20, 0, "1", start.Add(time.Second), time.Minute) || !d.since.IsZero() {
		t.Error("what is there again is doubted")
	}
}

func TestViewInstant(t *testing.T) {
	for text, want := range map[string]int64{
		"2026-01-01T00:00:00Z":                 1767225600,
		"2026-01-01T02:00:00+02:00":            1767225600,
		"2026-01-01 00:00:00.123456 +0000 UTC": 1767225600,
		"1767225600":                           1767225600,
		"":                                     0,
		"yesterday":                            0,
	} {
		if got := instant(text); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}

func TestViewAddressAt(t *testing.T) {
	for _, test := range []struct {
		cidr    string
		ordinal int
		want    string
		ok      bool
	}{
		{"10.0.0.192/26", 63, "10.0.0.255", true},
		{"10.0.0.192/26", 64, "10.0.1.0", false},
		{"10.0.0.0/16", 65535, "10.0.255.255", true},
		{"fd00::/112", 0x1234, "fd00::1234", true},
		{"255.255.255.0/24", 256, "0.0.0.0", false},
	} {
		got, ok := addressAt(netip.MustParsePrefix(test.cidr), test.ordinal)
		if ok != test.ok || ok && got.String() != test.want {
			t.Errorf("%s at %d: %s, %t; want %s, %t", test.cidr, test.ordinal, got, ok, test.want, test.ok)
		}
	}
}
