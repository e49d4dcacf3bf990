package controller

import (
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/ipam"
	"github.com/felid-net/felid/policy/selector"
)

// The types of conditions, and their reasons.
const (
	conditionAccepted    = "Accepted"                // False: what is wrong with the object
	conditionAllocatable = ipam.ConditionAllocatable // of an IPPool, False: why no addresses come from it
	conditionBlocksMatch = "BlocksMatch"             // of an IPPool, False: it has blocks of another size than it says
	conditionTerminating = "Terminating"             // True: what the deletion waits for

	reasonOK      = "OK"
	reasonInvalid = "Invalid"
	reasonInUse   = "InUse"
)

// finding is what is to be said of an object; an empty type is nothing.
type finding struct {
	kind            string // type of the condition
	status          bool
	reason, message string
}

// without is the absence of a condition.
func without(kind string) finding { return finding{kind: kind} }

// judged is whether an object is accepted as it is written, as api/v3 says.
func judged(o v3.Object) finding {
	var texts []string
	for _, e := range v3.Validate(o, v3.WithSelectors(checkSelector)) {
		if !e.Warning {
			e.Object = ""
			texts = append(texts, e.Error())
		}
	}
	if len(texts) > 0 {
		return finding{conditionAccepted, false, reasonInvalid, cutText(strings.Join(texts, "; "))}
	}
	return finding{conditionAccepted, true, reasonOK, ""}
}

func checkSelector(text string) error {
	_, err := selector.Parse(text)
	return err
}

// withFindings is a list of conditions with these said, or, for an empty reason, gone; the same list if that changes nothing.
func withFindings(list []metav1.Condition, generation int64, now time.Time, findings ...finding) []metav1.Condition {
	out := list
	for _, f := range findings {
		out = f.in(out, generation, now)
	}
	return out
}

// in is the list with the finding; the same one if that changes nothing.
func (f finding) in(list []metav1.Condition, generation int64, now time.Time) []metav1.Condition {
	i := slices.IndexFunc(list, func(c metav1.Condition) bool { return c.Type == f.kind })
	if f.reason == "" {
		if i < 0 {
			return list
		}
		return slices.Delete(slices.Clone(list), i, i+1)
	}
	status := metav1.ConditionFalse
	if f.status {
		status = metav1.ConditionTrue
	}
	c := metav1.Condition{
		Type: f.kind, Status: status, Reason: f.reason, Message: f.message, ObservedGeneration: generation, LastTransitionTime: metav1.NewTime(now.UTC().Truncate(time.Second)),
	}
	if i < 0 {
		return append(slices.Clip(list), c)
	}
	before := list[i]
	if before.Status == c.Status {
		c.LastTransitionTime = before.LastTransitionTime
	}
	if before == c {
		return list
	}
	out := slices.Clone(list)
	out[i] = c
	return out
}

// sameConditions says whether a list is the very one that withFindings was given, and not a changed copy.
func sameConditions(a, b []metav1.Condition) bool {
	return slices.Equal(a, b)
}
