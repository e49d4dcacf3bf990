package controller

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/felid-net/felid/api/v1alpha1"
	"github.com/felid-net/felid/policy"
)

// Reasons of the conditions of a policy, beside policy's own types of condition for Accepted.
const (
	reasonAccepted   = "Accepted"
	reasonProgrammed = "Programmed"
	reasonPending    = "Pending" // nodes have not applied it yet
	reasonFailed     = "Failed"  // nodes that have tried could not
)

// maxFindings is how many findings a message names, and maxText how long it may be in bytes.
const (
	maxFindings = 5
	maxText     = 2048
)

// byGravity are the types of finding, the gravest first.
var byGravity = []string{
	policy.ConditionInvalid, policy.ConditionPartiallyInvalid, policy.ConditionTierMissing, policy.ConditionUnsupported, policy.ConditionNotEnforced,
}

// accepted says whether a policy counts as written: found is what reading it has found, on no node in particular, unsupported what dataplanes say.
func accepted(found []policy.Condition, unsupported []inexpressible) metav1.Condition {
	c := metav1.Condition{Type: v1alpha1.PolicyAccepted, Status: metav1.ConditionTrue, Reason: reasonAccepted, Message: "counts as written"}
	findings := slices.Clone(found)
	for _, u := range unsupported {
		at := fmt.Sprintf("spec.%s[%d]", u.direction, u.rule)
		if slices.ContainsFunc(found, func(c policy.Condition) bool { return strings.HasPrefix(c.Field, at) && c.Message == u.reason }) {
			continue // nodes have read the same
		}
		findings = append(findings, policy.Condition{
			Type: policy.ConditionUnsupported, Field: at, Message: "on " + u.dataplane + ": " + u.reason,
		})
	}
	if len(findings) == 0 {
		return c
	}
	slices.SortStableFunc(findings, func(a, b policy.Condition) int {
		return slices.Index(byGravity, a.Type) - slices.Index(byGravity, b.Type)
	})
	var lines []string
	for i := range findings[:min(len(findings), maxFindings)] {
		lines = append(lines, findings[i].Field+": "+findings[i].Message)
	}
	if more := len(findings) - len(lines); more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	c.Status, c.Reason, c.Message = metav1.ConditionFalse, findings[0].Type, cutText(strings.Join(lines, "; "))
	return c
}

// programmed says on how many nodes a policy is in force; absent that it can't be read, and counts as absent.
func programmed(n *count, absent bool) metav1.Condition {
	c := metav1.Condition{
		Type: v1alpha1.PolicyProgrammed, Status: metav1.ConditionTrue, Reason: reasonProgrammed,
		Message: fmt.Sprintf("Programmed on %d of %d nodes", n.programmed, n.all),
	}
	if absent {
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, policy.ConditionInvalid, "Programmed on no node: it can't be read, and counts as absent"
		return c
	}
	if n.failedCount > 0 {
		c.Status, c.Reason = metav1.ConditionFalse, reasonFailed
		c.Message += "; failed on " + someOf(n.failed, n.failedCount)
	}
	if n.behindCount > 0 {
		c.Status = metav1.ConditionFalse
		if n.failedCount == 0 {
			c.Reason = reasonPending
		}
		c.Message += "; waiting for " + someOf(n.behind, n.behindCount)
	}
	if n.all == 0 {
		c.Status, c.Reason = metav1.ConditionFalse, reasonPending
	}
	c.Message = cutText(c.Message)
	return c
}

func someOf(some []string, all int) string {
	text := strings.Join(some, ", ")
	if more := all - len(some); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

func cutText(text string) string {
	if len(text) <= maxText {
		return text
	}
	return strings.ToValidUTF8(text[:maxText-3], "") + "…"
}
