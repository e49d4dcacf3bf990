package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/felid-net/felid/api/v1alpha1"
	"github.com/felid-net/felid/datastore"
)

// The resources of reports.
var (
	nodeReports   = &resource{group: v1alpha1.Group, version: v1alpha1.Version, plural: "nodereports", kind: v1alpha1.KindNodeReport}
	policyReports = &resource{group: v1alpha1.Group, version: v1alpha1.Version, plural: "policyreports", kind: v1alpha1.KindPolicyReport, namespaced: true}
	podEvents     = &resource{group: "events.k8s.io", version: "v1", plural: "events", kind: "Event", namespaced: true}
	coreNodes     = &resource{version: "v1", plural: "nodes", kind: "Node"}
	corePods      = &resource{version: "v1", plural: "pods", kind: "Pod", namespaced: true}
)

// eventsController is what events say that they come from.
const eventsController = "felid.dev/agent"

// Reports implements datastore.Reports by the API server.
type Reports struct {
	client *client

	mu sync.Mutex
	// written is what is known of reports that were written, so that one that is written again needs one call.
	written map[reportKey]written
}

type written struct {
	revision string
	owners   []metav1.OwnerReference
}

type reportKey struct {
	resource        *resource
	namespace, name string
}

var _ datastore.Reports = (*Reports)(nil)

func newReports(c *client) *Reports {
	return &Reports{client: c, written: map[reportKey]written{}}
}

// PutNodeReport implements datastore.Reports. A new report is owned by its Node: it goes with it.
func (r *Reports) PutNodeReport(ctx context.Context, n *v1alpha1.NodeReport) error {
	n = n.DeepCopy()
	n.TypeMeta = metav1.TypeMeta{APIVersion: v1alpha1.APIVersion, Kind: v1alpha1.KindNodeReport}
	return r.put(ctx, nodeReports, n, func() error { return r.ownByNode(ctx, n) })
}

// ownByNode makes the Node the owner. One that is not there owns nothing.
func (r *Reports) ownByNode(ctx context.Context, n *v1alpha1.NodeReport) error {
	node, err := r.metaOf(ctx, coreNodes, "", n.Name)
	if errors.Is(err, datastore.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	n.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: n.Name, UID: node.UID}}
	return nil
}

// PutPolicyReport implements datastore.Reports.
func (r *Reports) PutPolicyReport(ctx context.Context, p *v1alpha1.PolicyReport) error {
	p = p.DeepCopy()
	p.TypeMeta = metav1.TypeMeta{APIVersion: v1alpha1.APIVersion, Kind: v1alpha1.KindPolicyReport}
	return r.put(ctx, policyReports, p, func() error { return nil })
}

// maxPutTries is how often a report is written that others write or delete meanwhile.
const maxPutTries = 5

// put replaces or creates an object; owned is called before each try to create it, or to replace it without knowing it. What others have
// written meanwhile is replaced.
func (r *Reports) put(ctx context.Context, res *resource, o metav1.Object, owned func() error) error {
	key := reportKey{res, o.GetNamespace(), o.GetName()}
	err := r.update(ctx, key, o)
	for tries := 1; err != nil && tries < maxPutTries; tries++ {
		if !errors.Is(err, datastore.ErrNotFound) && !errors.Is(err, datastore.ErrConflict) && !errors.Is(err, datastore.ErrExists) {
			return err
		}
		if err = owned(); err == nil {
			err = r.replace(ctx, key, o)
		}
	}
	return err
}

// update replaces what was written before; ErrNotFound where nothing was.
func (r *Reports) update(ctx context.Context, key reportKey, o metav1.Object) error {
	r.mu.Lock()
	before, known := r.written[key]
	r.mu.Unlock()
	if !known {
		return datastore.ErrNotFound
	}
	if len(o.GetOwnerReferences()) == 0 {
		o.SetOwnerReferences(before.owners)
	}
	return r.write(ctx, "update", key, o, before.revision)
}

// replace looks for the object and replaces or creates it.
func (r *Reports) replace(ctx context.Context, key reportKey, o metav1.Object) error {
	raw, err := r.client.get(ctx, key.resource, key.namespace, key.name)
	switch {
	case errors.Is(err, datastore.ErrNotFound):
		return r.write(ctx, "create", key, o, "")
	case err != nil:
		return err
	}
	_, _, revision := metaOf(raw)
	return r.write(ctx, "update", key, o, revision)
}

func (r *Reports) write(ctx context.Context, verb string, key reportKey, o metav1.Object, revision string) error {
	o.SetResourceVersion(revision)
	body, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("%s %s %s: %w: %w", verb, key.resource, key.name, datastore.ErrInvalid, err)
	}
	raw, err := r.client.do(ctx, &call{verb: verb, resource: key.resource, namespace: key.namespace, name: key.name, body: body})
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		delete(r.written, key)
		return err
	}
	_, _, now := metaOf(raw)
	r.written[key] = written{now, o.GetOwnerReferences()}
	return nil
}

// FollowNodeReports implements datastore.Reports.
func (r *Reports) FollowNodeReports(ctx context.Context, each func(string, *v1alpha1.NodeReport) error) error {
	f := &following{client: r.client, each: each, known: map[string]string{}}
	for attempt := 0; ; attempt++ {
		err := f.round(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case f.mine != nil:
			return f.mine
		case err == nil:
			attempt = -1
			continue
		}
		if !errors.Is(err, datastore.ErrExpired) {
			f.log(err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retryDelay(attempt, err)):
		}
	}
}

// following is a list and then watches of NodeReports.
type following struct {
	client *client
	each   func(string, *v1alpha1.NodeReport) error
	known  map[string]string // revisions that were given on
	synced bool
	from   string // the revision to watch from; "": list
	mine   error  // of each
	said   string // what was logged last
}

// log says each cause once.
func (f *following) log(err error) {
	if text := err.Error(); text != f.said {
		f.said = text
		f.client.log.Warn("can't follow nodes' reports; trying again", "error", err)
	}
}

// round lists where that is needed, and watches until the watch ends.
func (f *following) round(ctx context.Context) error {
	if f.from == "" {
		if err := f.list(ctx); err != nil {
			return err
		}
	}
	err := f.client.watch(ctx, nodeReports, f.from, func(e rawEvent) error {
		f.said = ""
		if e.raw != nil {
			if err := f.take(e.raw, e.gone); err != nil {
				return err
			}
		}
		f.from = e.revision
		return nil
	})
	if errors.Is(err, datastore.ErrExpired) {
		f.from = ""
	}
	return err
}

// list gives on what differs from what was given on before.
func (f *following) list(ctx context.Context) error {
	var seen map[string]bool
	revision, err := f.client.list(ctx, nodeReports, "", func() { seen = map[string]bool{} }, func(raw []byte) error {
		_, name, _ := metaOf(raw)
		seen[name] = true
		return f.take(raw, false)
	})
	if err != nil {
		return err
	}
	for name := range f.known {
		if !seen[name] {
			if err := f.give(name, nil); err != nil {
				return err
			}
		}
	}
	f.from = revision
	if !f.synced {
		f.synced = true
		f.mine = f.each("", nil)
	}
	return f.mine
}

// take gives on a report that is not known in this revision. One that can't be read says nothing.
func (f *following) take(raw []byte, gone bool) error {
	_, name, revision := metaOf(raw)
	if gone {
		return f.give(name, nil)
	}
	if f.known[name] == revision {
		return nil
	}
	report := &v1alpha1.NodeReport{}
	if err := json.Unmarshal(raw, report); err != nil {
		f.client.log.Warn("a NodeReport can't be read", "name", name, "error", err)
		return nil
	}
	f.known[name] = revision
	return f.give(name, report)
}

func (f *following) give(name string, report *v1alpha1.NodeReport) error {
	if report == nil {
		delete(f.known, name)
	}
	f.mine = f.each(name, report)
	return f.mine
}

// DeletePolicyReport implements datastore.Reports.
func (r *Reports) DeletePolicyReport(ctx context.Context, namespace, name string) error {
	_, err := r.client.do(ctx, &call{verb: "delete", resource: policyReports, namespace: namespace, name: name})
	r.mu.Lock()
	delete(r.written, reportKey{policyReports, namespace, name})
	r.mu.Unlock()
	if errors.Is(err, datastore.ErrNotFound) {
		return nil
	}
	return err
}

// PolicyReports implements datastore.Reports.
func (r *Reports) PolicyReports(ctx context.Context, namespace string) ([]*v1alpha1.PolicyReport, error) {
	var out []*v1alpha1.PolicyReport
	_, err := r.client.list(ctx, policyReports, namespace, func() { out = nil }, func(raw []byte) error {
		p := &v1alpha1.PolicyReport{}
		if err := json.Unmarshal(raw, p); err != nil {
			ns, name, _ := metaOf(raw)
			return fmt.Errorf("PolicyReport %s/%s: %w: %w", ns, name, datastore.ErrInvalid, err)
		}
		out = append(out, p)
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(out, func(a, b *v1alpha1.PolicyReport) int {
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
	return out, nil
}

// maxNote is how long the text of an event may be (events.k8s.io).
const maxNote = 1024

// PodEvent implements datastore.Reports by an Event of events.k8s.io. It names the pod by its uid too, by which kubectl describe finds it.
func (r *Reports) PodEvent(ctx context.Context, e *datastore.PodEvent) error {
	pod, err := r.metaOf(ctx, corePods, e.Namespace, e.Pod)
	if err != nil {
		return err
	}
	event := eventOf(e, pod.UID)
	body, err := json.Marshal(event)
	if err != nil {
		return fmt.Errorf("event of pod %s/%s: %w: %w", e.Namespace, e.Pod, datastore.ErrInvalid, err)
	}
	_, err = r.client.do(ctx, &call{verb: "create", resource: podEvents, namespace: e.Namespace, name: event.Name, body: body})
	return err
}

// metaOf is the metadata of one of Kubernetes' own objects.
func (r *Reports) metaOf(ctx context.Context, res *resource, namespace, name string) (*metav1.PartialObjectMetadata, error) {
	raw, err := r.client.do(ctx, &call{verb: "get", resource: res, namespace: namespace, name: name})
	if err != nil {
		return nil, err
	}
	o := &metav1.PartialObjectMetadata{}
	if err := json.Unmarshal(raw, o); err != nil {
		return nil, fmt.Errorf("%s %s/%s: %w: %w", res, namespace, name, datastore.ErrUnreachable, err)
	}
	return o, nil
}

func eventOf(e *datastore.PodEvent, pod types.UID) *eventsv1.Event {
	kind := corev1.EventTypeNormal
	if e.Warning {
		kind = corev1.EventTypeWarning
	}
	note := e.Message
	if len(note) > maxNote {
		note = strings.ToValidUTF8(note[:maxNote-3], "") + "…"
	}
	// As Kubernetes' own recorders name them: the object's name and the time.
	name := e.Pod[:min(len(e.Pod), 230)] + "." + strconv.FormatInt(e.Time.UnixNano(), 16)
	return &eventsv1.Event{
		TypeMeta:            metav1.TypeMeta{APIVersion: "events.k8s.io/v1", Kind: "Event"},
		ObjectMeta:          metav1.ObjectMeta{Namespace: e.Namespace, Name: name},
		EventTime:           metav1.NewMicroTime(e.Time),
		ReportingController: eventsController,
		ReportingInstance:   e.Node,
		Action:              e.Action,
		Reason:              e.Reason,
		Regarding:           corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: e.Namespace, Name: e.Pod, UID: pod},
		Note:                note,
		Type:                kind,
	}
}
