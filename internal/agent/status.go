package agent

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/felid-net/felid/dataplane"
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
	// Failed are objects that are not in force, by their names; they are retried.
	Failed map[string]string `json:"failed,omitempty"`
	// Unsupported are rules that this dataplane can't express, and what it does instead.
	Unsupported []string `json:"unsupported,omitempty"`
	// Conditions of resources: what is invalid, partially invalid, missing, not enforced.
	Conditions []policy.Condition `json:"conditions,omitempty"`
	// Faults are objects that can't be read from the datastore.
	Faults    []string        `json:"faults,omitempty"`
	Endpoints int             `json:"endpoints"`
	Policies  int             `json:"policies"`
	Stats     dataplane.Stats `json:"stats"`
}

// publish makes a new Status; state and result are nil where only faults moved.
func (l *loop) publish(state *dataplane.State, result *dataplane.Result) {
	s := *l.status.Load()
	s.InSync, s.Applies, s.Faults = l.inSync, l.applies, faultTexts(l.faults)
	if o, ok := l.o.Dataplane.(Observer); ok {
		s.Dataplane, s.DataplaneReason = o.Backend()
	}
	if state != nil {
		s.Endpoints, s.Policies = len(state.Endpoints), len(state.Policies)
		s.Conditions = l.resolver.Report().Conditions
	}
	if result != nil {
		l.unsupported = result.Unsupported
		s.Failed, s.Unsupported, s.Stats = failures(result), unsupported(result), result.Stats
		if l.lastErr != "" && len(s.Failed) == 0 {
			s.Failed = map[string]string{"dataplane": l.lastErr}
		}
		l.o.Metrics.observe(&s, result)
	}
	l.o.Metrics.reported(&s)
	l.status.Store(&s)
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
