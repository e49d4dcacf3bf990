package cli

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var offline = []string{"-f", "testdata/cluster.yaml", "-f", "testdata/policies.yaml"}

func explainArgsOf(more ...string) []string {
	return append(append([]string{"explain"}, offline...), more...)
}

func TestExplain(t *testing.T) {
	for name, args := range map[string][]string{
		"explain-allow.txt":   {"--from", "pod/web-ns/web-1", "--to", "pod/app-ns/app-1", "--port", "8080"},
		"explain-deny.txt":    {"--from", "pod/web-ns/web-2", "--to", "pod/app-ns/app-1", "--port", "22"},
		"explain-ipv6.txt":    {"--from", "pod/web-ns/web-1", "--to", "pod/app-ns/app-1", "--port", "8080", "--ip-version", "6"},
		"explain-icmp.txt":    {"--from", "10.65.0.2", "--to", "10.65.1.1", "--icmp", "8"},
		"explain-node.txt":    {"--from", "node/node-2", "--to", "pod/app-ns/app-1", "--port", "22"},
		"explain-outside.txt": {"--from", "203.0.113.9", "--to", "hostendpoint/node-2-eth0", "--protocol", "udp", "--port", "53"},
		"explain-net1.txt":    {"--from", "pod/web-ns/web-1/net1", "--to", "pod/web-ns/web-1/eth0", "--port", "80"},
		"explain-deny.json":   {"--from", "pod/web-ns/web-2", "--to", "pod/app-ns/app-1", "--port", "22", "-o", "json"},
	} {
		t.Run(name, func(t *testing.T) {
			golden(t, name, call(t).ok(explainArgsOf(args...)...).out)
		})
	}
}

// TestExplainNames holds the names and forms of the contract.
func TestExplainNames(t *testing.T) {
	o := call(t).ok(explainArgsOf("--from", "203.0.113.9", "--to", "pod/app-ns/app-1", "--port", "22", "-o", "json")...)
	var answer map[string]any
	if err := json.Unmarshal([]byte(o.out), &answer); err != nil {
		t.Fatal(err)
	}
	ingress, _ := answer["ingress"].(map[string]any)
	delete(ingress, "trace")
	want := map[string]any{
		"verdict": "Deny", "egress": nil,
		"ingress": map[string]any{
			"endpoint": "pod/app-ns/app-1", "verdict": "Deny",
			"by": map[string]any{
				"kind": "NetworkPolicy", "namespace": "app-ns", "name": "application.app", "tier": "application", "rule": -1., "reason": "end of tier",
			},
		},
	}
	if diff := cmp.Diff(want, answer); diff != "" {
		t.Error(diff)
	}
}

func TestExplainMissingEnds(t *testing.T) {
	for end, problem := range map[string]string{
		"pod/web-ns/nobody": "pod/web-ns/nobody does not exist", "pod/web-ns/on-host": "host-networked",
		"pod/web-ns/web-1/net9": "does not exist", "node/node-9": "node/node-9 does not exist",
		"hostendpoint/none": "hostendpoint/none does not exist", "container/c1/eth0": "does not exist",
	} {
		for _, o := range []outcome{
			call(t).run(explainArgsOf("--from", end, "--to", "10.0.0.1")...), call(t).run(explainArgsOf("--to", end, "--from", "10.0.0.1")...),
		} {
			if o.status != exitNo || o.out != "" {
				t.Errorf("%s: status %d, printed %q", end, o.status, o.out)
			}
			wants(t, o.err, problem)
		}
	}
}

func TestExplainOfADatastoreAndWithoutOne(t *testing.T) {
	dir := "local:" + t.TempDir()
	c := call(t)
	c.ok("apply", "--datastore", dir, "-f", "testdata/cluster.yaml", "-f", "testdata/policies.yaml")
	args := []string{"explain", "--from", "pod/web-ns/web-1", "--to", "pod/app-ns/app-1", "--port", "8080"}
	c.env = map[string]string{"FELID_DATASTORE": dir, "FELID_NODE": "No Name Of A Node", "FELID_MTU": "wide"}
	if got, want := c.ok(args...).out, call(t).ok(append(args, offline...)...).out; got != want {
		t.Errorf("the datastore says\n%s\nfiles say\n%s", got, want)
	}
}
