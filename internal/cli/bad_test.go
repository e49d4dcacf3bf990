package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// badCalls are wrong, or can't be answered. DIR is a folder that holds an empty file named "file".
var badCalls = []struct {
	args    string
	status  int
	message string
}{
	{"frobnicate", exitUsage, `unknown command "frobnicate"`},
	{"get", exitUsage, "requires at least 1 arg"},
	{"get gadgets -f testdata/cluster.yaml", exitUsage, `unknown kind "gadgets"; valid: bgpconfiguration, `},
	{"get tiers", exitUsage, "no datastore: name one with --datastore or FELID_DATASTORE"},
	{"get tiers -f testdata/cluster.yaml -o xml", exitUsage, "-o xml; valid: table, yaml, json, wide, name"},
	{"get tiers --colour", exitUsage, "unknown flag: --colour"},
	{"get tiers --datastore redis:x", exitUsage, `datastore "redis:x": invalid; valid: kube, kube:KUBECONFIG, etcd:URL`},
	{"get tiers --datastore local:", exitUsage, "invalid; valid: kube, "},
	{"get tiers --datastore etcd:http://127.0.0.1:1", exitUnreachable, "connection refused"},
	{"get tiers --datastore etcd:127.0.0.1:1", exitUsage, `"127.0.0.1:1" is no endpoint; valid: https://HOST:PORT`},
	{"get tiers --datastore etcd:http://127.0.0.1:1 --etcd-ca testdata/no.pem", exitUsage, "the endpoints are http"},
	{"get tiers --datastore kube:testdata/no.kubeconfig", exitUsage, "testdata/no.kubeconfig"},
	{"get tiers --datastore local:DIR/none", exitUnreachable, "no such file or directory"},
	{"get tiers --datastore local:DIR/file", exitUnreachable, "not a directory"},
	{"get tiers --config DIR/none.yaml --datastore local:DIR", exitUsage, "config file: open"},
	{"get tier nobody --datastore local:DIR", exitNo, "Tier nobody: not found"},
	{"get tier a -A -f testdata/cluster.yaml", exitUsage, "a name is of one namespace"},
	{"get tiers -f DIR/none.yaml", exitUsage, "no such file"},
	{"validate", exitUsage, "give files with -f"},
	{"validate extra -f testdata/cluster.yaml", exitUsage, `unknown command "extra"`},
	{"validate -f DIR/none.yaml", exitUsage, "no such file"},
	{"apply --datastore local:DIR", exitUsage, "give files with -f"},
	{"apply -f testdata/cluster.yaml", exitUsage, "no datastore"},
	{"apply -f testdata/cluster.yaml --datastore local:DIR/file", exitUnreachable, "not a directory"},
	{"delete tier --datastore local:DIR", exitUsage, "give a kind and names, or files with -f"},
	{"delete tier a -f testdata/cluster.yaml --datastore local:DIR", exitUsage, "either a kind and names, or files"},
	{"delete tier a --datastore local:DIR", exitNo, "Tier a: not found"},
	{"delete tier default --datastore local:DIR", exitNo, "nothing was deleted"},
	{"label tier a --datastore local:DIR", exitUsage, "requires at least 3 arg"},
	{"label tier a b --datastore local:DIR", exitUsage, `"b" is not a label; valid: KEY=VALUE, or KEY- to remove it`},
	{"label tier a b=1 b- --datastore local:DIR", exitUsage, "label b is given twice"},
	{"label tier a b=1 --datastore local:DIR", exitNo, "Tier a: not found"},
	{"label tier a b=1 -f testdata/cluster.yaml", exitUsage, "unknown shorthand flag: 'f'"},
	{"explain -f testdata/cluster.yaml", exitUsage, "from: is missing"},
	{"explain -f testdata/cluster.yaml --from web-1 --to 10.0.0.1", exitUsage, `from: "web-1" is not an end of a connection; valid: pod/NS/NAME`},
	{"explain -f testdata/cluster.yaml --from pod/a/b/c/d --to pod//b", exitUsage, `to: "pod//b" is not an end`},
	{"explain -f testdata/cluster.yaml --from 10.0.0.1 --to 10.0.0.2 --port 65536", exitUsage, `--port: "65536" is not a port; valid: 0 to 65535`},
	{"explain -f testdata/cluster.yaml --from 10.0.0.1 --to 10.0.0.2 --source-port x", exitUsage, `--source-port: "x" is not a port`},
	{"explain -f testdata/cluster.yaml --from 10.0.0.1 --to 10.0.0.2 --icmp 8/x", exitUsage, `--icmp: "8/x" is not an ICMP code`},
	{"explain -f testdata/cluster.yaml --from 10.0.0.1 --to 10.0.0.2 --icmp 300", exitUsage, `--icmp: "300" is not an ICMP type`},
	{"explain -f testdata/cluster.yaml --from 10.0.0.1 --to 10.0.0.2 --icmp 8 --protocol TCP", exitUsage, "TCP has no ICMP type"},
	{"explain -f testdata/cluster.yaml --from 10.0.0.1 --to 10.0.0.2 --protocol ICMP --port 1", exitUsage, "ICMP has no ports"},
	{"explain -f testdata/cluster.yaml --from 10.0.0.1 --to 10.0.0.2 --protocol QUIC", exitUsage, `unknown protocol "QUIC"; valid: TCP, UDP`},
	{"explain -f testdata/cluster.yaml --from 10.0.0.1 --to 10.0.0.2 --ip-version 5", exitUsage, "ip version: 5; valid: 4, 6"},
	{"explain -f testdata/cluster.yaml --from 10.0.0.1 --to 10.0.0.2 --ip-version four", exitUsage, "invalid argument"},
	{"explain -f testdata/cluster.yaml --from 10.0.0.1 --to fd00::1", exitNo, "they have no addresses of one family"},
	{"test", exitUsage, "requires at least 1 arg"},
	{"test DIR/none.yaml", exitUsage, "no such file"},
	{"render -f testdata/cluster.yaml", exitUsage, "--node is needed"},
	{"render -f testdata/cluster.yaml --node n --dataplane pf", exitUsage, `--dataplane "pf"; valid: iptables, hns`},
	{"render -f testdata/cluster.yaml --node n --dataplane nftables", exitUsage, "not there in this version"},
	{"render -f testdata/cluster.yaml --node n --part nat", exitUsage, `--part "nat"; valid: ipset, iptables, ip6tables`},
	{"render -f testdata/cluster.yaml --node n --part ipset --dataplane hns", exitUsage, "with --dataplane iptables"},
	{"render -f testdata/cluster.yaml --node node-1 --endpoint pod/app-ns/app-1", exitNo, "pod/app-ns/app-1 does not exist"},
	{"policy", exitUsage, "felid policy needs a command; valid: endpoints"},
	{"policy count", exitUsage, `felid policy has no command "count"`},
	{"policy endpoints -f testdata/cluster.yaml", exitUsage, "accepts 1 arg"},
	{"policy endpoints nobody -f testdata/cluster.yaml", exitNo, "no policy nobody; namespaced ones are given as NS/NAME"},
	{"endpoint", exitUsage, "felid endpoint needs a command; valid: policies"},
	{"endpoint policies web-1 -f testdata/cluster.yaml", exitUsage, `"web-1" is not an endpoint; valid: pod/NS/NAME`},
	{"endpoint policies pod/web-ns/web-9 -f testdata/cluster.yaml", exitNo, "pod/web-ns/web-9 does not exist"},
	{"endpoint policies hostendpoint/host-2-other -f testdata/hosts.yaml", exitNo, "NotEnforced: another host endpoint is that of its interface"},
	{"explain --from 10.0.0.1 --to service/shop/web -f testdata/hosts.yaml", exitUsage, "--port: is missing; valid: a port of the service"},
	{"explain --from service/shop/web --to 10.0.0.1 -f testdata/hosts.yaml", exitUsage, `"service/shop/web" is not an end of a connection`},
	{"explain --from 10.0.0.1 --to hostendpoint/host-2-other -f testdata/hosts.yaml", exitNo, "hostendpoint/host-2-other has no effect"},
	{"endpoint policies hostendpoint/none -f testdata/cluster.yaml", exitNo, "hostendpoint/none does not exist"},
	{"agent --datastore local:DIR --node UPPER", exitUsage, `node: "UPPER" is not a node's name`},
	{"agent --no-such", exitUsage, "unknown flag: --no-such"},
	{"lab frobnicate", exitUsage, `felid lab has no command "frobnicate"`},
}

// TestBadCalls: status and message, and nothing on standard output.
func TestBadCalls(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range badCalls {
		o := call(t).run(strings.Fields(strings.ReplaceAll(c.args, "DIR", dir))...)
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
		faults, rest := o.err, o.out
		if args[0] == "validate" { // there they are the answer
			faults, rest = o.out, o.err
		}
		if o.status != exitNo || rest != "" {
			t.Errorf("%v: status %d, printed %q", args, o.status, rest)
		}
		wants(t, faults,
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
