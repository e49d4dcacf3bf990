package agent

import (
	"cmp"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/felid-net/felid/api/v1alpha1"
	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/policy"
)

// maxMessage is how long a message of a report may be, in bytes.
const maxMessage = 1024

// NewNodeReport says what a Status does, as of now. before is the report written last, nil: none; conditions that have not changed keep its times.
func NewNodeReport(s *Status, before *v1alpha1.NodeReport, now time.Time) *v1alpha1.NodeReport {
	r := &v1alpha1.NodeReport{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.APIVersion, Kind: v1alpha1.KindNodeReport},
		ObjectMeta: metav1.ObjectMeta{Name: string(s.Node)},
	}
	t := &r.Status
	t.Reported = wireTime(now)
	t.Dataplane, t.DataplaneReason, t.OS = s.Dataplane, s.DataplaneReason, runtime.GOOS
	t.Endpoints, t.Policies = s.Endpoints, s.Policies
	for _, a := range s.Assumptions[:min(len(s.Assumptions), v1alpha1.MaxNamed)] {
		a.Message = shortened(a.Message)
		t.Assumptions = append(t.Assumptions, a)
	}
	for _, kind := range slices.Sorted(maps.Keys(s.Applied)) {
		t.Applied = append(t.Applied, v1alpha1.AppliedRevision{Kind: string(kind), Revision: strconv.FormatUint(s.Applied[kind], 10)})
	}
	t.Failed, t.FailedCount = fitting(append(unreadableObjects(s.faults), s.failed...)), len(s.faults)+len(s.Failed)
	t.Unsupported, t.UnsupportedCount = unsupportedRules(s)
	t.Uncovered, t.UncoveredCount = named(s.Uncovered)
	t.Ungated, t.UngatedCount = named(s.Ungated)
	for _, o := range s.Stale {
		since := wireTime(o.Since)
		t.Stale = append(t.Stale, v1alpha1.StaleKind{Kind: string(o.Kind), Since: since, Reason: shortened(o.Reason)})
		if t.StaleSince == nil || since.Before(t.StaleSince) {
			t.StaleSince = &since
		}
	}
	if before != nil {
		t.Conditions = slices.Clone(before.Status.Conditions)
	}
	for _, c := range nodeConditions(s) {
		c.LastTransitionTime = t.Reported
		meta.SetStatusCondition(&t.Conditions, c)
	}
	return r
}

// wireTime is what of a time an API server keeps.
func wireTime(t time.Time) metav1.Time { return metav1.NewTime(t.UTC().Truncate(time.Second)) }

func nodeConditions(s *Status) []metav1.Condition {
	ready := metav1.Condition{Type: v1alpha1.NodeReady, Status: metav1.ConditionTrue, Reason: "InSync"}
	if !s.InSync || s.Applies == 0 {
		ready.Status, ready.Reason, ready.Message = metav1.ConditionFalse, "NotInSync", "not in sync with the datastore yet"
	}
	enforcing := metav1.Condition{Type: v1alpha1.NodeEnforcing, Status: metav1.ConditionTrue, Reason: "InForce"}
	if err := s.Enforcing(); err != nil {
		enforcing.Status, enforcing.Reason, enforcing.Message = metav1.ConditionFalse, "NotInForce", shortened(err.Error())
	}
	return []metav1.Condition{ready, enforcing}
}

// named are the first of several, and how many there are.
func named(all []string) (first []string, count int) {
	return all[:min(len(all), v1alpha1.MaxNamed)], len(all)
}

func shortened(text string) string {
	if len(text) <= maxMessage {
		return text
	}
	return strings.ToValidUTF8(text[:maxMessage-3], "") + "…"
}

// unsupportedRules are those that the dataplane can't express, and those that this version of felid can't, or can't read: a newer one may.
func unsupportedRules(s *Status) (first []v1alpha1.UnsupportedRule, count int) {
	var out []v1alpha1.UnsupportedRule
	for _, u := range s.unsupported {
		out = append(out, v1alpha1.UnsupportedRule{
			Policy: referenceTo(u.Policy), Direction: u.Direction.String(), Rule: u.Rule, Reason: shortened(u.Reason),
		})
	}
	for _, c := range s.Conditions {
		direction, rule, ofRule := ruleOf(c.Field)
		if ofRule && isPolicy(c.Object.Kind) && (c.Type == policy.ConditionUnsupported || c.Type == policy.ConditionPartiallyInvalid) {
			out = append(out, v1alpha1.UnsupportedRule{Policy: referenceToKey(c.Object), Direction: direction, Rule: rule, Reason: shortened(c.Message)})
		}
	}
	slices.SortFunc(out, func(a, b v1alpha1.UnsupportedRule) int {
		return cmp.Or(compareReferences(a.Policy, b.Policy), strings.Compare(a.Direction, b.Direction), cmp.Compare(a.Rule, b.Rule), strings.Compare(a.Reason, b.Reason))
	})
	return out[:min(len(out), v1alpha1.MaxNamed)], len(out)
}

func referenceToKey(k v3.Key) v1alpha1.PolicyReference {
	return v1alpha1.PolicyReference{Kind: string(k.Kind), Namespace: k.Namespace, Name: k.Name}
}

// unreadableObjects are those that can't be read from the datastore, of which what was known before stays in force. What may be a policy concerns
// any.
func unreadableObjects(faults []datastore.Fault) []v1alpha1.FailedObject {
	var out []v1alpha1.FailedObject
	for _, f := range faults {
		o := v1alpha1.FailedObject{Object: f.Key.String(), Message: shortened(f.String())}
		switch {
		case isPolicy(f.Key.Kind) && f.Key.Name != "":
			o.Policies = []v1alpha1.PolicyReference{referenceToKey(f.Key)}
		case f.Key.Kind == "" || isPolicy(f.Key.Kind):
			o.Object, o.AllPolicies = "an object that can't be read", true
		}
		out = append(out, o)
	}
	return out
}

// fitting are as many as a report may name. Of more, the last entry says how many there are, and that any policy may be concerned.
func fitting(all []v1alpha1.FailedObject) []v1alpha1.FailedObject {
	more := len(all) - v1alpha1.MaxNamed
	if more <= 0 {
		return all
	}
	return append(slices.Clone(all[:v1alpha1.MaxNamed-1]), v1alpha1.FailedObject{
		Object: fmt.Sprintf("%d more", more+1), Message: "see /status of the node's agent", AllPolicies: true,
	})
}

func referenceTo(id dataplane.PolicyID) v1alpha1.PolicyReference {
	return v1alpha1.PolicyReference{Kind: id.Kind, Namespace: id.Namespace, Name: id.Name}
}

func compareReferences(a, b v1alpha1.PolicyReference) int {
	return cmp.Or(strings.Compare(a.Kind, b.Kind), strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
}

// maxConcerned is how many policies a report names as concerned by what failed, together.
const maxConcerned = 256

// failedObjects names what is not in force and the policies that this concerns, each once: policies first, then endpoints with all policies of
// theirs, then the rest.
func failedObjects(state *dataplane.State, r *dataplane.Result) []v1alpha1.FailedObject {
	var out []v1alpha1.FailedObject
	for _, id := range sortedKeys(r.Policies, dataplane.PolicyID.String) {
		f := v1alpha1.FailedObject{Object: id.String(), Message: shortened(r.Policies[id].Error())}
		if isPolicy(v3.Kind(id.Kind)) {
			f.Policies = []v1alpha1.PolicyReference{referenceTo(id)}
		}
		out = append(out, f)
	}
	concerned := map[v1alpha1.PolicyReference]struct{}{}
	for _, id := range slices.Sorted(maps.Keys(r.Endpoints)) {
		f := v1alpha1.FailedObject{Object: string(id), Message: shortened(r.Endpoints[id].Error())}
		f.Policies, f.AllPolicies = policiesOf(state.Endpoints[id], concerned)
		out = append(out, f)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Others)) {
		out = append(out, v1alpha1.FailedObject{Object: name, Message: shortened(r.Others[name].Error())})
	}
	return out
}

func sortedKeys[K comparable, V any](m map[K]V, text func(K) string) []K {
	return slices.SortedFunc(maps.Keys(m), func(a, b K) int { return strings.Compare(text(a), text(b)) })
}

// policiesOf are those that apply to an endpoint and are not among the concerned yet, to which they are added; more than can be named are all.
func policiesOf(ep *dataplane.Endpoint, concerned map[v1alpha1.PolicyReference]struct{}) (ids []v1alpha1.PolicyReference, all bool) {
	if ep == nil {
		return nil, false
	}
	add := func(tiers []dataplane.EndpointTier) {
		for _, t := range tiers {
			for _, id := range slices.Concat(t.Ingress, t.Egress) {
				if _, named := concerned[referenceTo(id)]; !named {
					ids = append(ids, referenceTo(id))
				}
			}
		}
	}
	add(ep.Tiers)
	if h := ep.Host; h != nil {
		add(h.Untracked)
		add(h.PreDNAT)
		add(h.Forward)
	}
	slices.SortFunc(ids, compareReferences)
	ids = slices.Compact(ids)
	if len(ids) > v1alpha1.MaxNamed || len(ids)+len(concerned) > maxConcerned {
		return nil, true
	}
	for _, id := range ids {
		concerned[id] = struct{}{}
	}
	return ids, false
}

// change is how much a report differs from the one written last.
type change uint8

const (
	unchanged change = iota
	counted          // in numbers that nobody waits for
	changed          // in what somebody may wait for
)

// compareReports tells how far two reports differ, but for their times. How far the node is with revisions counts where news says so: else it
// is changes of status.
func compareReports(old, r *v1alpha1.NodeReport, news bool) change {
	if old == nil || news {
		return changed
	}
	a, b := old.Status, r.Status
	a.Reported, b.Reported = metav1.Time{}, metav1.Time{}
	a.Applied, b.Applied = nil, nil
	if equality.Semantic.DeepEqual(&a, &b) {
		return unchanged
	}
	a.Endpoints, a.Policies = b.Endpoints, b.Policies
	if equality.Semantic.DeepEqual(&a, &b) {
		return counted
	}
	return changed
}

// outages are what a store says it does not hear of, in order.
func outages(store datastore.Store) []datastore.Outage {
	o, ok := store.(interface{ Outages() []datastore.Outage })
	if !ok {
		return nil
	}
	all := slices.Clone(o.Outages())
	slices.SortFunc(all, func(a, b datastore.Outage) int { return strings.Compare(string(a.Kind), string(b.Kind)) })
	return all
}
