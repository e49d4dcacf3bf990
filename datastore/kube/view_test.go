package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/datastore/dstest"
)

// followed is a Syncer of views of a twin, with what it has delivered.
type followed struct {
	*testing.T
	twin   *twin
	views  *views
	log    *logText
	have   map[v3.Key]v3.Object
	events []v3.Key
	inSync bool
	faults []datastore.Fault
	out    chan datastore.Batch
	stop   func()
}

// logText is what has been logged.
type logText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logText) Write(text []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(text)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// viewStore is a Store of views alone.
type viewStore struct{ *views }

func (viewStore) Close() error { return nil }

// followViews follows kinds in a bubble of synctest; settle lets all that can happen happen.
func followViews(t *testing.T, w *twin, records datastore.Store, kinds ...v3.Kind) *followed {
	f := &followed{T: t, twin: w, log: &logText{}, have: map[v3.Key]v3.Object{}, out: make(chan datastore.Batch)}
	f.views = newViews(w, viewOptions{Records: records, Log: slog.New(slog.NewTextHandler(f.log, nil))})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = datastore.NewSyncer(viewStore{f.views}, kinds, nil).Run(ctx, f.out)
	}()
	f.stop = func() { cancel(); <-ended; f.views.close() }
	return f
}

// settle waits for so long, and takes what is delivered.
func (f *followed) settle(long time.Duration) {
	f.Helper()
	f.events = nil
	for after := time.After(long); ; {
		select {
		case batch := <-f.out:
			f.inSync = f.inSync || batch.InSync
			if batch.Faults != nil {
				f.faults = batch.Faults
			}
			for _, u := range batch.Updates {
				f.events = append(f.events, u.Key)
				if f.have[u.Key] = u.Object; u.Object == nil {
					delete(f.have, u.Key)
				}
			}
		case <-after:
			return
		}
	}
}

func (f *followed) want(what string, names ...string) {
	f.Helper()
	var have []string
	for key := range f.have {
		have = append(have, key.Name)
	}
	slices.Sort(have)
	if slices.Sort(names); !slices.Equal(have, names) {
		f.Errorf("%s: have %v, want %v", what, have, names)
	}
}

func (f *followed) wantEvents(what string, n int) {
	f.Helper()
	if len(f.events) != n {
		f.Errorf("%s: events of %v, want %d", what, f.events, n)
	}
}

func (f *followed) lines(text string) int { return strings.Count(f.log.String(), text) }

func wep(name string) v3.Key {
	return v3.Key{Kind: v3.KindWorkloadEndpoint, Namespace: "ns", Name: name}
}

func (f *followed) networks(name string) string {
	o, _ := f.have[wep(name)].(*v3.WorkloadEndpoint)
	if o == nil {
		return "no endpoint"
	}
	return strings.Join(o.Spec.IPNetworks, " ")
}

func (f *followed) wantNetworks(what, name, want string) {
	f.Helper()
	if got := f.networks(name); got != want {
		f.Errorf("%s: %s has %q, want %q", what, name, got, want)
	}
}

// inBubble runs a test with a clock of its own.
func inBubble(t *testing.T, test func(t *testing.T)) { synctest.Test(t, test) }

func TestViewPodsFollow(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newTwin()
		w.put(podResource, testPod("ns", "a", "1", "n1", map[string]string{"app": "x"}, "10.0.0.1"))
		w.put(podResource, testPod("ns", "host", "2", "n1", nil))
		hostPod := testPod("ns", "host", "2", "n1", nil, "192.0.2.1")
		hostPod.Spec.HostNetwork = true
		w.put(podResource, hostPod)
		f := followViews(t, w, nil, v3.KindWorkloadEndpoint)
		defer f.stop()
		f.settle(time.Second)
		f.want("first", "a")
		f.wantNetworks("from status", "a", "10.0.0.1/32")

		beat := testPod("ns", "a", "1", "n1", map[string]string{"app": "x"}, "10.0.0.1")
		beat.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, LastProbeTime: metav1.Now()}}
		beat.Annotations = map[string]string{"cni.projectcalico.org/podIP": "10.9.9.9/32"}
		beat.Generation = 7
		w.put(podResource, beat)
		f.settle(time.Second)
		f.wantEvents("a heartbeat", 0)

		w.put(podResource, testPod("ns", "a", "1", "n1", map[string]string{"app": "y"}, "10.0.0.1"))
		f.settle(time.Second)
		f.wantEvents("a label", 1)

		w.remove(podResource, "ns", "a")
		w.put(podResource, testPod("ns", "a", "9", "n2", nil, "10.0.0.7"))
		f.settle(time.Second)
		if got := f.have[wep("a")]; got == nil || got.GetUID() != "9" {
			t.Errorf("made again under the same name: %v", got)
		}
		done := testPod("ns", "a", "9", "n2", nil, "10.0.0.7")
		done.Status.Phase = corev1.PodSucceeded
		w.put(podResource, done)
		f.settle(time.Second)
		f.want("finished")
	})
}

func TestViewBlocksGiveAddresses(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newTwin()
		blocks := storedOf(v3.KindIPAMBlock)
		f := followViews(t, w, nil, v3.KindWorkloadEndpoint)
		defer f.stop()
		w.put(blocks, testBlock("b4", "10.0.0.0/28", map[int]v3.AllocationAttribute{3: allocationFor("ns", "a", "1", "n1", "s1", someTimes[0])}))
		f.settle(time.Second)
		f.want("a block before its pod")
		w.put(podResource, testPod("ns", "a", "1", "n1", nil))
		f.settle(time.Second)
		f.wantNetworks("block before pod", "a", "10.0.0.3/32")
		w.put(podResource, testPod("ns", "b", "2", "n1", nil, "10.0.0.9"))
		f.settle(time.Second)
		f.wantNetworks("status alone", "b", "10.0.0.9/32")
		w.put(blocks, testBlock("b4", "10.0.0.0/28", map[int]v3.AllocationAttribute{
			3: allocationFor("ns", "a", "1", "n1", "s1", someTimes[0]), 5: allocationFor("ns", "b", "2", "n1", "s2", someTimes[0])}))
		f.settle(time.Second)
		f.wantEvents("pod before block", 1)
		f.wantNetworks("pod before block", "b", "10.0.0.5/32")
		w.put(blocks, testBlock("b6", "fd00::/124", map[int]v3.AllocationAttribute{7: allocationFor("ns", "a", "1", "n1", "s1", someTimes[0])}))
		f.settle(time.Second)
		f.wantNetworks("both families", "a", "10.0.0.3/32 fd00::7/128")
		w.remove(podResource, "ns", "a")
		w.put(podResource, testPod("ns", "a", "3", "n1", nil))
		f.settle(time.Second)
		f.wantNetworks("another pod of the name", "a", "")
		w.remove(blocks, "", "b4")
		f.settle(time.Second)
		f.wantNetworks("without the block", "b", "10.0.0.9/32")
	})
}

func TestViewRecordsOfThisNode(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w, records := newTwin(), dstest.NewMemory()
		f := followViews(t, w, records, v3.KindWorkloadEndpoint)
		defer f.stop()
		record := &v3.WorkloadEndpoint{TypeMeta: metav1.TypeMeta{APIVersion: v3.APIVersion, Kind: string(v3.KindWorkloadEndpoint)}}
		record.Namespace, record.Name = "ns", "a"
		record.Spec = v3.WorkloadEndpointSpec{Node: "n1", Pod: "a", Endpoint: "eth0", ContainerID: "s1", InterfaceName: "cali1", IPNetworks: []string{"10.0.0.3/32"}}
		w.put(podResource, testPod("ns", "a", "1", "n1", map[string]string{"app": "x"}))
		created, err := f.views.Create(t.Context(), record)
		if err != nil || created.(*v3.WorkloadEndpoint).Spec.InterfaceName != "cali1" {
			t.Fatalf("Create: %v, %v", created, err)
		}
		f.settle(time.Second)
		got := f.have[wep("a")].(*v3.WorkloadEndpoint)
		if got.Labels["app"] != "x" || got.Spec.InterfaceName != "cali1" || got.Spec.IPNetworks[0] != "10.0.0.3/32" {
			t.Errorf("merged: %+v", got)
		}
		read, err := f.views.Get(t.Context(), wep("a"))
		if err != nil || read.GetResourceVersion() != got.ResourceVersion {
			t.Errorf("Get: revision %q, %v; the watch has %q", read.GetResourceVersion(), err, got.ResourceVersion)
		}
		if w.gets != 1 {
			t.Errorf("Get asked the server %d times, want once", w.gets)
		}
		w.remove(podResource, "ns", "a")
		f.settle(time.Second)
		f.want("its pod is gone", "a")
		gone, err := f.views.Get(t.Context(), wep("a"))
		if err != nil || gone.GetResourceVersion() == read.GetResourceVersion() {
			t.Errorf("Get of a record alone: %v, %v", gone, err)
		}
		if err := f.views.Delete(t.Context(), wep("a"), read.GetResourceVersion()); err != nil {
			t.Errorf("Delete by the revision of a merged one: %v", err)
		}
		f.settle(time.Second)
		f.want("DEL")
		_, err = f.views.Get(t.Context(), wep("a"))
		if !errors.Is(err, datastore.ErrNotFound) {
			t.Errorf("Get: %v", err)
		}
	})
}

func TestViewWithoutRecordsNothingIsWritten(t *testing.T) {
	v := newViews(newTwin(), viewOptions{})
	defer v.close()
	o := &v3.WorkloadEndpoint{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "a"}}
	_, created := v.Create(t.Context(), o)
	_, updated := v.Update(t.Context(), o)
	_, node := v.Update(t.Context(), &v3.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}})
	for _, err := range []error{created, updated, node, v.Delete(t.Context(), v3.KeyOf(o), "")} {
		if !errors.Is(err, datastore.ErrUnsupported) {
			t.Errorf("got %v, want ErrUnsupported", err)
		}
	}
}

func TestViewSlicesAndServices(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newTwin()
		slice := func(service string, ready bool) *discoveryv1.EndpointSlice {
			s := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "s1", Labels: map[string]string{discoveryv1.LabelServiceName: service}}}
			s.Endpoints = []discoveryv1.Endpoint{{Addresses: []string{"10.0.0.1"}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}}
			s.Generation = int64(w.revision)
			return s
		}
		w.put(serviceResource, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web"}, Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "x"}}})
		w.put(sliceResource, slice("web", true))
		f := followViews(t, w, nil, v3.KindServiceEndpoints)
		defer f.stop()
		f.settle(time.Second)
		f.want("first", "web", "web/s1")
		w.put(sliceResource, slice("web", false))
		f.settle(time.Second)
		f.wantEvents("readiness", 0)
		w.put(sliceResource, slice("other", false))
		f.settle(time.Second)
		f.want("of another service now", "other/s1", "web")
		w.put(sliceResource, slice("", false))
		f.settle(time.Second)
		f.want("of none", "web")
		for _, name := range []string{"web", "nothing/s1", "nothing"} {
			o, err := f.views.Get(t.Context(), v3.Key{Kind: v3.KindServiceEndpoints, Namespace: "ns", Name: name})
			if found := name == "web"; found != (err == nil) || !found && !errors.Is(err, datastore.ErrNotFound) {
				t.Errorf("Get %s: %v, %v", name, o, err)
			}
		}
	})
}

func TestViewUnreadableObjectStays(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newTwin()
		good := &rawPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", Generation: 1}, Spec: map[string]any{"podSelector": map[string]any{}}}
		good.APIVersion, good.Kind = "networking.k8s.io/v1", "NetworkPolicy"
		w.put(policyResource, good)
		f := followViews(t, w, nil, v3.KindKubernetesNetworkPolicy)
		defer f.stop()
		f.settle(time.Second)
		f.want("good", "p")
		broken := *good
		broken.Labels = map[string]string{}
		w.mu.Lock()
		w.revision++
		raw := []byte(`{"metadata":{"namespace":"ns","name":"p","labels":7},"spec":{}}`)
		w.things["networkpolicies"][objectName{"ns", "p"}] = twinObject{raw, w.revision}
		w.tell(policyResource, rawEvent{raw: raw})
		w.mu.Unlock()
		f.settle(time.Second)
		f.want("unreadable: what was known stays", "p")
		if len(f.faults) != 1 || f.faults[0].Key.Name != "p" {
			t.Errorf("faults: %v", f.faults)
		}
		w.put(policyResource, good)
		f.settle(time.Second)
		if f.want("mended", "p"); len(f.faults) != 0 {
			t.Errorf("faults: %v", f.faults)
		}
	})
}

func TestViewWatchOfBlocksIsShared(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newTwin()
		blocks := storedOf(v3.KindIPAMBlock)
		w.put(blocks, testBlock("b", "10.0.0.0/28", nil))
		f := followViews(t, w, nil, v3.KindWorkloadEndpoint)
		defer f.stop()
		f.settle(time.Second)
		if _, ok := f.views.joinBlocks(t.Context(), "0"); ok {
			t.Error("joined from before what is known")
		}
		w.put(blocks, testBlock("c", "10.0.1.0/28", nil))
		f.settle(time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		events, ok := f.views.joinBlocks(ctx, "2")
		if !ok {
			t.Fatal("not joined")
		}
		if e := <-events; e.Key.Name != "c" || e.Object == nil {
			t.Errorf("what came meanwhile: %+v", e)
		}
		w.remove(blocks, "", "b")
		if e := <-events; e.Key.Name != "b" || e.Object != nil {
			t.Errorf("what comes: %+v", e)
		}
		w.expire()
		if e := <-events; !errors.Is(e.Err, datastore.ErrExpired) {
			t.Errorf("after a relist: %+v", e)
		}
	})
}

// TestViewRelistInOrder: what a relist finds comes in the order of revisions too.
func TestViewRelistInOrder(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newTwin()
		for i := range 30 {
			w.put(clusterPolicyResource, clusterPolicy(fmt.Sprint("p", i)))
		}
		f := followViews(t, w, nil, v3.KindClusterNetworkPolicy)
		defer f.stop()
		f.settle(time.Second)
		list, err := f.views.List(t.Context(), v3.KindClusterNetworkPolicy, "")
		if err != nil {
			t.Fatal(err)
		}
		events, err := f.views.Watch(t.Context(), v3.KindClusterNetworkPolicy, list.Revision)
		if err != nil {
			t.Fatal(err)
		}
		w.fail("", datastore.ErrUnreachable)
		for i := range 30 {
			w.put(clusterPolicyResource, clusterPolicy(fmt.Sprint("p", i*7%30)))
		}
		w.expire()
		w.fail("", nil)
		last := 0
		for range 30 {
			var at int
			e := <-events
			if _, err := fmt.Sscan(e.Object.GetResourceVersion(), &at); err != nil || at < last {
				t.Fatalf("%s is of revision %d, after %d (%v)", e.Key, at, last, err)
			}
			last = at
		}
	})
}

// TestViewOrderOfPolicies: who has seen a policy's revision has seen those before it, however slow it is; so do nodes report.
func TestViewOrderOfPolicies(t *testing.T) {
	w := newObjects()
	f := newFeed(v3.KindClusterNetworkPolicy, w)
	w.changed = f.changed
	watch := &feedWatch{wake: make(chan struct{}, 1), place: map[v3.Key]int{}}
	f.watches[watch] = true
	revision := 0
	put := func(name string) {
		revision++
		p := clusterPolicy(name)
		p.ResourceVersion = fmt.Sprint(revision)
		d := decodeClusterPolicy(encodeFor(clusterPolicyResource, p))
		w.set(origin{clusterPolicyResource, d.name}, d.object)
	}
	seen, last := 0, 0
	takeAll := func() {
		for f.more(watch) {
			for _, e := range f.take(watch) {
				var at int
				if _, err := fmt.Sscan(e.Object.GetResourceVersion(), &at); err != nil || at <= last {
					t.Fatalf("%s is of revision %d, after %d (%v)", e.Key, at, last, err)
				}
				last = at
				seen++
			}
		}
	}
	for i := range 5000 {
		put(fmt.Sprintf("p%d", i*i%701))
		if i%1777 == 0 {
			takeAll()
		}
	}
	if takeAll(); last != revision || seen >= 5000 {
		t.Errorf("came to %d of %d in %d events", last, revision, seen)
	}
}
