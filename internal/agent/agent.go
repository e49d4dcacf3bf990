package agent

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/routing"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/policy"
)

// Kinds are the kinds of resource that a node watches.
var Kinds = []v3.Kind{
	v3.KindTier, v3.KindProfile, v3.KindNetworkPolicy, v3.KindGlobalNetworkPolicy, v3.KindKubernetesNetworkPolicy,
	v3.KindClusterNetworkPolicy,
	v3.KindNetworkSet, v3.KindGlobalNetworkSet, v3.KindHostEndpoint, v3.KindServiceEndpoints,
	v3.KindNode, v3.KindIPPool, v3.KindIPAMBlock, v3.KindWorkloadEndpoint,
}

// kindsFor leaves out what a guest has no use for and whoever serves resources to it may not have: blocks of addresses are the network's
// own, and pods' addresses come from their status.
func kindsFor(host dataplane.Host) []v3.Kind {
	if host.Owner {
		return Kinds
	}
	return slices.DeleteFunc(slices.Clone(Kinds), func(k v3.Kind) bool { return k == v3.KindIPAMBlock })
}

// Observer is a Dataplane that notices what others do to its host, and says what it works with. After either of the first two an Apply
// is wanted, which may be one with empty changes.
type Observer interface {
	// CheckDrift looks, beside any Apply, whether somebody else changed what the Dataplane holds.
	CheckDrift(ctx context.Context) (drifted bool, err error)
	// Drift receives when the host tells of such a change by itself, an interface that came or went, for one.
	Drift() <-chan struct{}
	// Backend is what enforces, and why that was chosen.
	Backend() (name, reason string)
}

// Options are what an Agent is made of.
type Options struct {
	Host          dataplane.Host
	Store         datastore.Store
	Dataplane     dataplane.Dataplane
	Log           *slog.Logger
	Metrics       *Metrics
	DriftInterval time.Duration // 0: drift is not looked for
	// CutDenied: after changes, tracked connections that policy denies by now are deleted. Dataplane must then be a Cutter.
	CutDenied bool
	// InterfaceTo is the host's interface that leads to these addresses; "" where that can't be told. nil: pods have no interfaces that the host
	// routes to, and Dataplane finds endpoints by their addresses. Beside another network plugin it finds the interfaces of pods that came without the gate.
	InterfaceTo func([]netip.Addr) string
	// Reports is where the node's report is written; nil: nowhere.
	Reports datastore.Reports
	// DenyEvents: a denied connection of a pod becomes an event of the pod. Dataplane must then be a Denier, and Reports not nil.
	DenyEvents bool
}

// Agent is the loop of one node. Run owns all that is not behind a channel or an atomic.
type Agent struct {
	o        Options
	requests chan func(*loop)
	status   atomic.Pointer[Status]
	stale    atomic.Pointer[[]datastore.Outage]
	moved    chan struct{} // the status has moved
	beat     atomic.Int64  // unix nanoseconds of the loop's last turn
}

// New makes an Agent; Run starts it.
func New(o Options) *Agent {
	a := &Agent{o: o, requests: make(chan func(*loop)), moved: make(chan struct{}, 1)}
	a.status.Store(&Status{Node: o.Host.Node})
	return a
}

// Run watches, resolves and applies until ctx ends; the rules then stay in place.
func (a *Agent) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	batches := make(chan datastore.Batch)
	syncer := datastore.NewSyncer(a.o.Store, kindsFor(a.o.Host), a.o.Log)
	ended := make(chan error, 1)
	go func() { ended <- syncer.Run(ctx, batches) }()

	l := a.newLoop()
	err := l.run(ctx, batches)
	cancel()
	if syncErr := <-ended; err == nil && !errors.Is(syncErr, context.Canceled) {
		err = syncErr
	}
	return err
}

func (a *Agent) newLoop() *loop {
	opts := policy.Options{Node: a.o.Host.Node, Host: a.o.Host}
	return &loop{
		Agent:    a,
		resolver: policy.NewResolver(opts),
		router:   routing.NewResolver(a.o.Host.Node),
		direct:   map[v3.Key]*directEndpoint{},
		records:  map[v3.Key]*v3.WorkloadEndpoint{},
		waiters:  map[*waiter]struct{}{},
		ungated:  map[v3.Key]string{},
		open:     map[dataplane.EndpointID]time.Time{},
		progress: newProgress(),
	}
}

// Ready says why endpoints can't be taken, if they can't: the node has not been brought in line with the datastore yet.
func (a *Agent) Ready() error {
	if s := a.status.Load(); !s.InSync || s.Applies == 0 {
		return errors.New("not in sync with the datastore yet")
	}
	return nil
}

// do runs f on the loop, and returns when it has run.
func (a *Agent) do(ctx context.Context, f func(*loop)) error {
	ran := make(chan struct{})
	select {
	case a.requests <- func(l *loop) { f(l); close(ran) }:
	case <-ctx.Done():
		return ctx.Err()
	}
	<-ran
	return nil
}

// Add gives the loop an endpoint directly, and returns once its policy is in force. On a deadline the error says what held it up; the
// endpoint then still counts, until Remove.
func (a *Agent) Add(ctx context.Context, wep *v3.WorkloadEndpoint) error {
	if err := a.Ready(); err != nil {
		return err
	}
	w := &waiter{id: policy.EndpointIDOf(wep), present: true, done: make(chan struct{})}
	return a.wait(ctx, w, func(l *loop) { l.addDirect(wep) })
}

// Remove takes an endpoint out, and returns once it is out of the kernel and its tracked connections are gone. Where another
// sandbox has taken its place meanwhile, nothing happens.
func (a *Agent) Remove(ctx context.Context, wep *v3.WorkloadEndpoint) error {
	if err := a.Ready(); err != nil {
		return err
	}
	w := &waiter{id: policy.EndpointIDOf(wep), done: make(chan struct{})}
	return a.wait(ctx, w, func(l *loop) { l.removeDirect(wep, w) })
}

// wait runs start on the loop, and then waits for w.
func (a *Agent) wait(ctx context.Context, w *waiter, start func(*loop)) error {
	begin := func(l *loop) {
		l.waiters[w] = struct{}{}
		start(l)
	}
	select {
	case a.requests <- begin:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
		return a.giveUp(ctx, w)
	}
}

// giveUp takes w off the loop and says what it was waiting for.
func (a *Agent) giveUp(ctx context.Context, w *waiter) error {
	last := make(chan error, 1)
	select {
	case a.requests <- func(l *loop) { delete(l.waiters, w); last <- w.last }:
		return errors.Join(context.Cause(ctx), <-last)
	case <-w.done:
		return nil
	case <-time.After(time.Second):
		return errors.Join(context.Cause(ctx), errors.New("the agent's loop is busy or has ended"))
	}
}
