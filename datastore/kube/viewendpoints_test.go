package kube

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/policy/kube"
)

// world is what endpoints are made of, as it is now.
type world struct {
	node    string
	pods    map[objectName]*corev1.Pod
	blocks  map[string]*v3.IPAMBlock
	records map[objectName]*v3.WorkloadEndpoint
}

// endpoints makes them from scratch, as the documentation of the type says.
func (w *world) endpoints() map[v3.Key]*v3.WorkloadEndpoint {
	out := map[v3.Key]*v3.WorkloadEndpoint{}
	for name, p := range w.pods {
		view := w.pod(name)
		if view != nil && w.node != "" && view.Spec.Node == w.node {
			view = kube.Pod(p) // until its sandbox is recorded, what blocks say is not so yet
		}
		if view != nil {
			out[v3.KeyOf(view)] = view
		}
	}
	for name, record := range w.records {
		pod := w.pod(objectName{name.namespace, record.Spec.Pod})
		elsewhere := pod != nil && pod.Spec.Node != "" && pod.Spec.Node != record.Spec.Node
		uid := record.Annotations[v3.PodUIDAnnotation]
		another := pod != nil && uid != "" && string(pod.UID) != uid
		if pod == nil || elsewhere || another {
			out[v3.KeyOf(record)] = record
		} else {
			out[v3.KeyOf(record)] = kube.Merge(pod, record)
		}
	}
	return out
}

// pod is the view of a Pod, with the addresses that count.
func (w *world) pod(name objectName) *v3.WorkloadEndpoint {
	p := w.pods[name]
	if p == nil {
		return nil
	}
	view := kube.Pod(p)
	if view == nil {
		return nil
	}
	given := w.given(p)
	if len(given) == 0 {
		return view
	}
	var networks []string
	for _, a := range given {
		networks = append(networks, netip.PrefixFrom(a, a.BitLen()).String())
	}
	for _, text := range view.Spec.IPNetworks {
		is4 := netip.MustParsePrefix(text).Addr().Is4()
		if !slices.ContainsFunc(given, func(a netip.Addr) bool { return a.Is4() == is4 }) {
			networks = append(networks, text)
		}
	}
	view.Spec.IPNetworks = networks
	return view
}

// given are the addresses that blocks record for a pod's newest sandbox, sorted.
func (w *world) given(p *corev1.Pod) []netip.Addr {
	type record struct {
		at, handle string
		address    netip.Addr
	}
	var all []record
	for _, b := range w.blocks {
		cidr := netip.MustParsePrefix(b.Spec.CIDR)
		address := cidr.Addr()
		for ordinal := range b.Spec.Allocations {
			if index := b.Spec.Allocations[ordinal]; index != nil {
				a := b.Spec.Attributes[*index]
				of := a.Secondary
				if of["namespace"] == p.Namespace && of["pod"] == p.Name && of["node"] == p.Spec.NodeName && of["interface"] == "eth0" &&
					(of["uid"] == "" || of["uid"] == string(p.UID)) && a.ReleasedAt == nil {
					all = append(all, record{of["timestamp"], *a.HandleID, address})
				}
			}
			address = address.Next()
		}
	}
	if len(all) == 0 {
		return nil
	}
	newest := slices.MaxFunc(all, func(a, b record) int {
		return cmp.Or(strings.Compare(a.at, b.at), cmp.Compare(hashed(a.handle), hashed(b.handle)))
	})
	var out []netip.Addr
	for _, r := range all {
		if r.handle == newest.handle {
			out = append(out, r.address)
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return out
}

var (
	someNames = []string{"a", "b", "c"}
	someUIDs  = []string{"", "uid-1", "uid-2"}
	someNodes = []string{"n1", "n2"}
	someIPs   = []string{"10.0.0.1", "10.0.0.2", "10.0.1.1", "fd00::1", "fd00::2"}
	someTimes = []string{"2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z", "2026-01-01T00:00:02Z"}
)

func pick[T any](t *rapid.T, from []T) T { return rapid.SampledFrom(from).Draw(t, "pick") }

func drawPod(t *rapid.T) *corev1.Pod {
	p := testPod("ns", pick(t, someNames), pick(t, someUIDs), pick(t, append(someNodes, "")), map[string]string{"app": pick(t, someNames)},
		rapid.SliceOfNDistinct(rapid.SampledFrom(someIPs), 0, 2, func(s string) bool { return strings.Contains(s, ":") }).Draw(t, "ips")...)
	p.Status.Phase = pick(t, []corev1.PodPhase{corev1.PodRunning, corev1.PodRunning, corev1.PodPending, corev1.PodSucceeded})
	p.Spec.HostNetwork = rapid.IntRange(0, 9).Draw(t, "host") == 0
	p.Generation = rapid.Int64Range(1, 3).Draw(t, "generation")
	if rapid.Bool().Draw(t, "deleting") {
		p.DeletionTimestamp = &metav1.Time{Time: time.Unix(1_700_000_009, 0)}
	}
	return p
}

func drawBlock(t *rapid.T) *v3.IPAMBlock {
	cidr := pick(t, []string{"10.0.0.0/28", "10.0.1.0/28", "fd00::/124"})
	allocated := map[int]v3.AllocationAttribute{}
	for range rapid.IntRange(0, 5).Draw(t, "allocated") {
		a := allocationFor("ns", pick(t, someNames), pick(t, someUIDs), pick(t, someNodes), pick(t, []string{"s1", "s2", "s3"}), pick(t, someTimes))
		if rapid.IntRange(0, 5).Draw(t, "released") == 0 {
			a.ReleasedAt = &metav1.Time{Time: time.Unix(1_700_000_000, 0)}
		}
		if rapid.IntRange(0, 5).Draw(t, "second") == 0 {
			a.Secondary[attrInterface] = "net1"
		}
		allocated[rapid.IntRange(0, 15).Draw(t, "ordinal")] = a
	}
	return testBlock(cidr, cidr, allocated)
}

func drawRecord(t *rapid.T, revision int) *v3.WorkloadEndpoint {
	pod := pick(t, someNames)
	r := &v3.WorkloadEndpoint{TypeMeta: metav1.TypeMeta{APIVersion: v3.APIVersion, Kind: string(v3.KindWorkloadEndpoint)}}
	r.Namespace, r.Name, r.ResourceVersion = "ns", pod, fmt.Sprintf("r%d", revision)
	r.Spec = v3.WorkloadEndpointSpec{Node: "n1", Pod: pod, Endpoint: "eth0", ContainerID: pick(t, []string{"s1", "s2"}), InterfaceName: "cali" + pod}
	if rapid.IntRange(0, 2).Draw(t, "second") == 0 {
		r.Name, r.Spec.Endpoint = pod+"+net1", "net1"
	}
	if rapid.IntRange(0, 3).Draw(t, "bare") > 0 {
		r.Spec.IPNetworks = []string{pick(t, someIPs[:3]) + "/32"}
	}
	if uid := pick(t, someUIDs); uid != "" {
		r.Annotations = map[string]string{v3.PodUIDAnnotation: uid}
	}
	return r
}

// step changes the world and tells e.
func (w *world) step(t *rapid.T, e *endpoints, number int) {
	switch rapid.IntRange(0, 5).Draw(t, "what") {
	case 0, 1:
		p := drawPod(t)
		w.pods[objectName{p.Namespace, p.Name}] = p
		d := decodePod(encodeFor(podResource, p))
		view, _ := d.object.(*v3.WorkloadEndpoint)
		e.setPod(d.name, view)
	case 2:
		name := objectName{"ns", pick(t, someNames)}
		delete(w.pods, name)
		e.setPod(name, nil)
	case 3:
		b := drawBlock(t)
		name := b.Name
		if w.blocks[name] = b; rapid.IntRange(0, 4).Draw(t, "gone") == 0 {
			delete(w.blocks, name)
			b = nil
		}
		e.setBlock(name, b)
	case 4:
		r := drawRecord(t, number)
		w.records[objectName{r.Namespace, r.Name}] = r
		e.setRecord(objectName{r.Namespace, r.Name}, r)
	case 5:
		name := objectName{"ns", pick(t, []string{"a", "b", "a+net1", "b+net1"})}
		delete(w.records, name)
		e.setRecord(name, nil)
	}
}

// bare is an endpoint without what a view has of its own.
func bare(o *v3.WorkloadEndpoint) *v3.WorkloadEndpoint {
	o = o.DeepCopy()
	o.ResourceVersion, o.Generation = "", 0
	return o
}

// TestViewEndpointsAreAFunctionOfNow replays pods, blocks and records that come and go in any order: what there is then is what comes of them from
// scratch; a change is told of exactly those endpoints that changed; and revisions are equal exactly where contents are.
func TestViewEndpointsAreAFunctionOfNow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{
			node: rapid.SampledFrom([]string{"", "n1"}).Draw(t, "own node"),
			pods: map[objectName]*corev1.Pod{}, blocks: map[string]*v3.IPAMBlock{}, records: map[objectName]*v3.WorkloadEndpoint{},
		}
		e := newEndpoints()
		e.node = w.node
		told := map[v3.Key]bool{}
		number := uint64(0)
		e.changed = func(key v3.Key, _ bool) uint64 { told[key] = true; number++; return number }
		before := map[v3.Key]*v3.WorkloadEndpoint{}
		for i := range rapid.IntRange(1, 40).Draw(t, "steps") {
			w.step(t, e, i)
			after := map[v3.Key]*v3.WorkloadEndpoint{}
			for key := range e.numbers() {
				after[key] = e.object(key).(*v3.WorkloadEndpoint)
			}
			checkWorld(t, w, after)
			checkTold(t, before, after, told)
			before = after
			clear(told)
		}
		w.emptyInto(e)
		if len(e.rows)+len(e.blocks)+len(e.others) != 0 {
			t.Fatalf("when all is gone there remain %d rows, %d blocks, %d others", len(e.rows), len(e.blocks), len(e.others))
		}
	})
}

func checkWorld(t *rapid.T, w *world, have map[v3.Key]*v3.WorkloadEndpoint) {
	want := w.endpoints()
	if got, want := slices.Collect(maps.Keys(have)), slices.Collect(maps.Keys(want)); len(got) != len(want) {
		t.Fatalf("have %v, want %v", got, want)
	}
	for key, wanted := range want {
		if have[key] == nil {
			t.Fatalf("%s is missing", key)
		}
		if diff := gocmp.Diff(bare(wanted), bare(have[key])); diff != "" {
			t.Fatalf("%s: -want +have:\n%s", key, diff)
		}
	}
}

func checkTold(t *rapid.T, before, after map[v3.Key]*v3.WorkloadEndpoint, told map[v3.Key]bool) {
	keys := maps.Clone(before)
	maps.Copy(keys, after)
	for key := range keys {
		b, a := before[key], after[key]
		same := b != nil && a != nil && gocmp.Equal(bare(b), bare(a))
		if b != nil && a != nil && !same && b.ResourceVersion == a.ResourceVersion {
			t.Fatalf("%s changed, and its revision %q did not:\n%s", key, a.ResourceVersion, gocmp.Diff(b, a))
		}
		if same && strings.HasPrefix(a.ResourceVersion, "-") && b.ResourceVersion != a.ResourceVersion {
			t.Fatalf("%s did not change, and its revision did", key)
		}
		if changed := b == nil || a == nil || b.ResourceVersion != a.ResourceVersion; changed != told[key] {
			t.Fatalf("%s: changed is %t, and told of it is %t", key, changed, told[key])
		}
	}
	for key := range told {
		if keys[key] == nil {
			t.Fatalf("told of %s, which is not and was not", key)
		}
	}
}

// emptyInto takes everything away.
func (w *world) emptyInto(e *endpoints) {
	for name := range w.pods {
		e.setPod(name, nil)
	}
	for name := range w.records {
		e.setRecord(name, nil)
	}
	for name := range w.blocks {
		e.setBlock(name, nil)
	}
}

// TestViewFoldedPodIsWhole: what is kept of a pod gives back all of its view.
func TestViewFoldedPodIsWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		view := kube.Pod(drawPod(t))
		if view == nil {
			return
		}
		p := newSharer().fold(view)
		got := p.unfold(objectName{view.Namespace, view.Name}, p.addresses)
		if diff := gocmp.Diff(bare(view), bare(got)); diff != "" {
			t.Fatalf("-view +folded:\n%s", diff)
		}
	})
}

// TestViewBlockChangeTouchesItsPodsAlone: one more allocation in a block of many is one event.
func TestViewBlockChangeTouchesItsPodsAlone(t *testing.T) {
	e := newEndpoints()
	var told []string
	e.changed = func(key v3.Key, _ bool) uint64 { told = append(told, key.Name); return uint64(len(told)) }
	allocated := map[int]v3.AllocationAttribute{}
	for i := range 10 {
		name := fmt.Sprintf("p%d", i)
		e.setPod(objectName{"ns", name}, kube.Pod(testPod("ns", name, name, "n1", nil)))
		allocated[i] = allocationFor("ns", name, name, "n1", "s", someTimes[0])
	}
	e.setBlock("b", testBlock("b", "10.0.0.0/28", allocated))
	told = nil
	delete(allocated, 3)
	allocated[12] = allocationFor("ns", "p3", "p3", "n1", "s2", someTimes[1])
	allocated[13] = allocationFor("ns", "unknown", "", "n1", "s3", someTimes[1])
	e.setBlock("b", testBlock("b", "10.0.0.0/28", allocated))
	if want := []string{"p3"}; !slices.Equal(told, want) {
		t.Errorf("told of %v, want %v", told, want)
	}
	got := e.object(v3.Key{Kind: v3.KindWorkloadEndpoint, Namespace: "ns", Name: "p3"}).(*v3.WorkloadEndpoint).Spec.IPNetworks
	if want := []string{"10.0.0.12/32"}; !slices.Equal(got, want) {
		t.Errorf("p3 has %v, want %v", got, want)
	}
}
