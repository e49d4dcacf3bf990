package cli

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestExplainHosts: ends that are hosts, and hosts on the way.
func TestExplainHosts(t *testing.T) {
	for name, args := range map[string]string{
		"host-blocked.txt":  "--from 198.51.100.7 --to 192.0.2.101 --port 443",
		"host-local.txt":    "--from 203.0.113.9 --to node/host-1 --port 443",
		"host-failsafe.txt": "--from 203.0.113.9 --to hostendpoint/host-1-eth0 --port 22",
		"host-forward.txt":  "--from pod/shop/front --to pod/shop/back --port 8080",
		"host-cut-off.txt":  "--from pod/shop/front --to 203.0.113.9 --port 25",
		"host-own-pod.txt":  "--from hostendpoint/host-1-eth0 --to pod/shop/front --port 80",
		"host-own-node.txt": "--from pod/shop/front --to node/host-1 --port 53 --protocol udp",
		"host-to-host.txt":  "--from node/host-2 --to node/host-1 --port 80",
		"host-forward.json": "--from pod/shop/front --to pod/shop/back --port 8080 -o json",
	} {
		t.Run(name, func(t *testing.T) {
			golden(t, name, call(t).ok(append([]string{"explain", "-f", "testdata/hosts.yaml"}, strings.Fields(args)...)...).out)
		})
	}
}

// TestExplainService: an answer for each place where the connection may end.
func TestExplainService(t *testing.T) {
	for name, args := range map[string]string{
		"service.txt":  "--from pod/shop/front --to service/shop/web --port 80",
		"service.json": "--from pod/shop/front --to service/shop/web --port 80 -o json",
	} {
		t.Run(name, func(t *testing.T) {
			golden(t, name, call(t).ok(append([]string{"explain", "-f", "testdata/hosts.yaml"}, strings.Fields(args)...)...).out)
		})
	}
	for args, problem := range map[string]string{
		"--to service/shop/web --port 81":                "service/shop/web has no port 81 of TCP; it has: 80 TCP",
		"--to service/shop/none --port 80":               "service/shop/none does not exist",
		"--to service/shop/idle --port 80":               "service/shop/idle has nowhere to go to at port 80",
		"--to service/shop/web --port 80 --ip-version 6": "not both have an IPv6 address",
	} {
		o := call(t).run(append([]string{"explain", "-f", "testdata/hosts.yaml", "--from", "pod/shop/front"}, strings.Fields(args)...)...)
		if o.status != exitNo || o.out != "" {
			t.Errorf("%s: status %d, printed %q", args, o.status, o.out)
		}
		wants(t, o.err, problem)
	}
}

func TestEndpointPoliciesOfAHost(t *testing.T) {
	args := []string{"endpoint", "policies", "hostendpoint/host-1-eth0", "-f", "testdata/hosts.yaml"}
	golden(t, "endpoint-policies-host.txt", call(t).ok(args...).out)
	var applied []map[string]string
	if err := json.Unmarshal([]byte(call(t).ok(append(args, "-o", "json")...).out), &applied); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"direction": "ingress", "stage": "untracked", "tier": "default", "tierDefault": "Pass", "kind": "GlobalNetworkPolicy", "name": "blocked",
	}
	if diff := cmp.Diff(want, applied[0]); diff != "" {
		t.Error(diff)
	}
}

func TestHostsInPolicyTests(t *testing.T) {
	golden(t, "host-tests.txt", call(t).run("test", "testdata/hosts-tests.yaml").out)
}

// TestPolicyEndpointsAreHostsToo: whatever the stage.
func TestPolicyEndpointsAreHostsToo(t *testing.T) {
	for policy, want := range map[string]string{
		"blocked": "hostendpoint/host-1-eth0\n", "edge": "hostendpoint/host-1-eth0\n",
		"no-node-ports": "hostendpoint/host-1-eth0\nhostendpoint/host-1-rest\nhostendpoint/host-2-auto-hep\n",
	} {
		if got := call(t).ok("policy", "endpoints", policy, "-f", "testdata/hosts.yaml", "-o", "name").out; got != want {
			t.Errorf("%s: %q, want %q", policy, got, want)
		}
	}
	if got := call(t).ok("policy", "unused", "-f", "testdata/hosts.yaml").out; strings.Contains(got, "GlobalNetworkPolicy") {
		t.Errorf("unused: %s", got)
	}
}
