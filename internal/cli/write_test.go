package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// storeCaller runs commands on a new local datastore.
func storeCaller(t *testing.T) (caller, string) {
	dir := t.TempDir()
	return caller{t: t, env: map[string]string{"FELID_DATASTORE": "local:" + dir}}, dir
}

func TestApplyGetLabelDelete(t *testing.T) { eachStore(t, testApplyGetLabelDelete) }

func testApplyGetLabelDelete(t *testing.T, c caller) {
	o := c.ok("apply", "-f", "../../test/examples/09-tiered-well-scoped.yaml")
	if diff := cmp.Diff("Tier application created\nNetworkPolicy web-ns/application.well-scoped-policy created\n", o.out); diff != "" {
		t.Error(diff)
	}
	wants(t, c.ok("apply", "-f", "../../test/examples/09-tiered-well-scoped.yaml").out, "Tier application applied")

	c.ok("label", "tier", "application", "team=a", "site=b")
	if o := c.run("label", "tier", "application", "team=c", "site=d"); o.status != exitNo {
		t.Errorf("status %d", o.status)
	} else {
		wants(t, o.err, `Tier application: metadata.labels.site: already exists, as "b"; valid: --overwrite`, "metadata.labels.team")
	}
	c.ok("label", "tiers", "application", "team=c", "site-", "--overwrite")
	wants(t, c.ok("get", "tier", "application", "-o", "wide").out, "team=c")
	if o := c.run("label", "tier", "application", "no/such/key=x"); o.status != exitNo {
		t.Errorf("a bad label: status %d", o.status)
	} else {
		wants(t, o.err, "Tier application: metadata.labels")
	}

	wants(t, c.ok("get", "np", "-A").out, "web-ns     application.well-scoped-policy  application")
	wants(t, c.ok("get", "np").out, "no networkpolicies")
	c.ok("delete", "networkpolicies", "application.well-scoped-policy", "-n", "web-ns")
	if o := c.run("get", "networkpolicy", "-n", "web-ns", "application.well-scoped-policy"); o.status != exitNo {
		t.Errorf("it is there yet: status %d\n%s", o.status, o.out)
	}
	c.ok("delete", "-f", "../../test/examples/10-tiered-poorly-scoped.yaml", "--help")
	if o := c.run("delete", "-f", "../../test/examples/09-tiered-well-scoped.yaml"); o.status != exitNo ||
		!strings.Contains(o.out, "Tier application deleted") || !strings.Contains(o.err, "application.well-scoped-policy: not found") {
		t.Errorf("status %d\n%s%s", o.status, o.out, o.err)
	}
}

func TestCreateAndReplace(t *testing.T) { eachStore(t, testCreateAndReplace) }

func testCreateAndReplace(t *testing.T, c caller) {
	const two = "apiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {name: a}\n---\napiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {name: b}\n"
	c.in = two
	if o := c.run("replace", "-f", "-"); o.status != exitNo || o.out != "" {
		t.Errorf("replace of what is not there: status %d\n%s", o.status, o.out)
	} else {
		wants(t, o.err, "-:1: Tier a: ", "-:5: Tier b: ", "not found", "nothing was replaced")
	}
	wants(t, c.ok("create", "-f", "-").out, "Tier a created\nTier b created")
	c.ok("delete", "tier", "b")
	if o := c.run("create", "-f", "-"); o.status != exitNo || o.out != "" {
		t.Errorf("create of what is there: status %d\n%s", o.status, o.out)
	} else {
		wants(t, o.err, "-:1: Tier a: already exists", "nothing was created")
	}
	c.in = strings.Split(two, "---")[0]
	wants(t, c.ok("replace", "-f", "-").out, "Tier a replaced")
}

// TestRoundTrip: what get prints can be applied, and changes nothing.
func TestRoundTrip(t *testing.T) { eachStore(t, roundTrip) }

func roundTrip(t *testing.T, c caller) {
	c.ok("apply", "-f", "testdata/policies.yaml", "-f", "../../test/examples/11-networkset-domains.yaml", "-f", "../../test/examples/01-ippool-dmz.yaml")
	for _, output := range []string{"yaml", "json"} {
		for _, args := range [][]string{{"gnp", "ops.go-on"}, {"np", "-A"}, {"tiers"}, {"globalnetworksets"}, {"ippools"}} {
			get := append(append([]string{"get"}, args...), "-o", output)
			before := c.ok(get...).out
			c.in = before
			c.ok("apply", "-f", "-")
			c.ok("replace", "-f", "-")
			if diff := cmp.Diff(before, c.ok(get...).out); diff != "" {
				t.Errorf("%v:\n%s", get, diff)
			}
		}
	}
	elsewhere, dir := storeCaller(t)
	elsewhere.in = c.ok("get", "gnp", "-o", "yaml").out
	elsewhere.ok("apply", "-f", "-")
	wants(t, elsewhere.ok("get", "gnp", "-o", "name").out, "globalnetworkpolicy/ops.go-on\n", "globalnetworkpolicy/ops.quarantine\n")
	if _, err := os.Stat(filepath.Join(dir, "GlobalNetworkPolicy", "ops.go-on.json")); err != nil {
		t.Error(err)
	}
}

// TestRevisionOfAFile: a file that was got earlier does not undo what others did since.
func TestRevisionOfAFile(t *testing.T) { eachStore(t, testRevisionOfAFile) }

func testRevisionOfAFile(t *testing.T, c caller) {
	c.ok("apply", "-f", "testdata/policies.yaml")
	c.in = c.ok("get", "tier", "ops", "-o", "yaml").out
	wants(t, c.in, "resourceVersion: ")
	c.ok("label", "tier", "ops", "team=a")
	for _, verb := range []string{"apply", "replace"} {
		o := c.run(verb, "-f", "-")
		if o.status != exitNo {
			t.Errorf("%s: status %d", verb, o.status)
		}
		wants(t, o.err, "Tier ops: changed by somebody else meanwhile", "metadata.resourceVersion is", "valid: the object as got anew, or no resourceVersion")
	}
	wants(t, c.ok("get", "tier", "ops", "-o", "wide").out, "team=a")
	c.ok("delete", "tier", "ops")
	c.ok("apply", "-f", "-") // nobody's change is undone
}

func TestNotEnforcedIsStoredAndSaid(t *testing.T) { eachStore(t, testNotEnforcedIsStoredAndSaid) }

func testNotEnforcedIsStoredAndSaid(t *testing.T, c caller) {
	c.in = "apiVersion: projectcalico.org/v3\nkind: BGPPeer\nmetadata: {name: tor}\nspec: {peerIP: 192.0.2.9, asNumber: 64512}\n"
	wants(t, c.ok("apply", "-f", "-").out, "BGPPeer tor created (NotEnforced)")
	wants(t, c.ok("get", "bgppeers").out, "NAME  STATUS\ntor   NotEnforced\n")
	o := c.ok("get", "bgppeer", "tor", "-o", "yaml")
	wants(t, o.out, "peerIP: 192.0.2.9", "asNumber: 64512")
	wants(t, o.err, "NotEnforced")
	c.in = "apiVersion: projectcalico.org/v3\nkind: HostEndpoint\nmetadata: {name: node-2-eth0}\nspec: {node: node-2, interfaceName: eth0}\n"
	wants(t, c.ok("apply", "-f", "-").out, "HostEndpoint node-2-eth0 created\n")
	wants(t, c.ok("get", "hep").out, "node-2-eth0  node-2  eth0")
}

func TestApplyWarns(t *testing.T) {
	c, _ := storeCaller(t)
	o := c.ok("apply", "-f", "../../test/examples/07-np-egress-cidr.yaml")
	wants(t, o.err, "warning: 1.2.3.4/24 has host bits")
	wants(t, o.out, "NetworkPolicy production/allow-egress-external created")
	c.ok("apply", "-f", "testdata/cluster.yaml", "-f", "../../test/examples")
}

// TestChangeThatIsNotAllowed: what may not change keeps back all objects of the call.
func TestChangeThatIsNotAllowed(t *testing.T) { eachStore(t, testChangeThatIsNotAllowed) }

func testChangeThatIsNotAllowed(t *testing.T, c caller) {
	c.ok("apply", "-f", "../../test/examples/01-ippool-dmz.yaml")
	data, err := os.ReadFile("../../test/examples/01-ippool-dmz.yaml")
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.NewReplacer("blockSize: 26", "blockSize: 28", "blockSize: 24", "blockSize: 28").Replace(string(data))
	if changed == string(data) {
		changed = strings.Replace(changed, "spec:\n", "spec:\n  blockSize: 28\n", 1)
	}
	c.in = "apiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {name: a}\n---\n" + changed
	o := c.run("apply", "-f", "-")
	if o.status != exitNo || o.out != "" {
		t.Errorf("status %d\n%s", o.status, o.out)
	}
	wants(t, o.err, "spec.blockSize", "nothing was applied")
	wants(t, c.ok("get", "tiers").out, "no tiers")
}

// TestKubernetesObjects: they are stored as they are, and seen as views.
func TestKubernetesObjects(t *testing.T) {
	c, dir := storeCaller(t)
	o := c.ok("apply", "-f", "testdata/cluster.yaml", "-f", "../../test/examples/03-k8s-network-policy.yaml")
	wants(t, o.out, "Namespace web-ns created", "Pod web-ns/web-1 created", "Pod web-ns/on-host created", "NetworkPolicy my-namespace/my-network-policy created")
	wants(t, c.ok("get", "wep", "-n", "web-ns").out, "web-1       node-1", "10.65.0.1/32")
	wants(t, c.ok("get", "profiles", "-o", "name").out, "profile/kns.web-ns")
	wants(t, c.ok("get", "knp", "-A").out, "my-namespace  my-network-policy  default")
	if data, err := os.ReadFile(filepath.Join(dir, "Pod", "web-ns", "web-1.json")); err != nil || !strings.Contains(string(data), `"containerPort":80`) {
		t.Errorf("the Pod as stored: %s, %v", data, err)
	}
	wants(t, c.ok("apply", "-f", "testdata/cluster.yaml").out, "Pod web-ns/web-1 applied")
	if o := c.run("create", "-f", "testdata/cluster.yaml"); o.status != exitNo || o.out != "" {
		t.Errorf("create again: status %d\n%s", o.status, o.out)
	}
	if o := c.run("delete", "profile", "kns.web-ns"); o.status != exitNo {
		t.Errorf("delete of a view: status %d", o.status)
	} else {
		wants(t, o.err, "it comes from a Kubernetes object in Namespace/web-ns.json")
	}
	if o := c.run("label", "wep", "-n", "web-ns", "web-2", "team=a"); o.status != exitNo {
		t.Errorf("label of a Pod's endpoint: status %d", o.status)
	} else {
		wants(t, o.err, "labels come from its Pod")
	}
	c.ok("delete", "-f", "testdata/cluster.yaml", "-f", "../../test/examples/03-k8s-network-policy.yaml")
	wants(t, c.ok("get", "wep", "-A").out, "no workloadendpoints")
}

// TestHandWrittenFile: an object in a file that somebody wrote is changed in its place, and what stands beside it stays.
func TestHandWrittenFile(t *testing.T) {
	c, dir := storeCaller(t)
	path := filepath.Join(dir, "mine.yaml")
	const text = "# the first\napiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {name: a}\nspec: {order: 1}\n---\n" +
		"# the second\napiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {name: b}\nspec: {order: 2} # keep\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c.in = "apiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {name: a}\nspec: {order: 7}\n"
	c.ok("apply", "-f", "-")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	first, second, _ := strings.Cut(string(data), "---\n")
	wants(t, first, "# the first\n", "order: 7")
	if _, want, _ := strings.Cut(text, "---\n"); second != want {
		t.Errorf("the other document is now\n%s", second)
	}
	wants(t, c.ok("get", "tiers").out, "a     7", "b     2")
	c.ok("delete", "tier", "a")
	if data, err := os.ReadFile(path); err != nil || !strings.Contains(string(data), "# keep") || strings.Contains(string(data), "name: a") {
		t.Errorf("after the delete: %s, %v", data, err)
	}
}
