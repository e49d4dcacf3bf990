package policy

import (
	"cmp"
	"slices"
	"strings"

	v3 "github.com/felid-net/felid/api/v3"
)

// The types of condition.
const (
	// ConditionInvalid: the object can't be read and counts as absent.
	ConditionInvalid = "Invalid"
	// ConditionPartiallyInvalid: an element or a rule can't be read; the rest counts.
	ConditionPartiallyInvalid = "PartiallyInvalid"
	// ConditionUnsupported: a rule asks for what no packet dataplane, or this version, can do.
	ConditionUnsupported = "Unsupported"
	// ConditionTierMissing: the policy is enforced in a tier of that name, after all others.
	ConditionTierMissing = "TierMissing"
	// ConditionNotEnforced: valid and stored, without the effect it should have.
	ConditionNotEnforced = "NotEnforced"
)

// Report says what of the resources does not count as written: of the policies in force on this node, of those that can't be read,
// and of all else.
type Report struct {
	Conditions []Condition // sorted; never nil
}

// Condition is one thing to know about one object.
type Condition struct {
	Object  v3.Key
	Field   string // "spec.ingress[0].source.nets[1]"
	Type    string // one of the Condition constants
	Message string // what is wrong, what was done, and what would be valid
}

func newReport(conditions []Condition) *Report {
	slices.SortFunc(conditions, func(a, b Condition) int {
		return cmp.Or(
			strings.Compare(string(a.Object.Kind), string(b.Object.Kind)), compareKeys(a.Object, b.Object),
			strings.Compare(a.Field, b.Field), strings.Compare(a.Type, b.Type), strings.Compare(a.Message, b.Message),
		)
	})
	return &Report{Conditions: append([]Condition{}, conditions...)}
}

// reportUnenforced is for kinds that are known by name alone.
func (r *reader) reportUnenforced() {
	r.report("", ConditionNotEnforced, "%s is stored, and has no effect yet", r.key.Kind)
}
