package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

// viewOptions are those of the views; the zero value is of use.
type viewOptions struct {
	// Node is this node; "" for none.
	Node string
	// Records are the records of its sandboxes; nil: there are none, and none can be written.
	Records datastore.Store
	Log     *slog.Logger
	// Patience is how long a list that lost much must stay so to be believed; 0: a minute.
	Patience time.Duration
	// AbsentPause is between two looks for a resource that the server does not have and need not have; 0: 10 s.
	AbsentPause time.Duration

	now   func() time.Time
	delay func(attempt int, err error) time.Duration
}

func (o *viewOptions) complete() {
	o.Patience = cmp.Or(o.Patience, time.Minute)
	o.AbsentPause = cmp.Or(o.AbsentPause, 10*time.Second)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.now == nil {
		o.now = time.Now
	}
	if o.delay == nil {
		o.delay = retryDelay
	}
}

// views are the kinds that are made of Kubernetes' objects.
type views struct {
	up     upstream
	o      viewOptions
	causes *causes
	byKind map[v3.Kind]*view
	ctx    context.Context
	cancel context.CancelFunc
	ended  sync.WaitGroup
}

// view is one kind. Nothing is read before it is asked for; from then on it is followed until the datastore is closed.
type view struct {
	*feed
	sources []*source
	// Of WorkloadEndpoint alone:
	endpoints *endpoints
	records   chan struct{} // closed after the first list of the records

	start sync.Once
	lost  map[origin][]datastore.Fault
}

func newViews(up upstream, o viewOptions) *views {
	o.complete()
	v := &views{up: up, o: o, causes: newCauses(o.Log, o.now), byKind: map[v3.Kind]*view{}}
	v.ctx, v.cancel = context.WithCancel(context.Background())
	v.simple(v3.KindNode, part{nodeResource, decodeCore(nodeView), false})
	v.simple(v3.KindKubernetesNetworkPolicy, part{policyResource, decodePolicy, false})
	v.simple(v3.KindClusterNetworkPolicy, part{clusterPolicyResource, decodeClusterPolicy, true})
	v.simple(v3.KindServiceEndpoints, part{serviceResource, decodeCore(serviceView), false}, part{sliceResource, decodeCore(sliceView), false})
	v.simple(v3.KindProfile,
		part{namespaceResource, decodeCore(namespaceView), false},
		part{serviceAccountResource, decodeCore(serviceAccountView), false},
		part{storedOf(v3.KindProfile), decodeProfile, true})
	v.workloads()
	return v
}

func storedOf(kind v3.Kind) *resource {
	info, _ := v3.InfoOf(kind)
	return storedResource(info)
}

// part is a resource that a view is made of.
type part struct {
	resource *resource
	decode   func(raw []byte) decoded
	optional bool
}

// simple adds a kind each object of which is made of one object of one of these resources.
func (v *views) simple(kind v3.Kind, parts ...part) {
	content := newObjects()
	w := newView(kind, content)
	content.changed = w.changed
	for _, p := range parts {
		s := newSource(p.resource, v.up, p.decode, &v.o, v.causes, kind)
		s.optional, s.ordered = p.optional, kind == v3.KindKubernetesNetworkPolicy || kind == v3.KindClusterNetworkPolicy
		s.sinks = []sink{&viewSink{view: w, resource: p.resource, set: func(name objectName, o v3.Object) { content.set(origin{p.resource, name}, o) }}}
		w.sources = append(w.sources, s)
	}
	v.byKind[kind] = w
}

func newView(kind v3.Kind, content collection) *view {
	w := &view{feed: newFeed(kind, content), lost: map[origin][]datastore.Fault{}}
	w.feed.faults = w.allFaults
	return w
}

// workloads adds WorkloadEndpoint.
func (v *views) workloads() {
	e := newEndpoints()
	e.node = v.o.Node
	w := newView(v3.KindWorkloadEndpoint, e)
	w.endpoints, e.changed, w.records = e, w.changed, make(chan struct{})
	pods := newSource(podResource, v.up, decodePod, &v.o, v.causes, v3.KindWorkloadEndpoint)
	pods.sinks = []sink{&viewSink{view: w, resource: podResource, set: func(name objectName, o v3.Object) {
		pod, _ := o.(*v3.WorkloadEndpoint)
		e.setPod(name, pod)
	}}}
	blockResource := storedOf(v3.KindIPAMBlock)
	blocks := newSource(blockResource, v.up, storedDecoder(v3.KindIPAMBlock), &v.o, v.causes, v3.KindIPAMBlock, v3.KindWorkloadEndpoint)
	blocks.optional, blocks.joins = true, newJoins(v3.KindIPAMBlock)
	blocks.sinks = []sink{&viewSink{view: w, resource: blockResource, quiet: true, set: func(name objectName, o v3.Object) {
		block, _ := o.(*v3.IPAMBlock)
		e.setBlock(name.name, block)
	}}}
	w.sources = []*source{pods, blocks}
	v.byKind[v3.KindWorkloadEndpoint] = w
}

// decodeProfile reads a stored Profile; one that has the name of a view is none.
func decodeProfile(raw []byte) decoded {
	d := storedDecoder(v3.KindProfile)(raw)
	if isViewOfProfile(d.name.name) {
		d = decoded{name: d.name}
	}
	return d
}

// isViewOfProfile tells whether a profile's name is that of a namespace's or a service account's.
func isViewOfProfile(name string) bool {
	return strings.HasPrefix(name, "kns.") || strings.HasPrefix(name, "ksa.")
}

// viewSink gives what a source finds to a view.
type viewSink struct {
	view     *view
	resource *resource
	quiet    bool // somebody else reports its faults
	set      func(name objectName, o v3.Object)
}

func (s *viewSink) put(d *decoded) {
	s.view.mu.Lock()
	defer s.view.mu.Unlock()
	faults := d.faults
	if d.err != nil && faults == nil {
		faults = []datastore.Fault{{Key: s.keyOf(d.name), Err: d.err}}
	}
	s.setFaults(d.name, faults)
	if d.err == nil {
		s.set(d.name, d.object)
	}
}

func (s *viewSink) gone(name objectName) {
	s.view.mu.Lock()
	defer s.view.mu.Unlock()
	s.setFaults(name, nil)
	s.set(name, nil)
}

// keyOf is the key of the view of an object that can't be read, as far as its name tells.
func (s *viewSink) keyOf(name objectName) v3.Key {
	key := name.key(s.view.kind)
	switch s.resource {
	case namespaceResource:
		key.Name = "kns." + name.name
	case serviceAccountResource:
		key = v3.Key{Kind: s.view.kind, Name: "ksa." + name.namespace + "." + name.name}
	}
	return key
}

func (s *viewSink) setFaults(name objectName, faults []datastore.Fault) {
	of := origin{s.resource, name}
	if s.quiet || len(faults) == 0 && len(s.view.lost[of]) == 0 {
		return
	}
	same := slices.EqualFunc(faults, s.view.lost[of], func(a, b datastore.Fault) bool { return a.String() == b.String() })
	if len(faults) == 0 {
		delete(s.view.lost, of)
	} else {
		s.view.lost[of] = faults
	}
	if !same {
		s.view.faultsChanged()
	}
}

// allFaults are those of all objects, in order of their text. The caller holds mu.
func (w *view) allFaults() []datastore.Fault {
	var all []datastore.Fault
	for faults := range maps.Values(w.lost) {
		all = append(all, faults...)
	}
	slices.SortFunc(all, func(a, b datastore.Fault) int { return cmp.Compare(a.String(), b.String()) })
	return all
}

// follow begins to follow a view, and waits until it is whole.
func (v *views) follow(ctx context.Context, w *view) error {
	if err := errors.Join(ctx.Err(), v.ctx.Err()); err != nil {
		return fmt.Errorf("reading %s: %w", w.kind, err)
	}
	w.start.Do(func() {
		for _, s := range w.sources {
			v.ended.Go(func() { s.run(v.ctx) })
		}
		if w.records != nil {
			v.ended.Go(func() { v.followRecords(w) })
		}
	})
	for _, s := range w.sources {
		if err := s.ready(ctx); err != nil {
			return err
		}
	}
	if w.records == nil {
		return nil
	}
	select {
	case <-w.records:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("reading the records of this node's sandboxes: %w", ctx.Err())
	}
}

// followRecords gives the records of this node's sandboxes to the endpoints.
func (v *views) followRecords(w *view) {
	if v.o.Records == nil {
		close(w.records)
		return
	}
	var syncing sync.WaitGroup
	defer syncing.Wait()
	batches := make(chan datastore.Batch)
	syncer := datastore.NewSyncer(v.o.Records, []v3.Kind{v3.KindWorkloadEndpoint}, v.o.Log)
	syncing.Go(func() { _ = syncer.Run(v.ctx, batches) }) // ends with v.ctx alone
	whole := false
	for {
		select {
		case <-v.ctx.Done():
			return
		case batch := <-batches:
			w.takeRecords(&batch)
			if batch.InSync && !whole {
				whole = true
				close(w.records)
			}
		}
	}
}

// recordFaults is the origin of the records' faults.
var recordFaults = origin{resource: &resource{plural: "records"}}

func (w *view) takeRecords(batch *datastore.Batch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, u := range batch.Updates {
		record, _ := u.Object.(*v3.WorkloadEndpoint)
		w.endpoints.setRecord(objectName{u.Key.Namespace, u.Key.Name}, record)
	}
	if batch.Faults != nil {
		w.lost[recordFaults] = batch.Faults
		w.faultsChanged()
	}
}

// handles tells whether a kind is made of Kubernetes' objects.
func (v *views) handles(kind v3.Kind) bool { return v.byKind[kind] != nil }

// List is datastore.Store's. It answers from what is known, however old that is.
func (v *views) List(ctx context.Context, kind v3.Kind, namespace string) (datastore.List, error) {
	w := v.byKind[kind]
	if err := v.follow(ctx, w); err != nil {
		return datastore.List{}, err
	}
	return w.list(namespace), nil
}

// Watch is datastore.Store's. It ends only with ctx or the datastore, not with an outage.
func (v *views) Watch(ctx context.Context, kind v3.Kind, revision string) (<-chan datastore.Event, error) {
	if err := errors.Join(ctx.Err(), v.ctx.Err()); err != nil {
		return nil, fmt.Errorf("watching %s: %w", kind, err)
	}
	return v.byKind[kind].watch(ctx, revision)
}

// joinBlocks is a watch of IPAMBlock that shares that of WorkloadEndpoint; ok is false where it can't.
func (v *views) joinBlocks(ctx context.Context, revision string) (events <-chan datastore.Event, ok bool) {
	return v.byKind[v3.KindWorkloadEndpoint].sources[1].join(ctx, revision)
}

// shareBlocks has a stored kind learn of the events of IPAMBlocks that views read.
func (v *views) shareBlocks(k *storedKind) {
	k.follow()
	v.byKind[v3.KindWorkloadEndpoint].sources[1].joins.learn = func(key v3.Key, d *decoded, there bool) []datastore.Fault {
		if !k.learn(key, d.faults, d.lossy, there) {
			return nil
		}
		return k.allFaults()
	}
}

// Health says of every resource that is followed how far it is known.
func (v *views) Health() []SourceHealth {
	var all []SourceHealth
	for _, kind := range slices.Sorted(maps.Keys(v.byKind)) {
		for _, s := range v.byKind[kind].sources {
			if h, started := s.report(); started {
				all = append(all, h)
			}
		}
	}
	return all
}

func (v *views) close() {
	v.cancel()
	for _, w := range v.byKind {
		w.feed.close()
	}
	v.ended.Wait()
}
