package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

// twin is an API server in memory: revisions that grow over all resources, watches that go on from one, and faults as they are asked for.
type twin struct {
	mu       sync.Mutex
	revision int
	things   map[string]map[objectName]twinObject // by resource
	events   []twinEvent
	compact  int              // watches from before it are too old
	broken   map[string]error // by resource, "" for all
	changed  chan struct{}    // closed and made anew with every change
	lists    map[string]int
	gets     int
}

type twinObject struct {
	raw      []byte
	revision int
}

type twinEvent struct {
	resource string
	event    rawEvent
	at       int
}

func newTwin() *twin {
	return &twin{revision: 1, things: map[string]map[objectName]twinObject{}, broken: map[string]error{}, changed: make(chan struct{}), lists: map[string]int{}}
}

// put stores an object; it is given the next revision.
func (w *twin) put(r *resource, o metav1.Object) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.revision++
	o.SetResourceVersion(strconv.Itoa(w.revision))
	raw := encodeFor(r, o)
	if w.things[r.plural] == nil {
		w.things[r.plural] = map[objectName]twinObject{}
	}
	w.things[r.plural][objectName{o.GetNamespace(), o.GetName()}] = twinObject{raw, w.revision}
	w.tell(r, rawEvent{raw: raw})
}

func encodeFor(r *resource, o metav1.Object) []byte {
	var raw []byte
	var err error
	if r.protobuf {
		raw, err = o.(interface{ Marshal() ([]byte, error) }).Marshal()
	} else {
		raw, err = json.Marshal(o)
	}
	if err != nil {
		panic(err)
	}
	return raw
}

func (w *twin) remove(r *resource, namespace, name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.revision++
	there := w.things[r.plural][objectName{namespace, name}]
	delete(w.things[r.plural], objectName{namespace, name})
	w.tell(r, rawEvent{gone: true, raw: there.raw})
}

// tell adds an event. The caller holds mu.
func (w *twin) tell(r *resource, e rawEvent) {
	e.revision = strconv.Itoa(w.revision)
	w.events = append(w.events, twinEvent{r.plural, e, w.revision})
	w.wake()
}

func (w *twin) wake() {
	close(w.changed)
	w.changed = make(chan struct{})
}

// fail has calls about a resource ("": all) fail from now on; nil: no more.
func (w *twin) fail(resource string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.broken[resource] = err
	w.wake()
}

// forget empties the server, whose revisions begin anew.
func (w *twin) forget() (undo func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	revision, things, events := w.revision, w.things, w.events
	w.revision, w.things, w.events = 1, map[string]map[objectName]twinObject{}, nil
	w.wake()
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.revision, w.things, w.events = revision, things, events
		w.wake()
	}
}

// expire has all watches end as too old.
func (w *twin) expire() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.revision++
	w.compact, w.events = w.revision, nil
	w.wake()
}

func (w *twin) err(r *resource) error {
	for _, name := range []string{"", r.plural} {
		if err := w.broken[name]; err != nil {
			return fmt.Errorf("%s: %w", r, err)
		}
	}
	return nil
}

func (w *twin) list(_ context.Context, r *resource, namespace string, fresh func(), each func([]byte) error) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lists[r.plural]++
	if fresh != nil {
		fresh()
	}
	if err := w.err(r); err != nil {
		return "", err
	}
	for name, thing := range w.things[r.plural] {
		if namespace == "" || name.namespace == namespace {
			if err := each(thing.raw); err != nil {
				return "", err
			}
		}
	}
	return strconv.Itoa(w.revision), nil
}

func (w *twin) watch(ctx context.Context, r *resource, revision string, each func(rawEvent) error) error {
	after, err := strconv.Atoi(revision)
	if err != nil {
		return err
	}
	for {
		w.mu.Lock()
		changed, failed := w.changed, w.err(r)
		if failed == nil && (after < w.compact || after > w.revision) {
			failed = datastore.ErrExpired
		}
		var events []rawEvent
		for _, e := range w.events {
			if e.resource == r.plural && e.at > after {
				events = append(events, e.event)
			}
		}
		if len(events) == 0 {
			events = []rawEvent{{revision: strconv.Itoa(w.revision)}}
		}
		w.mu.Unlock()
		if failed != nil {
			return failed
		}
		for _, e := range events {
			if err := each(e); err != nil {
				return err
			}
			after, _ = strconv.Atoi(e.revision)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

func (w *twin) get(_ context.Context, r *resource, namespace, name string) ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gets++
	if err := w.err(r); err != nil {
		return nil, err
	}
	if thing, ok := w.things[r.plural][objectName{namespace, name}]; ok {
		return thing.raw, nil
	}
	return nil, fmt.Errorf("%s %s/%s: %w", r, namespace, name, datastore.ErrNotFound)
}

func (w *twin) patchStatus(context.Context, *resource, string, string, []byte) ([]byte, error) {
	return nil, datastore.ErrUnsupported // tested against a real server
}

// testPod is a Pod with as much as a real one has that matters.
func testPod(namespace, name, uid, node string, labels map[string]string, ips ...string) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name, UID: types.UID(uid), Labels: labels,
			CreationTimestamp: metav1.NewTime(time.Unix(1_700_000_000, 0)),
		},
		Spec: corev1.PodSpec{
			NodeName: node, ServiceAccountName: "app",
			Containers: []corev1.Container{{Name: "web", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}}}},
		},
		Status: corev1.PodStatus{Phase: corev1.PodRunning},
	}
	for _, ip := range ips {
		p.Status.PodIPs = append(p.Status.PodIPs, corev1.PodIP{IP: ip})
	}
	return p
}

// testBlock is a /28 with these allocations: by ordinal, what their attributes are.
func testBlock(name, cidr string, allocated map[int]v3.AllocationAttribute) *v3.IPAMBlock {
	b := &v3.IPAMBlock{TypeMeta: metav1.TypeMeta{APIVersion: v3.APIVersion, Kind: string(v3.KindIPAMBlock)}, ObjectMeta: metav1.ObjectMeta{Name: name}}
	b.Spec = v3.IPAMBlockSpec{CIDR: cidr, Allocations: make([]*int, 16), Unallocated: []int{}, Attributes: []v3.AllocationAttribute{}}
	for ordinal := range 16 {
		if a, ok := allocated[ordinal]; ok {
			index := len(b.Spec.Attributes)
			b.Spec.Allocations[ordinal] = &index
			b.Spec.Attributes = append(b.Spec.Attributes, a)
		} else {
			b.Spec.Unallocated = append(b.Spec.Unallocated, ordinal)
		}
	}
	return b
}

// allocationFor is what package ipam writes beside an address.
func allocationFor(namespace, pod, uid, node, sandbox, at string) v3.AllocationAttribute {
	handle := "felid.k8s." + sandbox + ".eth0"
	a := v3.AllocationAttribute{HandleID: &handle, Secondary: map[string]string{
		attrNamespace: namespace, attrPod: pod, attrNode: node, "container": sandbox, attrInterface: "eth0", "network": "k8s", attrTimestamp: at,
	}}
	if uid != "" {
		a.Secondary[v3.AttributePodUID] = uid
	}
	return a
}
