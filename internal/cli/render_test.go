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

func TestRenderHNS(t *testing.T) {
	o := call(t).ok(renderArgs("--node", "node-1", "--dataplane", "hns", "--endpoint", "pod/web-ns/web-1")...)
	var endpoints []struct {
		Endpoint string
		ACLs     []struct{ Action, Direction, RemoteAddresses string }
	}
	if err := json.Unmarshal([]byte(o.out), &endpoints); err != nil {
		t.Fatal(err)
	}
	if len(endpoints) != 1 || endpoints[0].Endpoint != "pod/web-ns/web-1" {
		t.Fatalf("got %+v", endpoints)
	}
	for _, acl := range endpoints[0].ACLs {
		if acl.Action == "Allow" && acl.Direction == "Out" && strings.Contains(acl.RemoteAddresses, "10.65.1.1") {
			return
		}
	}
	t.Errorf("nothing lets web-1 reach app-1:\n%s", o.out)
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
	var endpoints []struct{ Endpoint string }
	if err := json.Unmarshal([]byte(call(t).ok(renderArgs("--node", "node-1", "--dataplane", "hns")...).out), &endpoints); err != nil {
		t.Fatal(err)
	}
	if len(endpoints) != 3 || endpoints[0].Endpoint != "pod/web-ns/web-1" {
		t.Errorf("got %v", endpoints)
	}
	o := call(t).ok(renderArgs("--node", "node-9")...)
	wants(t, o.err, "there is no Node node-9, and no endpoint on it")
	wants(t, o.out, "-A felid-to -j DROP")
}
