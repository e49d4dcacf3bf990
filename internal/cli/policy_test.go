package cli

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPolicyEndpoints(t *testing.T) {
	for name, args := range map[string][]string{
		"policy-endpoints.txt":        {"app-ns/application.app"},
		"policy-endpoints-rules.txt":  {"app-ns/application.app", "--rules"},
		"policy-endpoints.json":       {"app-ns/application.app", "--rules", "-o", "json"},
		"policy-endpoints-none.txt":   {"ops.quarantine"},
		"policy-unused-but-rules.txt": {"production/nobody", "--rules", "-f", "testdata/nobody.yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			golden(t, name, call(t).ok(append(append([]string{"policy", "endpoints"}, args...), offline...)...).out)
		})
	}
}

func TestPolicyEndpointsOfExamples(t *testing.T) {
	for name, args := range map[string][]string{
		"policy-unused.txt":        {"web-ns/application.my-unused-policy-1"},
		"policy-unused.json":       {"web-ns/application.my-unused-policy-1", "-o", "json"},
		"policy-poorly-scoped.txt": {"web-ns/application.poorly-scoped-policy", "--rules", "-o", "name"},
		"policy-well-scoped.txt":   {"web-ns/application.well-scoped-policy", "--rules"},
	} {
		t.Run(name, func(t *testing.T) {
			args = append([]string{"policy", "endpoints", "-f", "../../test/examples", "-f", "testdata/cluster.yaml"}, args...)
			golden(t, name, call(t).ok(args...).out)
		})
	}
}

func TestEndpointPolicies(t *testing.T) {
	args := append([]string{"endpoint", "policies", "pod/app-ns/app-1"}, offline...)
	golden(t, "endpoint-policies.txt", call(t).ok(args...).out)
	var applied []map[string]string
	if err := json.Unmarshal([]byte(call(t).ok(append(args, "-o", "json")...).out), &applied); err != nil {
		t.Fatal(err)
	}
	want := []map[string]string{
		{"direction": "ingress", "tier": "ops", "tierDefault": "Deny", "kind": "GlobalNetworkPolicy", "name": "ops.go-on"},
		{"direction": "ingress", "tier": "application", "tierDefault": "Deny", "kind": "NetworkPolicy", "namespace": "app-ns", "name": "application.app"},
		{"direction": "ingress", "kind": "Profile", "name": "kns.app-ns"},
		{"direction": "egress", "kind": "Profile", "name": "kns.app-ns"},
	}
	if diff := cmp.Diff(want, applied); diff != "" {
		t.Error(diff)
	}
}
