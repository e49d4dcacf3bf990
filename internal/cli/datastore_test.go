package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	v3 "github.com/felid-net/felid/api/v3"
)

// TestMovedKinds: all that is stored is moved.
func TestMovedKinds(t *testing.T) {
	for _, info := range v3.Kinds() {
		if slices.Contains(movedKinds, info.Kind) == info.View {
			t.Errorf("%s: view %v, moved %v", info.Kind, info.View, !info.View)
		}
	}
	if len(slices.Compact(slices.Sorted(slices.Values(movedKinds)))) != len(movedKinds) {
		t.Error("a kind is moved twice")
	}
	for _, pair := range [][2]v3.Kind{{v3.KindTier, v3.KindNetworkPolicy}, {v3.KindIPPool, v3.KindIPAMBlock}, {v3.KindTier, v3.KindStagedGlobalNetworkPolicy}, {v3.KindIPPool, v3.KindBlockAffinity}} {
		if slices.Index(movedKinds, pair[0]) > slices.Index(movedKinds, pair[1]) {
			t.Errorf("%s comes after %s", pair[0], pair[1])
		}
	}
}

// addresses is what IPAM keeps, with what is of one datastore alone.
const addresses = `apiVersion: projectcalico.org/v3
kind: IPAMBlock
metadata:
  name: 10-65-0-0-31
  uid: 0c5c0f3a-0c4a-4f1c-8a53-5a8c3c2f1f10
  generation: 7
  creationTimestamp: "2026-01-31T12:00:00Z"
  finalizers: [felid.dev/in-use]
  ownerReferences: [{apiVersion: v1, kind: Node, name: one, uid: 0c5c0f3a-0c4a-4f1c-8a53-5a8c3c2f1f11}]
spec:
  cidr: 10.65.0.0/31
  affinity: host:one
  allocations: [null, 0]
  unallocated: [0]
  attributes: [{handle_id: k8s-pod-network.abc, secondary: {node: one}}]
  sequenceNumber: 12
---
apiVersion: projectcalico.org/v3
kind: BlockAffinity
metadata: {name: one-10-65-0-0-31}
spec: {state: confirmed, node: one, type: host, cidr: 10.65.0.0/31}
---
apiVersion: projectcalico.org/v3
kind: Tier
metadata: {name: early, annotations: {a: b}}
spec: {order: 5, defaultAction: Pass}
status: {conditions: [{type: Accepted, status: "True", reason: Ok, message: "", lastTransitionTime: "2026-01-31T12:00:00Z"}]}
`

// full is a local datastore with something of everything.
func full(t *testing.T) caller {
	c, _ := storeCaller(t)
	c.ok("apply", "-f", "testdata/policies.yaml", "-f", "testdata/cluster.yaml")
	c.ok("apply", "-f", "../../test/examples")
	c.in = addresses
	c.ok("apply", "-f", "-")
	return c
}

func TestExportAndImport(t *testing.T) {
	c := full(t)
	o := c.ok("datastore", "export")
	wants(t, o.err, "of Profile left out: made from Kubernetes objects", "of WorkloadEndpoint left out: made from Kubernetes objects")
	wants(t, o.out, "kind: IPAMBlock", "sequenceNumber: 12", "kind: BlockAffinity")
	for _, part := range []string{"resourceVersion", "uid:", "creationTimestamp", "generation", "finalizers", "ownerReferences", "conditions:"} {
		if strings.Contains(o.out, part) {
			t.Errorf("%s is exported:\n%s", part, o.out)
		}
	}
	if tier, policy := strings.Index(o.out, "kind: Tier"), strings.Index(o.out, "kind: NetworkPolicy"); tier < 0 || policy < tier {
		t.Errorf("tiers at %d, policies at %d", tier, policy)
	}
	elsewhere := etcdCaller(t)
	elsewhere.in = c.ok("datastore", "export", "-o", "json").out
	wants(t, elsewhere.ok("datastore", "import", "-f", "-", "--dry-run").out, "Tier early would be created\n", " created, 0 replaced, 0 unchanged, 0 left out, 0 failed\n")
	if got := elsewhere.ok("get", "tiers").out; got != "no tiers\n" {
		t.Fatalf("after a dry run:\n%s", got)
	}
	wants(t, elsewhere.ok("datastore", "import", "-f", "-").out, "Tier early created\n", "IPAMBlock 10-65-0-0-31 created\n", " created, 0 replaced, 0 unchanged, 0 left out, 0 failed\n")
}

// TestRoundOfDatastores: what goes from one to the next, and back, is the same.
func TestRoundOfDatastores(t *testing.T) {
	c := full(t)
	c.ok("delete", "wep", "-n", "web-ns", "web-1+net1") // a node's record of its sandbox, which no cluster keeps
	want := c.ok("datastore", "export").out
	back, _ := storeCaller(t)
	for _, to := range []caller{etcdCaller(t), kubeCaller(t), back} {
		to.in = c.ok("datastore", "export").out
		wants(t, to.ok("datastore", "import", "-f", "-").out, " 0 replaced, 0 unchanged, 0 left out, 0 failed\n")
		if diff := cmp.Diff(want, to.ok("datastore", "export").out); diff != "" {
			t.Errorf("%s (-want +got):\n%s", to.env["FELID_DATASTORE"], diff)
		}
		c = to
	}
}

func TestImportIntoWhatIsNotEmpty(t *testing.T) {
	c := full(t)
	export := c.ok("datastore", "export").out
	to := etcdCaller(t)
	to.in = "apiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {name: early}\nspec: {order: 9}\n---\napiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {name: mine}\n"
	to.ok("apply", "-f", "-")
	to.in = export
	o := to.run("datastore", "import", "-f", "-")
	if o.status != exitNo || o.out != "" {
		t.Errorf("%+v", o)
	}
	wants(t, o.err, "the datastore is not empty: it has Tier early; valid: an empty one, --merge or --replace")

	o = to.run("datastore", "import", "-f", "-", "--merge")
	if o.status != exitNo {
		t.Errorf("status %d", o.status)
	}
	wants(t, o.out, "IPAMBlock 10-65-0-0-31 created\n", ", 1 failed\n")
	wants(t, o.err, "Tier early: already exists, and differs; valid: --replace")
	o = to.ok("datastore", "import", "-f", "-", "--replace")
	wants(t, o.out, "Tier early replaced\n", "IPAMBlock 10-65-0-0-31 unchanged\n", "0 created, 1 replaced, ")
	wants(t, to.ok("get", "tiers").out, "early", "mine")
}

// TestWhatCannotBeImportedIsNamed, and keeps back nothing.
func TestWhatCannotBeImportedIsNamed(t *testing.T) {
	to := etcdCaller(t)
	to.in = "apiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {name: a}\nspec: {mood: good}\n---\napiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {name: b}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: ns}\n"
	o := to.run("datastore", "import", "-f", "-")
	if o.status != exitNo {
		t.Errorf("status %d", o.status)
	}
	wants(t, o.err, "-:4: Tier a: spec.mood: unknown field", "1 of Kubernetes itself left alone")
	wants(t, o.out, "Tier b created\n", "1 created, 0 replaced, 0 unchanged, 0 left out, 1 failed\n")
}

// TestExportThatIsNotWhole: what would be lost is named, and what is read lacks it.
func TestExportThatIsNotWhole(t *testing.T) {
	c, dir := storeCaller(t)
	for name, text := range map[string]string{
		"good.json": `{"apiVersion":"projectcalico.org/v3","kind":"Tier","metadata":{"name":"good"}}`,
		"bad.json":  `{"apiVersion":"projectcalico.org/v3","kind":"Tier","metadata":{"name":"bad"},"spec":5}`,
		"less.json": `{"apiVersion":"projectcalico.org/v3","kind":"GlobalNetworkPolicy","metadata":{"name":"less"},"spec":{"ingress":[{"action":"Allow","zone":"z"}]}}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o := c.run("datastore", "export")
	if o.status != exitNo || !strings.Contains(o.out, "name: good") || strings.Contains(o.out, "less") {
		t.Errorf("%+v", o)
	}
	wants(t, o.err, "Tier bad", "GlobalNetworkPolicy less: the field zone of a rule is unknown, which would be lost", "the export is not whole")
}
