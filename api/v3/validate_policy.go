package v3

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/util/validation"
)

const (
	maxRules    = 1024
	maxSelector = 1024
	maxNets     = 256
	maxPorts    = 50
	maxHTTP     = 20
	// The API server wants a bound on what its rules look at.
	maxSetNets     = 131072
	maxReserved    = 16384
	maxExpectedIPs = 1024
	maxUses        = 16
)

func (v *validator) policy(s *PolicySpec) {
	v.tierName(s.Tier)
	v.policySelector("spec.selector", s.Selector)
	v.policySelector("spec.serviceAccountSelector", s.ServiceAccountSelector)
	v.types(s)
	for i, hint := range s.PerformanceHints {
		v.oneOf(fmt.Sprintf("spec.performanceHints[%d]", i), hint, AssumeNeededOnEveryNode)
	}
	v.rules(s.Ingress, s.Egress)
}

func (v *validator) tierName(name string) {
	v.expect(name == "" || len(validation.IsDNS1123Label(name)) == 0, "spec.tier", "the name of a tier", "%q is not a name of a tier", name)
}

func (v *validator) types(s *PolicySpec) {
	for i, t := range s.Types {
		at := fmt.Sprintf("spec.types[%d]", i)
		v.oneOf(at, string(t), string(PolicyTypeIngress), string(PolicyTypeEgress))
		v.expect(!slices.Contains(s.Types[:i], t), at, "each of Ingress and Egress at most once", "%s is given twice", t)
	}
	effective := s.EffectiveTypes()
	if len(s.Ingress) > 0 && !slices.Contains(effective, PolicyTypeIngress) {
		v.warn("spec.ingress", "has no effect: spec.types lacks Ingress")
	}
	if len(s.Egress) > 0 && !slices.Contains(effective, PolicyTypeEgress) {
		v.warn("spec.egress", "has no effect: spec.types lacks Egress")
	}
}

func (v *validator) globalPolicy(s *GlobalNetworkPolicySpec) {
	v.policySelector("spec.namespaceSelector", s.NamespaceSelector)
	v.expect(!s.PreDNAT || !s.DoNotTrack, "spec.preDNAT", "one of preDNAT and doNotTrack", "can't go with doNotTrack")
	v.expect(!s.PreDNAT || s.ApplyOnForward, "spec.applyOnForward", "true", "must be true with preDNAT")
	v.expect(!s.DoNotTrack || s.ApplyOnForward, "spec.applyOnForward", "true", "must be true with doNotTrack")
	v.expect(!s.PreDNAT || len(s.Egress) == 0, "spec.egress", "ingress rules alone", "can't go with preDNAT")
	v.expect(!s.PreDNAT || !slices.Contains(s.Types, PolicyTypeEgress), "spec.types", "Ingress alone", "Egress can't go with preDNAT")
}

func (v *validator) profile(s *ProfileSpec) {
	v.rules(s.Ingress, s.Egress)
	for _, key := range sortedKeys(s.LabelsToApply) {
		v.label("spec.labelsToApply", key, s.LabelsToApply[key])
	}
}

func (v *validator) tier(t *Tier) {
	if t.Spec.DefaultAction != "" {
		v.oneOf("spec.defaultAction", string(t.Spec.DefaultAction), string(Deny), string(Pass))
	}
	builtin, ok := builtinTiers[t.Name]
	if !ok {
		return
	}
	v.expect(t.Spec.Order == nil || *t.Spec.Order == *builtin.Order, "spec.order", fmt.Sprint(int(*builtin.Order)), "that of a built-in tier can't be changed")
	v.expect(t.Spec.DefaultAction == "" || t.Spec.DefaultAction == builtin.DefaultAction, "spec.defaultAction", string(builtin.DefaultAction),
		"that of a built-in tier can't be changed")
}

// selector judges the text alone; "" is all().
func (v *validator) selector(field, text string) bool {
	n := utf8.RuneCountInString(text)
	if !v.expect(n <= maxSelector, field, fmt.Sprintf("at most %d characters", maxSelector), "has %d characters", n) {
		return false
	}
	if text == "" || v.selectors == nil {
		return true
	}
	err := v.selectors(text)
	if err != nil {
		v.add(FieldError{Field: field, Problem: err.Error()})
	}
	return err == nil
}

func (v *validator) policySelector(field, text string) {
	if v.selector(field, text) {
		v.expect(!v.usesGlobal(text), field, "a selector without it; global() belongs in the namespaceSelector of a rule", "global() can't be used here")
	}
}

var globalText = regexp.MustCompile(`global\s*\(`)

// usesGlobal is strict about text between quotes too, which the API server does not tell from the rest: no label has such a value.
func (v *validator) usesGlobal(text string) bool {
	return usesGlobal(text) || v.strict && globalText.MatchString(text)
}

// usesGlobal finds a call of global() outside of quotes.
func usesGlobal(text string) bool {
	var plain strings.Builder
	var quote rune
	for _, c := range text {
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"':
			quote = c
			plain.WriteRune(c)
		case c != ' ' && c != '\t':
			plain.WriteRune(c)
		}
	}
	return strings.Contains(plain.String(), "global()")
}

func (v *validator) rules(ingress, egress []Rule) {
	for direction, rules := range [][]Rule{ingress, egress} {
		list, isEgress := "spec.ingress", direction == 1
		if isEgress {
			list = "spec.egress"
		}
		v.expect(len(rules) <= maxRules, list, fmt.Sprintf("at most %d rules", maxRules), "has %d rules", len(rules))
		for i := range rules {
			v.rule(fmt.Sprintf("%s[%d]", list, i), &rules[i], isEgress)
		}
	}
}
