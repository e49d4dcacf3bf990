package dstest

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/felid-net/felid/api/v1alpha1"
	"github.com/felid-net/felid/datastore"
)

// Reports is a datastore.Reports in memory.
type Reports struct {
	mu       sync.Mutex
	nodes    map[string]*v1alpha1.NodeReport
	policies map[reportName]*v1alpha1.PolicyReport
	events   []datastore.PodEvent
	writes   int
	down     error
	changed  chan struct{}
}

type reportName struct{ namespace, name string }

var _ datastore.Reports = (*Reports)(nil)

// NewReports has none yet.
func NewReports() *Reports {
	return &Reports{
		nodes: map[string]*v1alpha1.NodeReport{}, policies: map[reportName]*v1alpha1.PolicyReport{}, changed: make(chan struct{}),
	}
}

// SetDown makes every call that writes or lists fail with err until it is nil; a follower waits.
func (r *Reports) SetDown(err error) {
	r.change(func() { r.down = err })
}

// Writes counts what was written and deleted: reports, not events.
func (r *Reports) Writes() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.writes
}

// Node is a node's report; nil: none.
func (r *Reports) Node(name string) *v1alpha1.NodeReport {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.nodes[name].DeepCopy()
}

// Events are all pod events so far.
func (r *Reports) Events() []datastore.PodEvent {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// DeleteNodeReport is what the garbage collector of a cluster does when the node goes.
func (r *Reports) DeleteNodeReport(name string) {
	r.change(func() { delete(r.nodes, name) })
}

// change runs f, and wakes followers.
func (r *Reports) change(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
	close(r.changed)
	r.changed = make(chan struct{})
}

// write runs f unless it is down.
func (r *Reports) write(ctx context.Context, f func()) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var err error
	r.change(func() {
		if err = r.down; err == nil {
			r.writes++
			f()
		}
	})
	return err
}

// PutNodeReport implements datastore.Reports.
func (r *Reports) PutNodeReport(ctx context.Context, n *v1alpha1.NodeReport) error {
	if n.Name == "" {
		return errors.Join(datastore.ErrInvalid, errors.New("a NodeReport without a name"))
	}
	return r.write(ctx, func() { r.nodes[n.Name] = n.DeepCopy() })
}

// FollowNodeReports implements datastore.Reports.
func (r *Reports) FollowNodeReports(ctx context.Context, each func(string, *v1alpha1.NodeReport) error) error {
	known := map[string]*v1alpha1.NodeReport{}
	for synced := false; ; {
		r.mu.Lock()
		nodes, down, changed := maps.Clone(r.nodes), r.down, r.changed
		r.mu.Unlock()
		if down == nil {
			if err := follow(known, nodes, each); err != nil {
				return err
			}
			known = nodes
			if !synced {
				synced = true
				if err := each("", nil); err != nil {
					return err
				}
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// follow calls each for what differs.
func follow(known, nodes map[string]*v1alpha1.NodeReport, each func(string, *v1alpha1.NodeReport) error) error {
	for _, name := range slices.Sorted(maps.Keys(nodes)) {
		if n := nodes[name]; known[name] != n {
			if err := each(name, n); err != nil {
				return err
			}
		}
	}
	for name := range known {
		if nodes[name] == nil {
			if err := each(name, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// PutPolicyReport implements datastore.Reports.
func (r *Reports) PutPolicyReport(ctx context.Context, p *v1alpha1.PolicyReport) error {
	if p.Name == "" || p.Namespace == "" {
		return errors.Join(datastore.ErrInvalid, errors.New("a PolicyReport without a name or a namespace"))
	}
	return r.write(ctx, func() { r.policies[reportName{p.Namespace, p.Name}] = p.DeepCopy() })
}

// DeletePolicyReport implements datastore.Reports.
func (r *Reports) DeletePolicyReport(ctx context.Context, namespace, name string) error {
	return r.write(ctx, func() { delete(r.policies, reportName{namespace, name}) })
}

// PolicyReports implements datastore.Reports.
func (r *Reports) PolicyReports(ctx context.Context, namespace string) ([]*v1alpha1.PolicyReport, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []*v1alpha1.PolicyReport
	for _, p := range r.policies {
		if namespace == "" || p.Namespace == namespace {
			out = append(out, p.DeepCopy())
		}
	}
	slices.SortFunc(out, func(a, b *v1alpha1.PolicyReport) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	return out, r.down
}

// PodEvent implements datastore.Reports.
func (r *Reports) PodEvent(ctx context.Context, e *datastore.PodEvent) error {
	return r.write(ctx, func() {
		r.writes--
		r.events = append(r.events, *e)
	})
}
