package kube

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	v3 "github.com/felid-net/felid/api/v3"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kjson "sigs.k8s.io/json"
)

// DecodeNetworkPolicy reads a NetworkPolicy from JSON and converts it as NetworkPolicy does. Its rules can only allow, and the Go type loses
// what it does not know, whereupon a rule would allow more than was written; so a rule with an unknown field, a value of the wrong
// type, or null in place of an element is left out and reported, to the caller and, as a rule that is Invalid, to whoever
// resolves the policy. A podSelector or policyTypes with such make the policy count as absent.
// One that names no namespace is in the given one. The error is for an object of which not even that can be said.
func DecodeNetworkPolicy(text []byte, namespace string) (origin *networkingv1.NetworkPolicy, policy *v3.NetworkPolicy, errs []v3.FieldError, err error) {
	np := new(networkingv1.NetworkPolicy)
	unknown, err := kjson.UnmarshalStrict(text, np)
	if err == nil && len(unknown) == 0 && !bytes.Contains(text, []byte("null")) {
		np.Namespace = cmp.Or(np.Namespace, namespace)
		policy, errs = NetworkPolicy(np)
		note(&policy.Spec.PolicySpec, errs)
		return np, policy, errs, nil
	}
	d := decoder{unreadable: map[string]string{}}
	d.duplicates(unknown)
	if np, err = d.decode(text); err != nil {
		return nil, nil, nil, err
	}
	np.Namespace = cmp.Or(np.Namespace, namespace)
	policy, errs = convertPolicy(np, d.unreadable)
	for i := range d.errors {
		d.errors[i].Object = v3.KeyOf(policy).String()
	}
	errs = append(d.errors, errs...)
	note(&policy.Spec.PolicySpec, errs)
	return np, policy, errs, nil
}

// note adds what was left out as rules that can't be read: they allow nothing, and whoever resolves the policy reports them. They come last,
// so that the others keep their numbers.
func note(spec *v3.PolicySpec, errs []v3.FieldError) {
	if spec.Selector == unreadableSelector {
		return // the policy is reported as a whole
	}
	for _, e := range errs {
		rule := v3.Rule{Action: v3.Allow, Invalid: "from " + e.Field + ": " + e.Problem, Written: writtenAt(e.Field)}
		egress := strings.HasPrefix(e.Field, "spec.egress[") ||
			!strings.HasPrefix(e.Field, "spec.ingress[") && !slices.Contains(spec.Types, v3.PolicyTypeIngress)
		if egress {
			spec.Egress = append(spec.Egress, rule)
		} else {
			spec.Ingress = append(spec.Ingress, rule)
		}
	}
}

// writtenAt is the number, from 1, of the rule that a field is in; 0 for none.
func writtenAt(field string) int {
	for _, form := range []string{"spec.ingress[%d]", "spec.egress[%d]"} {
		var i int
		if n, err := fmt.Sscanf(field, form, &i); n == 1 && err == nil {
			return i + 1
		}
	}
	return 0
}

// decoder finds what can't be read of a policy.
type decoder struct {
	unreadable map[string]string // by field: a rule, spec.podSelector or spec.policyTypes; what is wrong with it
	errors     []v3.FieldError   // of anything else
}

// decode returns what can be read, with empty values where something can't.
func (d *decoder) decode(text []byte) (*networkingv1.NetworkPolicy, error) {
	var tree map[string]any
	if err := kjson.UnmarshalCaseSensitivePreserveInts(text, &tree); err != nil {
		return nil, err
	}
	if spec, ok := tree["spec"].(map[string]any); ok {
		cleanRules[networkingv1.NetworkPolicyIngressRule](d, spec, "ingress")
		cleanRules[networkingv1.NetworkPolicyEgressRule](d, spec, "egress")
		if problem := misfit[metav1.LabelSelector](spec["podSelector"]); problem != "" && spec["podSelector"] != nil {
			d.unreadable["spec.podSelector"] = problem
			delete(spec, "podSelector")
		}
		if problem := misfit[[]networkingv1.PolicyType](spec["policyTypes"]); problem != "" && spec["policyTypes"] != nil {
			d.unreadable["spec.policyTypes"] = problem
			delete(spec, "policyTypes")
		}
	}
	data, err := json.Marshal(tree)
	if err != nil {
		return nil, err
	}
	np := new(networkingv1.NetworkPolicy)
	unknown, err := kjson.UnmarshalStrict(data, np)
	d.rest(unknown)
	return np, err
}

// cleanRules puts an empty rule in the place of each that can't be read, so that the others keep their numbers.
func cleanRules[T any](d *decoder, spec map[string]any, direction string) {
	if spec[direction] == nil {
		return
	}
	rules, ok := spec[direction].([]any)
	if !ok {
		rules = []any{spec[direction]}
	}
	for i, rule := range rules {
		problem := misfit[T](rule)
		if !ok {
			problem = "the list of rules is no list"
		}
		if problem != "" {
			d.unreadable[fmt.Sprintf("spec.%s[%d]", direction, i)] = problem
			rules[i] = map[string]any{}
		}
	}
	spec[direction] = rules
}

// misfit says why a part of the policy can't be read as a T, "" if it can.
func misfit[T any](part any) string {
	if part == nil || nullElement(part) {
		return "null stands where a value should"
	}
	data, err := json.Marshal(part)
	if err != nil {
		return err.Error()
	}
	unknown, err := kjson.UnmarshalStrict(data, new(T))
	if err = errors.Join(append(unknown, err)...); err != nil {
		return strings.ReplaceAll(err.Error(), "\n", ", ")
	}
	return ""
}

// nullElement tells whether a list somewhere in part has null among its elements, which the Go types take for an empty one.
func nullElement(part any) bool {
	switch part := part.(type) {
	case []any:
		return slices.Contains(part, nil) || slices.ContainsFunc(part, nullElement)
	case map[string]any:
		for _, v := range part {
			if nullElement(v) {
				return true
			}
		}
	}
	return false
}

// duplicates notes fields that are given twice: a tree knows only one of the values.
func (d *decoder) duplicates(faults []error) {
	for _, fault := range faults {
		field, ok := strings.CutPrefix(fault.Error(), "duplicate field ")
		if field = strings.Trim(field, `"`); !ok || !strings.HasPrefix(field, "spec") {
			continue
		}
		for _, list := range []string{"spec.ingress[", "spec.egress["} {
			if end := strings.IndexByte(field, ']'); end > 0 && strings.HasPrefix(field, list) {
				d.unreadable[field[:end+1]] = field + " is given twice"
			}
		}
		switch {
		case strings.HasPrefix(field, "spec.podSelector"), field == "spec", field == "spec.policyTypes", field == "spec.ingress", field == "spec.egress":
			d.unreadable["spec.podSelector"] = field + " is given twice"
		}
	}
}

// rest reports unknown fields beside the rules. Those outside of spec are none of felid's business.
func (d *decoder) rest(unknown []error) {
	for _, fault := range unknown {
		field, ok := strings.CutPrefix(fault.Error(), "unknown field ")
		if field = strings.Trim(field, `"`); ok && strings.HasPrefix(field, "spec.") {
			d.errors = append(d.errors, v3.FieldError{Field: field, Problem: "unknown field", Valid: "podSelector, policyTypes, ingress, egress"})
		}
	}
}
