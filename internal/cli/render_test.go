package cli

import (
	"encoding/json"
	"strings"
	"testing"
)

func renderArgs(more ...string) []string {
	return append([]string{"render", "-f", "testdata/cluster.yaml", "-f", "../../test/examples/09-tiered-well-scoped.yaml"}, more...)
}

func TestRenderIptables(t *testing.T) {
	o := call(t).ok(renderArgs("--node", "node-1")...)
	wants(t, o.out,
		"# ipset restore\n", "10.65.1.1/32\n", "fd00:65:0:1::1/128\n", "\n# iptables-restore\n*filter\n", "\n# ip6tables-restore\n*filter\n",
		"felid-fw-flddca8bbec5a3 ! -s 10.65.0.1/32 -j DROP", // the plugin's name for the interface of web-ns/web-1
		"felid-fw-fldnet1 ! -s 10.66.0.1/32 -j DROP",        // as its record says
		"NetworkPolicy web-ns/application.well-scoped-policy",
	)
	if o.err != "" && strings.Contains(o.err, "dropped") {
		t.Errorf("an endpoint can't be rendered: %s", o.err)
	}
}

// TestRenderEndpoint: one endpoint, and only what it needs.
func TestRenderEndpoint(t *testing.T) {
	one := call(t).ok(renderArgs("--node", "node-1", "--endpoint", "pod/web-ns/web-2")...).out
	wants(t, one, "! -s 10.65.0.2/32 -j DROP", "Profile kns.web-ns")
	for _, other := range []string{"10.65.0.1/32", "fldnet1", "create ", "well-scoped"} {
		if strings.Contains(one, other) {
			t.Errorf("%q is in\n%s", other, one)
		}
	}
	wants(t, call(t).ok(renderArgs("--node", "node-1", "--endpoint", "pod/web-ns/web-1/eth0")...).out, "10.65.0.1/32", "create felid4-", "well-scoped")
}

type renderedACLs struct {
	Form string
	Sets []struct {
		Settings  struct{ ID, Values string }
		Means     string
		Endpoints []string
	}
	Endpoints []struct {
		Endpoint string
		ACLs     []struct{ Action, Direction, RemoteAddresses string }
	}
}

func renderedFor(t *testing.T, more ...string) renderedACLs {
	t.Helper()
	o := call(t).ok(renderArgs(append([]string{"--node", "node-1", "--dataplane", "hns"}, more...)...)...)
	var out renderedACLs
	if err := json.Unmarshal([]byte(o.out), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestRenderHNS(t *testing.T) {
	got := renderedFor(t, "--endpoint", "pod/web-ns/web-1")
	if len(got.Endpoints) != 1 || got.Endpoints[0].Endpoint != "pod/web-ns/web-1" || len(got.Sets) > 0 {
		t.Fatalf("got %+v", got)
	}
	for _, acl := range got.Endpoints[0].ACLs {
		if acl.Action == "Allow" && acl.Direction == "Out" && strings.Contains(acl.RemoteAddresses, "10.65.1.1") {
			return
		}
	}
	t.Errorf("nothing lets web-1 reach app-1: %+v", got)
}

// TestRenderHNSBySets: the list names a set, and the set has the addresses, one for each family.
func TestRenderHNSBySets(t *testing.T) {
	got := renderedFor(t, "--hns-build", "26100", "--hns-features", "sets,ipv6")
	if len(got.Sets) != 2 || got.Sets[0].Settings.Values != "10.65.1.1" || got.Sets[1].Settings.Values != "fd00:65:0:1::1" || got.Sets[0].Means == "" || got.Sets[0].Endpoints[0] != "pod/web-ns/web-1" {
		t.Fatalf("got sets %+v", got.Sets)
	}
	for _, acl := range got.Endpoints[0].ACLs {
		if acl.Action == "Allow" && acl.Direction == "Out" && acl.RemoteAddresses == got.Sets[0].Settings.ID {
			return
		}
	}
	t.Errorf("nothing lets web-1 reach app-1: %+v", got)
}

func TestRenderHNSGolden(t *testing.T) {
	for name, more := range map[string][]string{
		"render-hns.json":      nil,
		"render-hns-ipv4.json": {"--hns-features", ""},
		"render-hns-sets.json": {"--hns-build", "26100", "--hns-features", "ipv6,sets"},
	} {
		args := renderArgs(append([]string{"--node", "node-1", "--dataplane", "hns", "--endpoint", "pod/web-ns/web-1"}, more...)...)
		golden(t, name, call(t).ok(args...).out)
	}
}

// TestRenderHNSArguments: what is wrong is said with what would be right.
func TestRenderHNSArguments(t *testing.T) {
	for args, want := range map[string]string{
		"--dataplane hns --hns-build 17763":         "build 17763 of Windows is not known; valid: 20348, 26100",
		"--dataplane hns --hns-features sets,tiers": `feature "tiers" of HNS is not known; valid: ipv6, sets`,
		"--dataplane iptables --hns-features sets":  "--hns-build and --hns-features go with --dataplane hns",
		"--dataplane hns --part ipset":              `--part "ipset"; valid: ipset, iptables, ip6tables, with --dataplane iptables`,
		"--dataplane hsn":                           `--dataplane "hsn"; valid: iptables, hns`,
	} {
		o := call(t).run(renderArgs(append([]string{"--node", "node-1"}, strings.Fields(args)...)...)...)
		if o.status != 2 || !strings.Contains(o.err, want) {
			t.Errorf("%s: status %d, %s", args, o.status, o.err)
		}
	}
}

// TestRenderParts: the whole is its parts, each after a comment.
func TestRenderParts(t *testing.T) {
	whole := call(t).ok(renderArgs("--node", "node-1")...).out
	for _, part := range []string{"ipset", "iptables", "ip6tables"} {
		if text := call(t).ok(renderArgs("--node", "node-1", "--part", part)...).out; len(text) < 10 || !strings.Contains(whole, text) {
			t.Errorf("%s is no part of the whole:\n%s", part, text)
		}
	}
}

// TestRenderOtherNode: endpoints of other nodes are members of sets, and not policed.
func TestRenderOtherNode(t *testing.T) {
	if got := renderedFor(t); len(got.Endpoints) != 3 || got.Endpoints[0].Endpoint != "pod/web-ns/web-1" {
		t.Errorf("got %+v", got)
	}
	o := call(t).ok(renderArgs("--node", "node-9")...)
	wants(t, o.err, "there is no Node node-9, and no endpoint on it")
	wants(t, o.out, "-A felid-to -j DROP")
}
