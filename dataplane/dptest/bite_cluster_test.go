package dptest

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"sigs.k8s.io/yaml"
)

// idleCluster are the rules of ClusterNetworkPolicies that must not decide anything.
var idleCluster = map[string]string{
	"cnp-absent: ClusterNetworkPolicy subject spec.egress[0]":           "absent",
	"cnp-absent: ClusterNetworkPolicy subject-of-two spec.egress[0]":    "absent",
	"cnp-absent: ClusterNetworkPolicy tier spec.egress[0]":              "absent",
	"cnp-unknown-in-accept: ClusterNetworkPolicy p spec.ingress[0]":     "left out",
	"cnp-unknown-in-accept: ClusterNetworkPolicy p spec.ingress[1]":     "left out",
	"cnp-unknown-in-accept: ClusterNetworkPolicy p spec.ingress[2]":     "left out",
	"cnp-unknown-in-accept: ClusterNetworkPolicy p spec.ingress[3]":     "left out",
	"cnp-unknown-in-accept: ClusterNetworkPolicy p spec.ingress[4]":     "left out",
	"cnp-unknown-in-accept: ClusterNetworkPolicy p spec.ingress[5]":     "left out",
	"cnp-unknown-in-accept: ClusterNetworkPolicy p spec.ingress[6]":     "left out",
	"cnp-unknown-in-deny: ClusterNetworkPolicy p spec.egress[1]":        "behind one that denies all",
	"cnp-unreadable-values: ClusterNetworkPolicy accept spec.egress[0]": "left out",
	"cnp-unreadable-values: ClusterNetworkPolicy accept spec.egress[1]": "left out",
	"cnp-unreadable-values: ClusterNetworkPolicy accept spec.egress[2]": "left out",
	"cnp-unreadable-values: ClusterNetworkPolicy accept spec.egress[3]": "left out",
	"cnp-unreadable-values: ClusterNetworkPolicy accept spec.egress[4]": "left out",
	"cnp-unreadable-values: ClusterNetworkPolicy accept spec.egress[6]": "left out",
	"cnp-unreadable-values: ClusterNetworkPolicy action spec.egress[2]": "behind one that denies all",
}

// TestClusterRulesBite is TestCasesBite for rules as they were written.
func TestClusterRulesBite(t *testing.T) {
	for _, c := range Cases(t) {
		before := answersOf(c, c.Objects)
		written := c.Options.clusterPolicies
		for i, text := range written {
			eachClusterRule(t, text, func(name string, without []byte) {
				c.Options.clusterPolicies = slices.Clone(written)
				c.Options.clusterPolicies[i] = without
				name = c.Name + ": " + name
				if decides := answersOf(c, c.Objects) != before; decides == (idleCluster[name] != "") {
					t.Errorf("%s: decides a flow: %v", name, decides)
				}
			})
		}
		c.Options.clusterPolicies = written
	}
}

// eachClusterRule gives the policy once for each of its rules, without it: with one in its place that accepts nobody.
func eachClusterRule(t *testing.T, text []byte, visit func(name string, without []byte)) {
	var policy tree
	if err := yaml.Unmarshal(text, &policy); err != nil {
		t.Fatal(err)
	}
	spec := policy["spec"].(tree)
	for _, direction := range []string{"ingress", "egress"} {
		rules, _ := spec[direction].([]any)
		for i, rule := range rules {
			rules[i] = tree{"action": "Accept"}
			without, err := json.Marshal(policy)
			if err != nil {
				t.Fatal(err)
			}
			visit(fmt.Sprintf("ClusterNetworkPolicy %v spec.%s[%d]", policy["metadata"].(tree)["name"], direction, i), without)
			rules[i] = rule
		}
	}
}
