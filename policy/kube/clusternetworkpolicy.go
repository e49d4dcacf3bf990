package kube

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/policy/selector"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kjson "sigs.k8s.io/json"
)

// The limits of a policy.networking.k8s.io/v1alpha2 ClusterNetworkPolicy.
const (
	maxClusterPriority = 1000
	maxClusterItems    = 25 // rules of a direction, peers and protocols of a rule, networks and names of a peer
	maxRuleName        = 100
)

// unreadableScope is no selector, as unreadableSelector.
const unreadableScope = `unreadable "spec.subject or spec.tier"`

// clusterPolicy is a ClusterNetworkPolicy as far as it can be read at once. Its parts are read one by one, so that one which can't be
// read spoils no other.
type clusterPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              clusterSpec     `json:"spec"`
	Status            json.RawMessage `json:"status"`
}

type clusterSpec struct {
	Tier     json.RawMessage `json:"tier"`
	Priority json.RawMessage `json:"priority"`
	Subject  json.RawMessage `json:"subject"`
	Ingress  json.RawMessage `json:"ingress"`
	Egress   json.RawMessage `json:"egress"`
}

// DecodeClusterNetworkPolicy reads a ClusterNetworkPolicy from JSON and makes the same policy of it, as kind ClusterNetworkPolicy: of tier
// kube-admin or kube-baseline, ordered by priority. A written rule becomes one for each peer and protocol (see v3.Rule.Written).
//
// It fails closed. What can't be read, or is not known to this version, of a rule that accepts leaves the whole rule out; in one that denies or
// passes it counts as all that it might be, and the rule denies. A policy whose tier or subject can't be read has a selector that can't
// be read either, and so counts as absent. An unknown field beside the rules is reported, and the policy counts without it.
//
// The errors name all of that; with strict, the API's limits on numbers too. The error is for an object of which not even that can be said.
func DecodeClusterNetworkPolicy(text []byte, strict bool) (*v3.GlobalNetworkPolicy, []v3.FieldError, error) {
	in := new(clusterPolicy)
	faults, err := kjson.UnmarshalStrict(text, in)
	if err != nil {
		return nil, nil, err
	}
	c := clusterConverter{object: v3.Key{Kind: v3.KindClusterNetworkPolicy, Name: in.Name}.String(), strict: strict}
	out := &v3.GlobalNetworkPolicy{TypeMeta: typeMeta(v3.KindClusterNetworkPolicy), ObjectMeta: objectMeta(&in.ObjectMeta, "", in.Name)}
	out.Labels = in.Labels
	out.Spec.Tier, out.Spec.Order = c.tier(in.Spec.Tier), c.priority(in.Spec.Priority)
	out.Spec.Selector, out.Spec.NamespaceSelector = c.subject(in.Spec.Subject)
	if c.faults(faults) || out.Spec.Tier == "" {
		out.Spec.Selector = unreadableScope
	}
	out.Spec.Ingress = c.rules("spec.ingress", in.Spec.Ingress, false)
	out.Spec.Egress = c.rules("spec.egress", in.Spec.Egress, true)
	if len(out.Spec.Ingress) > 0 {
		out.Spec.Types = append(out.Spec.Types, v3.PolicyTypeIngress)
	}
	if len(out.Spec.Egress) > 0 {
		out.Spec.Types = append(out.Spec.Types, v3.PolicyTypeEgress)
	}
	return out, c.errors, nil
}

// clusterConverter collects what it could not convert.
type clusterConverter struct {
	object string
	strict bool
	errors []v3.FieldError
}

func (c *clusterConverter) report(field, problem, valid string) {
	c.errors = append(c.errors, v3.FieldError{Object: c.object, Field: field, Problem: problem, Valid: valid})
}

// limit reports what the API refuses, though its meaning is clear.
func (c *clusterConverter) limit(ok bool, field, problem, valid string) {
	if c.strict && !ok {
		c.report(field, problem, valid)
	}
}

// faults reports what the policy has beside its parts; true tells that one of these is given twice. What is outside of spec is none of
// felid's business.
func (c *clusterConverter) faults(faults []error) (twice bool) {
	for _, fault := range faults {
		field, problem := faultOf(fault)
		if field != "spec" && !strings.HasPrefix(field, "spec.") {
			continue
		}
		if problem != unknownField {
			twice = true
		}
		c.report(field, problem, "tier, priority, subject, ingress, egress, each once")
	}
	return twice
}

const unknownField = "unknown field"

// faultOf takes apart what a strict decoder says: `unknown field "spec.mood"`.
func faultOf(fault error) (field, problem string) {
	text := fault.Error()
	if at := strings.Index(text, ` "`); at > 0 {
		field, text = strings.Trim(text[at+1:], `"`), text[:at]
	}
	if text == "duplicate field" {
		text = "is given twice"
	}
	return field, text
}

// tier is "" where it can't be read.
func (c *clusterConverter) tier(raw json.RawMessage) string {
	tier, _ := readPart[string](raw)
	switch tier {
	case "Admin":
		return v3.TierKubeAdmin
	case "Baseline":
		return v3.TierKubeBaseline
	}
	c.report("spec.tier", fmt.Sprintf("%q is no tier; the policy counts as absent", tier), "Admin or Baseline")
	return ""
}

// priority is nil, which is last, where it can't be read.
func (c *clusterConverter) priority(raw json.RawMessage) *float64 {
	const valid = "0 to 1000, lowest first"
	n, err := readPart[int32](raw)
	if err != nil {
		c.report("spec.priority", err.Error()+", and so it comes last in its tier", valid)
		return nil
	}
	c.limit(n >= 0 && n <= maxClusterPriority, "spec.priority", fmt.Sprintf("%d is out of range", n), valid)
	return new(float64(n))
}

// subject is the selector of pods, and that of their namespaces.
func (c *clusterConverter) subject(raw json.RawMessage) (pods, namespaces string) {
	s, err := readPart[clusterSelection](raw)
	var e v3.EntityRule
	if err == nil {
		e, err = s.pods()
	}
	if err != nil {
		c.report("spec.subject", err.Error()+"; the policy counts as absent", "one of namespaces and pods")
		return unreadableScope, ""
	}
	return e.Selector, e.NamespaceSelector
}

// clusterSelection selects pods.
type clusterSelection struct {
	Namespaces *metav1.LabelSelector `json:"namespaces"`
	Pods       *namespacedPods       `json:"pods"`
}

type namespacedPods struct {
	NamespaceSelector metav1.LabelSelector `json:"namespaceSelector"`
	PodSelector       metav1.LabelSelector `json:"podSelector"`
}

// pods is the match of pods alone: no host endpoint and no network set has the labels of a pod.
func (s *clusterSelection) pods() (v3.EntityRule, error) {
	var pods, namespaces metav1.LabelSelector
	switch {
	case (s.Namespaces == nil) == (s.Pods == nil):
		return v3.EntityRule{}, errors.New("has both of namespaces and pods, or neither")
	case s.Pods != nil:
		pods, namespaces = s.Pods.PodSelector, s.Pods.NamespaceSelector
	default:
		namespaces = *s.Namespaces
	}
	own, err := labelSelector(&pods)
	if err != nil {
		return v3.EntityRule{}, err
	}
	of, err := labelSelector(&namespaces)
	if err != nil {
		return v3.EntityRule{}, err
	}
	return v3.EntityRule{Selector: selector.And(ofPods, own).String(), NamespaceSelector: of.String()}, nil
}

// readPart reads a part of the policy in which nothing may be unknown, given twice or null.
func readPart[T any](raw json.RawMessage) (T, error) {
	part := new(T)
	if len(raw) == 0 {
		return *part, errors.New("is missing")
	}
	if bytes.Contains(raw, []byte("null")) {
		var tree any
		if err := json.Unmarshal(raw, &tree); err == nil && (tree == nil || nullElement(tree)) {
			return *part, errors.New("null stands where a value should")
		}
	}
	faults, err := kjson.UnmarshalStrict(raw, part)
	if err != nil {
		return *part, errors.New(strings.TrimPrefix(err.Error(), "json: "))
	}
	if len(faults) > 0 {
		field, problem := faultOf(faults[0])
		return *part, fmt.Errorf("%s %s", field, cmp.Or(problem, unknownField))
	}
	return *part, nil
}
