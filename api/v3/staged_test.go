package v3

import (
	"strings"
	"testing"
)

func TestStagedPolicies(t *testing.T) {
	for _, test := range []struct {
		kind Kind
		spec string
		want []string // beginnings of the errors, by field; none: valid
	}{
		{KindStagedNetworkPolicy, `{"selector":"all()","ingress":[{"action":"Allow"}]}`, nil},
		{KindStagedNetworkPolicy, `{"stagedAction":"Delete","tier":"t"}`, nil},
		{KindStagedNetworkPolicy, `{"stagedAction":"Delete","order":1,"selector":"all()","types":["Egress"]}`, []string{"spec.order", "spec.selector", "spec.types"}},
		{KindStagedNetworkPolicy, `{"stagedAction":"Remove"}`, []string{"spec.stagedAction"}},
		{KindStagedNetworkPolicy, `{"ingress":[{"action":"Alow"}]}`, []string{"spec.ingress[0].action"}},
		{KindStagedGlobalNetworkPolicy, `{"stagedAction":"Learn","namespaceSelector":"all()","preDNAT":true}`, []string{"spec.applyOnForward"}},
		{KindStagedGlobalNetworkPolicy, `{"stagedAction":"Delete","applyOnForward":true}`, []string{"spec.applyOnForward"}},
		{KindStagedKubernetesNetworkPolicy, `{"podSelector":{"matchLabels":{"a":"b"}},"ingress":[{"ports":[{"port":80}]}],"policyTypes":["Ingress"]}`, nil},
		{KindStagedKubernetesNetworkPolicy, `{"podSelector":{"matchExpressions":[{"key":"a","operator":"Is"}]},"policyTypes":["Up"]}`, []string{"spec.podSelector", "spec.policyTypes[0]"}},
		{KindStagedKubernetesNetworkPolicy, `{"stagedAction":"Delete"}`, nil},
		{KindStagedKubernetesNetworkPolicy, `{"stagedAction":"Delete","egress":[{}]}`, []string{"spec.egress"}},
	} {
		info, _ := InfoOf(test.kind)
		meta := `{"name":"p"}`
		if info.Namespaced {
			meta = `{"name":"p","namespace":"n"}`
		}
		o, errs := DecodeJSON(test.kind, []byte(`{"metadata":`+meta+`,"spec":`+test.spec+`}`), true)
		if o == nil {
			t.Errorf("%s %s: %v", test.kind, test.spec, errs)
			continue
		}
		SetDefaults(o)
		errs = Validate(o)
		if len(errs) != len(test.want) {
			t.Errorf("%s %s: got %v, want errors of %v", test.kind, test.spec, errs, test.want)
			continue
		}
		for i, e := range errs {
			if e.Field != test.want[i] {
				t.Errorf("%s %s: error %d is of %s, want %s", test.kind, test.spec, i, e.Field, test.want[i])
			}
		}
	}
}

// TestStagedRulesAreWhole: a rule of a staged policy that can't be read in full says so, or the policy can't be read at all.
func TestStagedRulesAreWhole(t *testing.T) {
	o, errs := DecodeJSON(KindStagedNetworkPolicy, []byte(`{"metadata":{"name":"p","namespace":"n"},"spec":{"ingress":[{"action":"Allow","mood":1}]}}`), false)
	if o == nil || len(errs) != 1 || len(o.(*StagedNetworkPolicy).Spec.Ingress[0].Unknown) != 1 {
		t.Errorf("got %+v, %v", o, errs)
	}
	o, errs = DecodeJSON(KindStagedKubernetesNetworkPolicy, []byte(`{"metadata":{"name":"p","namespace":"n"},"spec":{"ingress":[{"mood":1}]}}`), false)
	if o != nil || len(errs) != 1 || !strings.Contains(errs[0].Problem, "unknown field") {
		t.Errorf("got %+v, %v", o, errs)
	}
}
