package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBadCalls: status and message of calls that are wrong, or that can't be answered.
func TestBadCalls(t *testing.T) {
	dir := t.TempDir()
	notDir := filepath.Join(dir, "file")
	if err := os.WriteFile(notDir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const cluster = "testdata/cluster.yaml"
	for _, c := range []struct {
		args    string
		status  int
		message string
	}{
		{"frobnicate", exitUsage, `unknown command "frobnicate"`},
		{"get", exitUsage, "requires at least 1 arg"},
		{"get gadgets -f " + cluster, exitUsage, `unknown kind "gadgets"; valid: bgpconfiguration, `},
		{"get tiers", exitUsage, "no datastore: name one with --datastore or FELID_DATASTORE"},
		{"get tiers -f " + cluster + " -o xml", exitUsage, "-o xml; valid: table, yaml, json, wide, name"},
		{"get tiers --colour", exitUsage, "unknown flag: --colour"},
		{"get tiers --datastore redis:x", exitUsage, `datastore "redis:x": invalid; valid: local:DIR`},
		{"get tiers --datastore local:", exitUsage, "invalid; valid: local:DIR"},
		{"get tiers --datastore etcd:http://127.0.0.1:1", exitUsage, "not supported"},
		{"get tiers --datastore local:" + dir + "/none", exitUnreachable, "no such file or directory"},
		{"get tiers --datastore local:" + notDir, exitUnreachable, "not a directory"},
		{"get tiers --config " + dir + "/none.yaml --datastore local:" + dir, exitUsage, "config file: open"},
		{"get tier nobody --datastore local:" + dir, exitNo, "Tier nobody: not found"},
		{"get tier a -A -f " + cluster, exitUsage, "a name is of one namespace"},
		{"get tiers -f " + dir + "/none.yaml", exitUsage, "no such file"},
		{"validate", exitUsage, "give files with -f"},
		{"validate extra -f " + cluster, exitUsage, `unknown command "extra"`},
		{"validate -f " + dir + "/none.yaml", exitUsage, "no such file"},
		{"apply --datastore local:" + dir, exitUsage, "give files with -f"},
		{"apply -f " + cluster, exitUsage, "no datastore"},
		{"apply -f " + cluster + " --datastore local:" + notDir, exitUnreachable, "not a directory"},
		{"delete tier --datastore local:" + dir, exitUsage, "give a kind and names, or files with -f"},
		{"delete tier a -f " + cluster + " --datastore local:" + dir, exitUsage, "either a kind and names, or files"},
		{"delete tier a --datastore local:" + dir, exitNo, "Tier a: not found"},
		{"delete tier default --datastore local:" + dir, exitNo, "nothing was deleted"},
		{"label tier a --datastore local:" + dir, exitUsage, "requires at least 3 arg"},
		{"label tier a b --datastore local:" + dir, exitUsage, `"b" is not a label; valid: KEY=VALUE, or KEY- to remove it`},
		{"label tier a b=1 b- --datastore local:" + dir, exitUsage, "label b is given twice"},
		{"label tier a b=1 --datastore local:" + dir, exitNo, "Tier a: not found"},
		{"label tier a b=1 -f " + cluster, exitUsage, "unknown shorthand flag: 'f'"},
		{"explain -f " + cluster, exitUsage, "from: is missing"},
		{"explain -f " + cluster + " --from web-1 --to 10.0.0.1", exitUsage, `from: "web-1" is not an end of a connection; valid: pod/NS/NAME`},
		{"explain -f " + cluster + " --from pod/a/b/c/d --to pod//b", exitUsage, `to: "pod//b" is not an end`},
		{"explain -f " + cluster + " --from 10.0.0.1 --to 10.0.0.2 --port 65536", exitUsage, `--port: "65536" is not a port; valid: 0 to 65535`},
		{"explain -f " + cluster + " --from 10.0.0.1 --to 10.0.0.2 --source-port x", exitUsage, `--source-port: "x" is not a port`},
		{"explain -f " + cluster + " --from 10.0.0.1 --to 10.0.0.2 --icmp 8/x", exitUsage, `--icmp: "8/x" is not an ICMP code`},
		{"explain -f " + cluster + " --from 10.0.0.1 --to 10.0.0.2 --icmp 300", exitUsage, `--icmp: "300" is not an ICMP type`},
		{"explain -f " + cluster + " --from 10.0.0.1 --to 10.0.0.2 --icmp 8 --protocol TCP", exitUsage, "TCP has no ICMP type"},
		{"explain -f " + cluster + " --from 10.0.0.1 --to 10.0.0.2 --protocol ICMP --port 1", exitUsage, "ICMP has no ports"},
		{"explain -f " + cluster + " --from 10.0.0.1 --to 10.0.0.2 --protocol QUIC", exitUsage, `unknown protocol "QUIC"; valid: TCP, UDP`},
		{"explain -f " + cluster + " --from 10.0.0.1 --to 10.0.0.2 --ip-version 5", exitUsage, "ip version: 5; valid: 4, 6"},
		{"explain -f " + cluster + " --from 10.0.0.1 --to 10.0.0.2 --ip-version four", exitUsage, "invalid argument"},
		{"explain -f " + cluster + " --from 10.0.0.1 --to fd00::1", exitNo, "they have no addresses of one family"},
		{"test", exitUsage, "requires at least 1 arg"},
		{"test " + dir + "/none.yaml", exitUsage, "no such file"},
		{"render -f " + cluster, exitUsage, "--node is needed"},
		{"render -f " + cluster + " --node n --dataplane pf", exitUsage, `--dataplane "pf"; valid: iptables, hns`},
		{"render -f " + cluster + " --node n --dataplane nftables", exitUsage, "not there in this version"},
		{"render -f " + cluster + " --node n --part nat", exitUsage, `--part "nat"; valid: ipset, iptables, ip6tables`},
		{"render -f " + cluster + " --node n --part ipset --dataplane hns", exitUsage, "with --dataplane iptables"},
		{"render -f " + cluster + " --node node-1 --endpoint pod/app-ns/app-1", exitNo, "pod/app-ns/app-1 does not exist"},
		{"policy", exitUsage, "felid policy needs a command; valid: endpoints"},
		{"policy count", exitUsage, `felid policy has no command "count"`},
		{"policy endpoints -f " + cluster, exitUsage, "accepts 1 arg"},
		{"policy endpoints nobody -f " + cluster, exitNo, "no policy nobody; namespaced ones are given as NS/NAME"},
		{"endpoint", exitUsage, "felid endpoint needs a command; valid: policies"},
		{"endpoint policies web-1 -f " + cluster, exitUsage, `"web-1" is not an endpoint; valid: pod/NS/NAME`},
		{"endpoint policies pod/web-ns/web-9 -f " + cluster, exitNo, "pod/web-ns/web-9 does not exist"},
		{"endpoint policies hostendpoint/node-2-eth0 -f " + cluster, exitNo, "NotEnforced"},
		{"agent --datastore local:" + dir + " --node UPPER", exitUsage, `node: "UPPER" is not a node's name`},
		{"agent --no-such", exitUsage, "unknown flag: --no-such"},
		{"lab frobnicate", exitUsage, `felid lab has no command "frobnicate"`},
	} {
		o := call(t).run(strings.Fields(c.args)...)
		if o.status != c.status || !strings.Contains(o.err, c.message) || o.out != "" {
			t.Errorf("felid %s: status %d, want %d with %q\n%s%s", c.args, o.status, c.status, c.message, o.err, o.out)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "none")); err == nil {
		t.Error("a command that only reads has made the datastore's directory")
	}
}

const invalid = `apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: a, namespace: web-ns}
spec:
  selector: app = 'x'
  ingress:
  - action: Permit
    source:
      nets:
      - 10.0.0.0/8
      - 10.0.0.0/33
---
apiVersion: projectcalico.org/v3
kind: Tier
metadata: {name: good}
---
apiVersion: projectcalico.org/v3
kind: Tier
metadata: {name: b}
spec: {oder: 1}
---
apiVersion: projectcalico.org/v3
kind: Gadget
metadata: {name: c}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: d, namespace: web-ns}
spec: {podSelector: {}, ingress: [{from: [{ipBlock: {cidr: nowhere}}]}]}
---
kind: [
`

// TestInvalidResources: all that is wrong is named, with file and line, and nothing at all is applied.
func TestInvalidResources(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.WriteFile("p.yaml", []byte(invalid), 0o600); err != nil {
		t.Fatal(err)
	}
	store := "local:" + filepath.Join(dir, "store")
	for _, args := range [][]string{
		{"validate", "-f", "p.yaml"}, {"apply", "--datastore", store, "-f", "p.yaml"}, {"create", "--datastore", store, "-f", "p.yaml"},
		{"replace", "--datastore", store, "-f", "p.yaml"},
		{"explain", "--from", "10.0.0.1", "--to", "10.0.0.2", "-f", "p.yaml"}, {"get", "tiers", "-f", "p.yaml"},
	} {
		o := call(t).run(args...)
		if o.status != exitNo || o.out != "" {
			t.Errorf("%v: status %d, printed %q", args, o.status, o.out)
		}
		wants(t, o.err,
			`p.yaml:5: NetworkPolicy web-ns/a: spec.selector: `, `use ==`,
			`p.yaml:7: NetworkPolicy web-ns/a: spec.ingress[0].action: `, `valid: Allow, Deny, Log, Pass`,
			`p.yaml:11: NetworkPolicy web-ns/a: spec.ingress[0].source.nets[1]: `,
			`p.yaml:20: Tier b: spec.oder: `, `p.yaml:23: Gadget: kind: "Gadget" is unknown`,
			`NetworkPolicy web-ns/d: spec.ingress[0].from[0].ipBlock.cidr: `, `p.yaml:31: `)
	}
	if _, err := os.Stat("store"); err == nil {
		t.Error("something was stored")
	}
}

func TestValidateJSON(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("p.yaml", []byte(invalid), 0o600); err != nil {
		t.Fatal(err)
	}
	o := call(t).run("validate", "-o", "json", "-f", "p.yaml")
	if o.status != exitNo || o.err != "" {
		t.Errorf("status %d, errors %q", o.status, o.err)
	}
	if err := os.WriteFile("p.yaml", []byte("apiVersion: projectcalico.org/v3\nkind: GlobalNetworkSet\nmetadata: {name: a}\nspec: {nets: [10.0.0.1/8]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	good := call(t).ok("validate", "-o", "json", "-f", "p.yaml")
	if good.out != "[]\n" {
		t.Errorf("nothing is invalid, but it printed %q", good.out)
	}
	wants(t, good.err, "p.yaml:4: GlobalNetworkSet a: spec.nets[0]: warning: 10.0.0.1/8 has host bits")
}
