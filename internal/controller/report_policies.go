package controller

import (
	"context"
	"slices"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/felid-net/felid/api/v1alpha1"
	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/policy"
)

// The times of statuses of policies.
const (
	// settleTime passes between a policy's change and the first status: in a small cluster all nodes have told by then, and one write says so.
	settleTime = 2 * time.Second
	// leastStatusInterval is the least time between two writes of one policy's status.
	leastStatusInterval = 5 * time.Second
	// statusesPerSecond is how many statuses are written at most, in the long run, while many policies wait for nodes.
	statusesPerSecond = 20
	// nodeReportsPerSecond is what nodes write at most, together: that many nodes need that many seconds to tell of a change.
	nodeReportsPerSecond = 50
)

// policyStatuses says in each policy's status what becomes of it: Accepted, and Programmed on how many nodes.
//
// A policy waits, from each change of its generation on, until all nodes have told that they have applied the revision of that change. From then on only
// a node that names it as failed brings it back: nodes that come later begin with all policies, and are no reason to write every status again.
type policyStatuses struct {
	reports datastore.Reports // nil: nodes tell nothing, and Programmed is left out
	tally   *tally
	// policies, by their key, and the tiers that there are; members of a tier are policies that name it.
	policies map[v3.Key]*policyState
	tiers    map[string]*v3.Tier
	members  map[string]map[v3.Key]struct{}
	waiting  int // policies that wait for nodes
	// synced: the reports that were there at the start have been seen.
	synced bool
	// stored are the PolicyReports, by the policy's key.
	stored map[v3.Key]*v1alpha1.PolicyReport
	tell   func(func() []v3.Key)
}

// policyState is what is known of a policy.
type policyState struct {
	object   v3.Object
	revision uint64 // that nodes must have applied; 0: any
	waits    bool
	since    time.Time // when it was first planned after its change
	written  time.Time // when a status was last wanted
	tier     string
	found    []policy.Condition // of this generation; nil: not judged yet
}

func newPolicyStatuses(reports datastore.Reports) *policyStatuses {
	return &policyStatuses{
		reports: reports, tally: newTally(), policies: map[v3.Key]*policyState{}, tiers: map[string]*v3.Tier{},
		members: map[string]map[v3.Key]struct{}{}, stored: map[v3.Key]*v1alpha1.PolicyReport{},
	}
}

// Name implements Reconciler.
func (s *policyStatuses) Name() string { return "policies" }

// Kinds implements Reconciler.
func (s *policyStatuses) Kinds() []v3.Kind {
	return append(slices.Clone(policyKinds[:]), v3.KindTier, v3.KindNode)
}

// Listen implements Listener: it hears of nodes' reports.
func (s *policyStatuses) Listen(ctx context.Context, tell func(func() []v3.Key)) error {
	if s.reports == nil {
		<-ctx.Done()
		return ctx.Err()
	}
	tell(func() []v3.Key { s.tell = tell; return nil })
	if err := s.readStored(ctx, tell); err != nil {
		return err
	}
	return s.reports.FollowNodeReports(ctx, func(node string, r *v1alpha1.NodeReport) error {
		tell(func() []v3.Key { return s.takeReport(node, r) })
		return nil
	})
}

// readStored reads the PolicyReports that an earlier controller has left, until it works.
func (s *policyStatuses) readStored(ctx context.Context, tell func(func() []v3.Key)) error {
	for delay := firstDelay; ; delay = min(2*delay, lastDelay) {
		all, err := s.reports.PolicyReports(ctx, "")
		if err == nil {
			tell(func() []v3.Key { return s.takeStored(all) })
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(delay):
		}
	}
}

func (s *policyStatuses) takeStored(all []*v1alpha1.PolicyReport) (items []v3.Key) {
	for _, r := range all {
		key := keyOfReference(r.Policy)
		s.stored[key] = r
		items = append(items, key)
	}
	return items
}

// takeReport takes a node's report; "" is the end of those that were there at the start: then all policies are looked at.
func (s *policyStatuses) takeReport(node string, r *v1alpha1.NodeReport) (items []v3.Key) {
	if node != "" {
		return s.tally.setReport(node, r)
	}
	s.synced = true
	for key := range s.policies {
		items = append(items, key)
	}
	return items
}

// Measure implements Measurer.
func (s *policyStatuses) Measure(m *Metrics) {
	m.policiesWaiting.Set(float64(s.waiting))
	m.policiesFailed.Set(float64(len(s.tally.failed)))
	m.silentNodes.Set(float64(s.tally.silent()))
}

// Update implements Reconciler.
func (s *policyStatuses) Update(key v3.Key, o v3.Object) []v3.Key {
	switch key.Kind {
	case v3.KindNode:
		s.tally.setMember(key.Name, o != nil)
		return nil
	case v3.KindTier:
		return s.updateTier(key.Name, o)
	}
	return s.updatePolicy(key, o)
}

func (s *policyStatuses) updateTier(name string, o v3.Object) (items []v3.Key) {
	tier, _ := o.(*v3.Tier)
	if (tier == nil) == (s.tiers[name] == nil) {
		s.tiers[name] = tier
		return nil
	}
	s.tiers[name] = tier
	for key := range s.members[name] {
		s.policies[key].found = nil
		items = append(items, key)
	}
	return items
}

func (s *policyStatuses) updatePolicy(key v3.Key, o v3.Object) []v3.Key {
	old := s.policies[key]
	if o == nil {
		if old != nil {
			s.leave(key, old)
			delete(s.policies, key)
		}
		return []v3.Key{key}
	}
	if old != nil && sameVersion(old.object, o) {
		old.object = o
		return []v3.Key{key}
	}
	p := &policyState{object: o}
	if old != nil {
		p.written = old.written
		s.leave(key, old)
	}
	s.policies[key] = p
	s.wait(p, key, old == nil)
	return []v3.Key{key}
}

// sameVersion tells that nothing but the status may have changed. Where there are no generations, any change counts.
func sameVersion(a, b v3.Object) bool {
	return a.GetUID() == b.GetUID() && a.GetGeneration() == b.GetGeneration() && (a.GetGeneration() != 0 || a.GetResourceVersion() == b.GetResourceVersion())
}

// wait makes a changed policy wait for nodes. One that is seen for the first time and says that it was programmed as it is does not: its revision
// may be that of a write of its status.
func (s *policyStatuses) wait(p *policyState, key v3.Key, first bool) {
	if c := meta.FindStatusCondition(s.statusOf(key, p), v1alpha1.PolicyProgrammed); first && c != nil &&
		c.Status == metav1.ConditionTrue && c.ObservedGeneration == p.object.GetGeneration() && c.ObservedGeneration != 0 {
		return
	}
	p.revision, _ = strconv.ParseUint(p.object.GetResourceVersion(), 10, 64) // 0 where revisions are no numbers: then nobody tells of any
	p.waits = true
	s.waiting++
}

// leave takes a policy out of what counts policies.
func (s *policyStatuses) leave(key v3.Key, p *policyState) {
	if p.waits {
		p.waits = false
		s.waiting--
	}
	if p.tier != "" {
		delete(s.members[p.tier], key)
	}
}

// statusOf are the conditions that are stored of a policy.
func (s *policyStatuses) statusOf(key v3.Key, p *policyState) []metav1.Condition {
	if key.Kind == v3.KindKubernetesNetworkPolicy {
		if r := s.stored[key]; r != nil && r.Status != nil {
			return r.Status.Conditions
		}
		return nil
	}
	switch o := p.object.(type) {
	case *v3.NetworkPolicy:
		return o.Status.Conditions
	case *v3.GlobalNetworkPolicy:
		return o.Status.Conditions
	}
	return nil
}

// interval is the least time between two writes of one status: more, where many wait.
func (s *policyStatuses) interval() time.Duration {
	nodes := time.Duration(len(s.tally.nodes)) * time.Second / nodeReportsPerSecond / 4
	return max(leastStatusInterval, time.Duration(s.waiting)*time.Second/statusesPerSecond, nodes)
}

// Plan implements Reconciler.
func (s *policyStatuses) Plan(key v3.Key, now time.Time) Step {
	p := s.policies[key]
	if p == nil {
		return s.planGone(key)
	}
	if s.reports != nil && !s.synced {
		return Step{}
	}
	if p.since.IsZero() {
		p.since = now
	}
	if rest := settleTime - now.Sub(p.since); p.waits && rest > 0 {
		return Step{Again: rest}
	}
	conditions := s.conditions(key, p, now)
	again := time.Duration(0)
	if p.waits {
		again = s.interval()
	}
	if equality.Semantic.DeepEqual(conditions, s.statusOf(key, p)) {
		return Step{Again: again}
	}
	if rest := s.interval() - now.Sub(p.written); rest > 0 && !p.written.IsZero() {
		return Step{Again: rest}
	}
	p.written = now
	return Step{Writes: s.write(key, p, conditions), Again: again}
}

// conditions are what is to be stored of a policy. Times are those of changes.
func (s *policyStatuses) conditions(key v3.Key, p *policyState, now time.Time) []metav1.Condition {
	s.judge(key, p)
	stored := s.statusOf(key, p)
	conditions := slices.Clone(stored)
	set := func(c metav1.Condition) {
		c.ObservedGeneration = p.object.GetGeneration()
		c.LastTransitionTime = metav1.NewTime(now.UTC().Truncate(time.Second))
		meta.SetStatusCondition(&conditions, c)
	}
	set(accepted(p.found, s.tally.inexpressibleOf(key)))
	if s.reports == nil {
		return conditions
	}
	n := s.tally.count(key, p.revision)
	if !p.waits {
		n = s.tally.count(key, 0)
	}
	c := programmed(&n, p.tier == "")
	if p.waits && (c.Status == metav1.ConditionTrue || p.tier == "") {
		p.waits = false
		s.waiting--
	}
	if old := meta.FindStatusCondition(stored, v1alpha1.PolicyProgrammed); old == nil || old.Status != c.Status || c.Status != metav1.ConditionTrue ||
		old.ObservedGeneration != p.object.GetGeneration() {
		set(c) // how many nodes there are by now is no reason to write
	}
	return conditions
}

// judge reads the policy, once a version.
func (s *policyStatuses) judge(key v3.Key, p *policyState) {
	if p.found != nil {
		return
	}
	p.tier, p.found = policy.Judge(p.object, func(name string) *v3.Tier { return s.tiers[name] })
	if p.found == nil {
		p.found = []policy.Condition{}
	}
	if p.tier == "" {
		return
	}
	if s.members[p.tier] == nil {
		s.members[p.tier] = map[v3.Key]struct{}{}
	}
	s.members[p.tier][key] = struct{}{}
}
