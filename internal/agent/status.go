package agent

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/felid-net/felid/api/v1alpha1"
	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/policy"
)

// Status is what the agent says of its node, at /status.
type Status struct {
	Node    dataplane.NodeName `json:"node"`
	InSync  bool               `json:"inSync"`
	Applies int                `json:"applies"`
	// Dataplane says which back end enforces, and DataplaneReason why that one.
	Dataplane       string `json:"dataplane,omitempty"`
	DataplaneReason string `json:"dataplaneReason,omitempty"`
	// Assumptions are what the dataplane takes for granted about its host, and the node has found false or could not try.
	Assumptions []v1alpha1.Assumption `json:"assumptions,omitempty"`
	// Failed are objects that are not in force, by their names; they are retried.
	Failed map[string]string `json:"failed,omitempty"`
	// Unsupported are rules that this dataplane can't express, and what it does instead.
	Unsupported []string `json:"unsupported,omitempty"`
	// Conditions of resources: what is invalid, partially invalid, missing, not enforced.
	Conditions []policy.Condition `json:"conditions,omitempty"`
	// Faults are objects that can't be read from the datastore.
	Faults []string `json:"faults,omitempty"`
	// Applied is, for each kind of policy, up to which revision of the datastore all that is known is applied.
	Applied map[v3.Kind]uint64 `json:"applied,omitempty"`
	// Uncovered are endpoints of this node whose policy is not in force as it should be.
	Uncovered []string `json:"uncovered,omitempty"`
	// Ungated are pods that ran before their policy was in force.
	Ungated []string `json:"ungated,omitempty"`
	// Stale are kinds of which the datastore is not heard, since when and why.
	Stale     []datastore.Outage `json:"stale,omitempty"`
	Nodes     int                `json:"nodes"` // of the cluster
	Endpoints int                `json:"endpoints"`
	Policies  int                `json:"policies"`
	Stats     dataplane.Stats    `json:"stats"`

	failed      []v1alpha1.FailedObject
	faults      []datastore.Fault
	unsupported []dataplane.Unsupported
	news        uint64 // counts the changes of policies that are applied
}

// Status is what the agent says of its node now.
func (a *Agent) Status() *Status {
	s := *a.status.Load()
	if stale := a.stale.Load(); stale != nil {
		s.Stale = *stale
	}
	return &s
}

// wakeReporter says that the status has moved.
func (a *Agent) wakeReporter() {
	select {
	case a.moved <- struct{}{}:
	default: // it has been told
	}
}

// wholeDataplane is the name, in Status.Failed, of an Apply that failed as a whole.
const wholeDataplane = "dataplane"

// publish makes a new Status; state and result are nil where only faults moved.
func (l *loop) publish(state *dataplane.State, result *dataplane.Result) {
	s := *l.status.Load()
	s.InSync, s.Applies, s.Faults, s.faults = l.inSync, l.applies, faultTexts(l.faults), l.faults
	if o, ok := l.o.Dataplane.(Observer); ok {
		s.Dataplane, s.DataplaneReason = o.Backend()
	}
	if p, ok := l.o.Dataplane.(Prober); ok {
		s.Assumptions = p.Probed()
	}
	if state != nil {
		s.Endpoints, s.Policies, s.Nodes = len(state.Endpoints), len(state.Policies), len(state.Nodes)
		s.Conditions = l.resolver.Report().Conditions
		s.Ungated = l.ungatedNames()
	}
	if result != nil {
		l.unsupported = result.Unsupported
		s.setResult(state, result, l.lastErr)
		l.o.Metrics.observe(&s, result)
	}
	s.Applied, s.news = l.progress.applied, l.progress.newsApplied
	l.o.Metrics.reported(&s)
	l.status.Store(&s)
	l.wakeReporter()
}

// setResult says what came of an Apply; failure is what failed as a whole.
func (s *Status) setResult(state *dataplane.State, r *dataplane.Result, failure string) {
	s.Failed, s.Unsupported, s.Stats = failures(r), unsupported(r), r.Stats
	s.failed, s.unsupported, s.Uncovered = nil, r.Unsupported, nil
	if r.Failed() {
		s.failed = failedObjects(state, r)
	}
	for id := range r.Endpoints {
		s.Uncovered = append(s.Uncovered, string(id))
	}
	slices.Sort(s.Uncovered)
	if failure != "" && len(s.Failed) == 0 {
		s.Failed = map[string]string{wholeDataplane: failure}
		s.failed = []v1alpha1.FailedObject{{Object: "dataplane", Message: shortened(failure), AllPolicies: true}}
	}
}

// Enforcing says why the node does not enforce everything, if it doesn't: for /readyz.
func (s *Status) Enforcing() error {
	switch {
	case !s.InSync || s.Applies == 0:
		return errors.New("not in sync with the datastore yet")
	case len(s.Failed) > 0:
		return fmt.Errorf("not in force: %s", strings.Join(slices.Sorted(maps.Keys(s.Failed)), ", "))
	case len(s.Faults) > 0:
		// An object that could be read once stays in force as it was; at a start nothing is known of it, a policy it may be.
		return fmt.Errorf("can't be read: %s", strings.Join(s.Faults, "; "))
	}
	for _, c := range s.Conditions {
		if c.Type == policy.ConditionInvalid {
			return fmt.Errorf("%s: %s: %s", c.Object, c.Field, c.Message)
		}
	}
	return nil
}

func failures(r *dataplane.Result) map[string]string {
	out := make(map[string]string, len(r.Endpoints)+len(r.Policies)+len(r.Others))
	for id, err := range r.Endpoints {
		out[string(id)] = err.Error()
	}
	for id, err := range r.Policies {
		out[id.String()] = err.Error()
	}
	for name, err := range r.Others {
		out[name] = err.Error()
	}
	return out
}

// maxNamed is how many failed objects a log line names; /status names all.
const maxNamed = 8

// failureText is one line for the log: the same text for the same fault.
func failureText(r *dataplane.Result, err error) string {
	if err != nil {
		return err.Error()
	}
	failed := failures(r)
	names := slices.Sorted(maps.Keys(failed))
	var lines []string
	for _, name := range names[:min(len(names), maxNamed)] {
		lines = append(lines, name+": "+failed[name])
	}
	if more := len(names) - len(lines); more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more, see /status", more))
	}
	return strings.Join(lines, "; ")
}

func unsupported(r *dataplane.Result) []string {
	out := make([]string, len(r.Unsupported))
	for i, u := range r.Unsupported {
		out[i] = fmt.Sprintf("%s %s rule %d: %s", u.Policy, u.Direction, u.Rule, u.Reason)
	}
	return out
}
