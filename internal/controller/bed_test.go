package controller

import (
	"bytes"
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/datastore/dstest"
)

// bed is a cluster in memory with a controller, inside a synctest bubble.
type bed struct {
	t     *testing.T
	store dstest.Cluster
	log   *logText
}

// logText keeps what is logged.
type logText struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// lines are those logged since the last call that contain a text.
func (l *logText) lines(part string) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text.String()) {
		if strings.Contains(line, part) {
			found = append(found, line)
		}
	}
	l.text.Reset()
	return found
}

func newBed(t *testing.T) *bed { return &bed{t: t, store: dstest.NewCluster(), log: &logText{}} }

// start runs reconcilers on a store until the returned function is called.
func (b *bed) start(store datastore.Store, reconcilers ...Reconciler) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	o := Options{Store: store, Reconcilers: reconcilers, Log: slog.New(slog.NewTextHandler(b.log, nil)), Metrics: NewMetrics(prometheus.NewRegistry())}
	go func() { ended <- Run(ctx, o) }()
	synctest.Wait()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			b.t.Error(err)
		}
	}
}

// after lets time pass, and everything come to rest.
func (b *bed) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// create stores an object, as a user does.
func (b *bed) create(o v3.Object) v3.Object {
	b.t.Helper()
	stored, err := b.store.Create(b.t.Context(), o)
	if err != nil {
		b.t.Fatal(err)
	}
	return stored
}

// edit changes what is stored.
func edit[T v3.Object](b *bed, o T, change func(T)) {
	b.t.Helper()
	changed := get(b, o).Copy().(T)
	change(changed)
	if _, err := b.store.Update(b.t.Context(), changed); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bed) delete(o v3.Object) {
	b.t.Helper()
	if err := b.store.Delete(b.t.Context(), v3.KeyOf(o), ""); err != nil {
		b.t.Fatal(err)
	}
}

// get is an object as it is stored now, which must be there.
func get[T v3.Object](b *bed, o T) T {
	b.t.Helper()
	there, err := b.store.Get(b.t.Context(), v3.KeyOf(o))
	if err != nil {
		b.t.Fatal(err)
	}
	return there.(T)
}

func (b *bed) has(o v3.Object) bool {
	_, err := b.store.Get(b.t.Context(), v3.KeyOf(o))
	return err == nil
}

// list are the objects of a kind.
func (b *bed) list(kind v3.Kind) []v3.Object {
	b.t.Helper()
	list, err := b.store.List(b.t.Context(), kind, "")
	if err != nil {
		b.t.Fatal(err)
	}
	return list.Objects
}

// expect compares a condition, "TYPE STATUS REASON", or "" for its absence.
func expect(t *testing.T, conditions []metav1.Condition, kind, want string) (message string) {
	t.Helper()
	got := ""
	for _, c := range conditions {
		if c.Type == kind {
			got, message = string(c.Status)+" "+c.Reason, c.Message
		}
	}
	if got != want {
		t.Errorf("condition %s is %q (%s); want %q", kind, got, message, want)
	}
	return message
}

func named[T v3.Object](o T, kind v3.Kind, namespace, name string) T {
	o.SetNamespace(namespace)
	o.SetName(name)
	switch o := any(o).(type) {
	case *v3.NetworkPolicy:
		o.Kind = string(kind)
	case *v3.GlobalNetworkPolicy:
		o.Kind = string(kind)
	}
	return o
}

// endpointOn is a pod of namespace ns on a node, with addresses.
func endpointOn(pod, node string, addresses ...string) *v3.WorkloadEndpoint {
	o := named(&v3.WorkloadEndpoint{}, v3.KindWorkloadEndpoint, "ns", pod)
	o.Spec.Node, o.Spec.Pod = node, pod
	for _, a := range addresses {
		o.Spec.IPNetworks = append(o.Spec.IPNetworks, a+"/32")
	}
	return o
}

func prefix(text string) netip.Prefix { return netip.MustParsePrefix(text) }
