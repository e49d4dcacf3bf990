package kube

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/test/kubernetes"
)

// reader may read all that views are made of but Nodes.
const reader = `apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reader}
rules:
- {apiGroups: ["", discovery.k8s.io, networking.k8s.io, policy.networking.k8s.io, projectcalico.org], verbs: [list, watch, get],
   resources: [pods, namespaces, serviceaccounts, services, endpointslices, networkpolicies, clusternetworkpolicies, profiles, ipamblocks]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reader}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: agent}]
`

const nodeReader = `apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reader-of-nodes}
rules: [{apiGroups: [""], verbs: [list, watch, get], resources: [nodes]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: reader-of-nodes}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reader-of-nodes}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: agent}]
`

func applyText(t *testing.T, server *kubernetes.Server, text string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "objects.yaml")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	server.Apply(t, file)
}

func (o origins) mustPut(t *testing.T, text string) thing {
	t.Helper()
	th := readThing(t, []byte(text))
	if err := o.put(t.Context(), th); err != nil {
		t.Fatal(err)
	}
	return th
}

func (o origins) mustRemove(t *testing.T, th thing) {
	t.Helper()
	if err := o.remove(t.Context(), th); err != nil {
		t.Fatal(err)
	}
}

const podA = `{"kind":"Pod","metadata":{"namespace":"default","name":"a","labels":{"app":"x"}},"spec":{"nodeName":"n1"},
	"status":{"phase":"Running","podIP":"10.0.0.1","podIPs":[{"ip":"10.0.0.1"}]}}`

func keyA() v3.Key {
	return v3.Key{Kind: v3.KindWorkloadEndpoint, Namespace: metav1.NamespaceDefault, Name: "a"}
}

func (f *synced) networksOfA() []string {
	if w, ok := f.have[keyA()].(*v3.WorkloadEndpoint); ok {
		return w.Spec.IPNetworks
	}
	return nil
}

// TestViewsUnderFaults has a real API server deny, lack, stop, lose and come back.
func TestViewsUnderFaults(t *testing.T) {
	server := kubernetes.Start(t, kubernetes.Options{})
	applyText(t, server, reader)
	admin := openOn(t, server)
	api := origins{admin.client}
	api.mustPut(t, podA)
	agent := openOn(t, server, quick, func(o *Options) { o.Config, o.Patience = server.As("agent", nil), 4*time.Second })
	agent.views.o.AbsentPause = 100 * time.Millisecond
	f := syncOf(t, agent, viewKinds...)

	t.Run("denied and granted", func(t *testing.T) { testDenied(t, server, agent, f) })
	t.Run("a CRD that comes late", func(t *testing.T) { testLateCRD(t, server, f) })
	t.Run("conditions of a policy", func(t *testing.T) { testConditions(t, admin, f) })
	t.Run("addresses of blocks", func(t *testing.T) { testBlocks(t, server, admin, f) })
	t.Run("status without effect", func(t *testing.T) { testHeartbeats(t, api, f) })
	t.Run("killed", func(t *testing.T) { testKilled(t, server, agent, api, f) })
	t.Run("restarted empty", func(t *testing.T) { testEmptied(t, server, agent, api, f) })
}

func testDenied(t *testing.T, server *kubernetes.Server, agent *Store, f *synced) {
	f.until("the pod", func() bool { return slices.Equal(f.networksOfA(), []string{"10.0.0.1/32"}) })
	f.until("what is missing is said", func() bool {
		return slices.ContainsFunc(agent.Outages(), func(o datastore.Outage) bool {
			return o.Kind == v3.KindNode && strings.Contains(o.Reason, `resources ["nodes"]`)
		})
	})
	if f.inSync {
		t.Error("in sync without nodes")
	}
	if _, err := agent.Get(t.Context(), v3.Key{Kind: v3.KindNode, Name: "n1"}); !errors.Is(err, datastore.ErrForbidden) {
		t.Errorf("Get of a node: %v, want ErrForbidden", err)
	}
	applyText(t, server, nodeReader)
	f.until("in sync", func() bool { return f.inSync && agent.Outages() == nil })
}

func testLateCRD(t *testing.T, server *kubernetes.Server, f *synced) {
	installClusterPolicies(t, server)
	applyText(t, server, `{apiVersion: policy.networking.k8s.io/v1alpha2, kind: ClusterNetworkPolicy, metadata: {name: p}, spec: {tier: Admin, priority: 1, subject: {namespaces: {}}}}`)
	f.until("the policy", func() bool { return f.have[v3.Key{Kind: v3.KindClusterNetworkPolicy, Name: "p"}] != nil })
}

func testConditions(t *testing.T, admin *Store, f *synced) {
	key := v3.Key{Kind: v3.KindClusterNetworkPolicy, Name: "p"}
	o, err := admin.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if known := f.have[key]; known.GetResourceVersion() != o.GetResourceVersion() || known.GetGeneration() != o.GetGeneration() || known.GetUID() != o.GetUID() {
		t.Errorf("Get gives another one than the watch: %v, %v", o, known)
	}
	changed := o.Copy().(*v3.GlobalNetworkPolicy)
	changed.Status.Conditions = []metav1.Condition{{Type: "Accepted", Status: "True", Reason: "Fine", LastTransitionTime: metav1.Now()}}
	written, err := admin.UpdateStatus(t.Context(), changed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := admin.UpdateStatus(t.Context(), changed); !errors.Is(err, datastore.ErrConflict) {
		t.Errorf("of a revision before: %v, want ErrConflict", err)
	}
	changed.ResourceVersion = ""
	changed.Status.Conditions = []metav1.Condition{{Type: "Programmed", Status: "False", Reason: "Waiting", LastTransitionTime: metav1.Now()}}
	last, err := admin.UpdateStatus(t.Context(), changed)
	if err != nil || last.GetResourceVersion() == written.GetResourceVersion() {
		t.Fatalf("whatever is there: %v, %v", last, err)
	}
	f.until("both conditions", func() bool {
		p := f.have[key].(*v3.GlobalNetworkPolicy)
		return len(p.Status.Conditions) == 2 && p.ResourceVersion == last.GetResourceVersion() && p.Generation == o.GetGeneration()
	})
}

func testBlocks(t *testing.T, server *kubernetes.Server, admin *Store, f *synced) {
	applyLoose(t, server, v3.KindIPAMBlock)
	uid := string(f.have[keyA()].GetUID())
	b := testBlock("10-0-0-0-28", "10.0.0.0/28", map[int]v3.AllocationAttribute{9: allocationFor("default", "a", uid, "n1", "s1", someTimes[0])})
	mustCreate(t, admin, b)
	f.until("the block's address", func() bool { return slices.Equal(f.networksOfA(), []string{"10.0.0.9/32"}) })
}

func testHeartbeats(t *testing.T, api origins, f *synced) {
	before := len(f.updates)
	pod := readThing(t, []byte(podA))
	for range 20 {
		status := map[string]any{"status": map[string]any{"conditions": []any{map[string]any{
			"type": "Ready", "status": "True", "lastProbeTime": time.Now().UTC().Format(time.RFC3339), "message": time.Now().String(),
		}}}}
		if _, err := api.send(t.Context(), "patch", pod, "status", status); err != nil {
			t.Fatal(err)
		}
	}
	marker := api.mustPut(t, strings.Replace(podA, `"name":"a"`, `"name":"marker"`, 1))
	key := v3.Key{Kind: v3.KindWorkloadEndpoint, Namespace: metav1.NamespaceDefault, Name: "marker"}
	f.until("what came after them", func() bool { return f.have[key] != nil })
	for _, u := range f.updates[before:] {
		if u.Key == keyA() {
			t.Error("a status that changes nothing is an event")
		}
	}
	api.mustRemove(t, marker)
	f.until("and went", func() bool { return f.have[key] == nil })
}

func testKilled(t *testing.T, server *kubernetes.Server, agent *Store, api origins, f *synced) {
	server.Kill()
	f.until("all kinds are missed", func() bool { return len(agent.Outages()) >= len(viewKinds) })
	if f.have[keyA()] == nil {
		t.Error("the pod is gone with the server")
	}
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	before := len(f.updates)
	api.mustRemove(t, readThing(t, []byte(podA)))
	api.mustPut(t, strings.Replace(podA, `"10.0.0.1"`, `"10.0.0.7"`, -1))
	f.until("another pod of the name", func() bool { return slices.Equal(f.networksOfA(), []string{"10.0.0.7/32"}) })
	f.until("all are heard", func() bool { return agent.Outages() == nil })
	for _, u := range f.updates[before:] {
		if u.Key != keyA() {
			t.Errorf("%s was delivered again", u.Key)
		}
	}
}

func testEmptied(t *testing.T, server *kubernetes.Server, agent *Store, api origins, f *synced) {
	if err := server.RestartEmpty(); err != nil {
		t.Fatal(err)
	}
	applyText(t, server, reader)
	applyText(t, server, nodeReader)
	began := time.Now()
	f.until("the loss is doubted", func() bool {
		return slices.ContainsFunc(agent.Health(), func(h SourceHealth) bool { return h.Resource == "pods" && h.Doubted == 1 && h.Err != "" })
	})
	if f.have[keyA()] == nil {
		t.Error("the pod is gone at once")
	}
	f.until("it is believed", func() bool { return f.have[keyA()] == nil })
	if took := time.Since(began); took < 2*time.Second {
		t.Errorf("believed after %s, want 4 s", took)
	}
	api.mustPut(t, podA)
	f.until("and followed again", func() bool { return f.have[keyA()] != nil })
}
