package kube

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"k8s.io/client-go/rest"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
)

// Options are the settings of a Store.
type Options struct {
	// Config says where the API server is and who asks it.
	Config *rest.Config
	// Node is the name of this node; "" for one that is not on a node.
	Node string
	// Records hold what this node's agent knows of the sandboxes of its pods: WorkloadEndpoints are written there, and never to the API
	// server. nil: WorkloadEndpoints are not written. The Store closes it.
	Records datastore.Store
	Log     *slog.Logger // nil: none
	// UserAgent is what the server's logs and metrics know the process by; "": "felid/" and the version that it was built of.
	UserAgent string
	// Patience is how long a list that has lost most of what was known has to stay so until it is believed; 0: one minute.
	Patience time.Duration

	times timing // zero: the usual one
}

// Store is the datastore of a Kubernetes cluster. It implements datastore.StatusStore.
type Store struct {
	client  *client
	stored  *stored
	views   *views
	reports *Reports
	records datastore.Store // or nil
}

var _ datastore.StatusStore = (*Store)(nil)

// Open makes a Store. It calls nobody: an API server that can't be reached, or a kind that it does not serve, is found by the first use.
func Open(o Options) (*Store, error) {
	if o.Config == nil {
		return nil, fmt.Errorf("kube datastore: %w: no configuration of an API server", datastore.ErrInvalid)
	}
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	config := rest.CopyConfig(o.Config)
	config.UserAgent = cmp.Or(o.UserAgent, config.UserAgent, userAgent())
	c, err := newClient(config, log, cmp.Or(o.times, usualTiming))
	if err != nil {
		return nil, fmt.Errorf("kube datastore: %w: %w", datastore.ErrInvalid, err)
	}
	v := newViews(c, viewOptions{Node: o.Node, Records: o.Records, Log: log, Patience: o.Patience})
	s := newStored(c, newPulses(v.causes, time.Now), cmp.Or(o.Patience, time.Minute), time.Now)
	if k, err := s.kind(v3.KindIPAMBlock); err == nil {
		v.shareBlocks(k)
	}
	return &Store{client: c, stored: s, views: v, reports: newReports(c), records: o.Records}, nil
}

func userAgent() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return "felid/" + info.Main.Version
	}
	return "felid"
}

// isView tells whether an object is made of one of Kubernetes' own.
func (s *Store) isView(key v3.Key) bool {
	if key.Kind == v3.KindProfile {
		return isViewOfProfile(key.Name)
	}
	return s.views.handles(key.Kind)
}

// Get implements datastore.Store. It asks the API server, whatever is watched.
func (s *Store) Get(ctx context.Context, key v3.Key) (v3.Object, error) {
	if s.isView(key) {
		return s.views.Get(ctx, key)
	}
	return s.stored.get(ctx, key)
}

// List implements datastore.Store. kubectl's annotation of what was applied is left out; an Update keeps it all the same. A list of all
// namespaces that lacks most of what was known is refused (ErrUnreachable) until it has stayed so for Options.Patience.
func (s *Store) List(ctx context.Context, kind v3.Kind, namespace string) (datastore.List, error) {
	if s.views.handles(kind) {
		return s.views.List(ctx, kind, namespace)
	}
	return s.stored.list(ctx, kind, namespace)
}

// Create implements datastore.Store.
func (s *Store) Create(ctx context.Context, o v3.Object) (v3.Object, error) {
	if err := datastore.Storable(v3.KeyOf(o)); err != nil {
		return nil, err
	}
	if s.isView(v3.KeyOf(o)) {
		return s.views.Create(ctx, o)
	}
	return s.stored.create(ctx, o)
}

// Update implements datastore.Store. Fields that this version does not know, outside of lists, and the status stay as they are.
func (s *Store) Update(ctx context.Context, o v3.Object) (v3.Object, error) {
	if err := datastore.Storable(v3.KeyOf(o)); err != nil {
		return nil, err
	}
	if s.isView(v3.KeyOf(o)) {
		return s.views.Update(ctx, o)
	}
	return s.stored.update(ctx, o)
}

// UpdateStatus implements datastore.StatusStore.
func (s *Store) UpdateStatus(ctx context.Context, o v3.Object) (v3.Object, error) {
	if s.isView(v3.KeyOf(o)) {
		return s.views.UpdateStatus(ctx, o)
	}
	return s.stored.updateStatus(ctx, o)
}

// Delete implements datastore.Store. An object with finalizers stays until those who set them are done.
func (s *Store) Delete(ctx context.Context, key v3.Key, revision string) error {
	if s.isView(key) {
		return s.views.Delete(ctx, key, revision)
	}
	return s.stored.remove(ctx, key, revision)
}

// Watch implements datastore.Store. It goes on through outages of the API server, however long, where it was.
func (s *Store) Watch(ctx context.Context, kind v3.Kind, revision string) (<-chan datastore.Event, error) {
	if s.views.handles(kind) {
		return s.views.Watch(ctx, kind, revision)
	}
	if kind == v3.KindIPAMBlock {
		if events, ok := s.views.joinBlocks(ctx, revision); ok {
			return events, nil
		}
	}
	return s.stored.watch(ctx, kind, revision)
}

// Health says how old what is known of each resource is that is watched.
func (s *Store) Health() []SourceHealth { return append(s.views.Health(), s.stored.pulses.list()...) }

// Outages are the kinds of which the API server is not heard at present, or not believed; nil: all are heard.
func (s *Store) Outages() []datastore.Outage { return outages(s.Health()) }

// Reports is where reports are written on this cluster.
func (s *Store) Reports() datastore.Reports { return s.reports }

// Close ends all that follows the API server, and all watches.
func (s *Store) Close() error {
	s.stored.close()
	s.views.close()
	s.client.close()
	if s.records != nil {
		return s.records.Close()
	}
	return nil
}
