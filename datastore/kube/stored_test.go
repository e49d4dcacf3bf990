package kube

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/test/kubernetes"
)

// apply applies YAML with kubectl, as people do.
func apply(t *testing.T, server *kubernetes.Server, yaml string, args ...string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "object.yaml")
	if err := os.WriteFile(file, []byte(yaml), 0o644); err != nil {
		t.Fatal(err)
	}
	server.Kubectl(t, append([]string{"apply", "-f", file}, args...)...)
}

// TestServerOfItsOwn is what needs a server that is stopped, or CRDs without the schemas that keep bad objects out.
func TestServerOfItsOwn(t *testing.T) {
	server := kubernetes.Start(t, kubernetes.Options{})
	for _, test := range []struct {
		name string
		run  func(*testing.T, *kubernetes.Server)
	}{
		{"A CRD is missing at first", testMissingDefinition},
		{"What an update does not know survives it", testUnknownFieldsSurvive},
		{"What can't be read is a fault and not gone", testUnreadable},
		{"Killed for a while", testStoredThroughOutage},
		{"Restarted empty", testStoredEmptied},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, server) })
	}
}

func testUnknownFieldsSurvive(t *testing.T, server *kubernetes.Server) {
	applyLoose(t, server, v3.KindTier, v3.KindIPAMHandle)
	s := openOn(t, server)
	apply(t, server, `
apiVersion: projectcalico.org/v3
kind: Tier
metadata: {name: survives, annotations: {mine: "1"}}
spec: {order: 5, future: {nested: [1, 2]}}
---
apiVersion: projectcalico.org/v3
kind: IPAMHandle
metadata: {name: survives}
spec: {handleID: survives, block: {}, future: yes}
`)
	t.Cleanup(func() { empty(t, s, v3.KindTier, v3.KindIPAMHandle) })
	list, err := s.List(t.Context(), v3.KindTier, "")
	if err != nil || len(list.Objects) != 1 {
		t.Fatal(list, err)
	}
	tier := list.Objects[0].Copy().(*v3.Tier)
	if tier.ManagedFields != nil || tier.Annotations[lastApplied] != "" || tier.Annotations["mine"] != "1" {
		t.Errorf("listed with metadata %+v", tier.ObjectMeta)
	}
	tier.Spec.Order = nil
	tier.Annotations["mine"] = "2"
	updated, err := s.Update(t.Context(), tier)
	if err != nil {
		t.Fatal(err)
	}
	if updated.GetAnnotations()[lastApplied] == "" || updated.GetManagedFields() != nil {
		t.Errorf("updated to metadata %v", updated.GetAnnotations())
	}
	if got := server.Kubectl(t, "get", "tier", "survives", "-o", "jsonpath={.spec} {.metadata.annotations.mine}"); got != `{"future":{"nested":[1,2]}} 2` {
		t.Errorf("stored %s", got)
	}
	key := v3.Key{Kind: v3.KindIPAMHandle, Name: "survives"}
	handle, err := s.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	changed := handle.Copy().(*v3.IPAMHandle)
	changed.Spec.Block = map[string]int{"10.0.0.0-26": 1}
	if _, err := s.Update(t.Context(), changed); err != nil {
		t.Fatal(err)
	}
	if got := server.Kubectl(t, "get", "ipamhandle", "survives", "-o", "jsonpath={.spec.future} {.spec.block}"); got != `yes {"10.0.0.0-26":1}` && got != `true {"10.0.0.0-26":1}` {
		t.Errorf("stored %s", got)
	}
}

func testUnreadable(t *testing.T, server *kubernetes.Server) {
	applyLoose(t, server, v3.KindHostEndpoint)
	s := openOn(t, server)
	t.Cleanup(func() { empty(t, s, v3.KindHostEndpoint) })
	const good = `{apiVersion: projectcalico.org/v3, kind: HostEndpoint, metadata: {name: judged}, spec: {node: n1, interfaceName: eth0}}`
	const bad = `{apiVersion: projectcalico.org/v3, kind: HostEndpoint, metadata: {name: judged}, spec: {node: [n1], interfaceName: eth0}}`
	key := v3.Key{Kind: v3.KindHostEndpoint, Name: "judged"}
	apply(t, server, good)
	f := syncOf(t, s, v3.KindHostEndpoint)
	f.until("there", func() bool { return f.inSync && f.have[key] != nil })
	apply(t, server, bad)
	f.until("at fault", func() bool { return len(f.faults) > 0 })
	if text := f.faults[0].String(); f.faults[0].Key != key || !strings.Contains(text, "spec.node") {
		t.Errorf("fault %s", text)
	}
	if _, err := s.Get(t.Context(), key); !errors.Is(err, datastore.ErrInvalid) {
		t.Errorf("Get of an unreadable object: %v", err)
	}
	list, err := s.List(t.Context(), v3.KindHostEndpoint, "")
	if err != nil || len(list.Objects) != 0 || len(list.Faults) == 0 || list.Faults[0].Key != key {
		t.Errorf("listed %+v, %v", list, err)
	}
	if f.have[key] == nil {
		t.Error("the object went with its fault")
	}
	apply(t, server, good)
	f.until("healed", func() bool { return len(f.faults) == 0 })
	apply(t, server, bad)
	f.until("at fault again", func() bool { return len(f.faults) > 0 })
	if err := s.Delete(t.Context(), key, ""); err != nil {
		t.Fatal(err)
	}
	f.until("gone, fault and all", func() bool { return f.have[key] == nil && len(f.faults) == 0 })
}

func testMissingDefinition(t *testing.T, server *kubernetes.Server) {
	s := openOn(t, server)
	o := &v3.IPAMConfiguration{} // of a kind that no other test needs
	o.Name = "default"
	f := syncOf(t, s, v3.KindIPAMConfiguration)
	_, err := s.List(t.Context(), v3.KindIPAMConfiguration, "")
	if !errors.Is(err, datastore.ErrNotServed) || !strings.Contains(err.Error(), "CustomResourceDefinition ipamconfigurations.projectcalico.org") {
		t.Errorf("List without the CRD: %v", err)
	}
	if _, err := s.Get(t.Context(), v3.Key{Kind: v3.KindIPAMConfiguration, Name: "default"}); !errors.Is(err, datastore.ErrNotServed) {
		t.Errorf("Get without the CRD: %v", err)
	}
	if _, err := s.Create(t.Context(), o); !errors.Is(err, datastore.ErrNotServed) {
		t.Errorf("Create without the CRD: %v", err)
	}
	f.until("an outage is known", func() bool { return len(s.Outages()) == 1 })
	if f.inSync {
		t.Error("in sync without the CRD")
	}
	applyLoose(t, server, v3.KindIPAMConfiguration)
	created := mustCreate(t, s, o)
	f.until("in sync with an object", func() bool { return f.inSync && f.has(created) })
	until(t, "all are heard", func() bool { return s.Outages() == nil })
	server.Kubectl(t, "delete", "crd", "ipamconfigurations.projectcalico.org")
	f.until("the CRD is missed", func() bool { return len(s.Outages()) == 1 })
}

// TestListsAreBelieved: what was deleted while nothing was wrong is gone, whether or not the kind is watched.
func TestListsAreBelieved(t *testing.T) {
	server := kubernetes.Shared(t)
	server.InstallCRDs(t)
	s, other := openOn(t, server), openOn(t, server)
	t.Cleanup(func() { empty(t, openOn(t, server), v3.KindTier) })
	gone := func(what string) {
		t.Helper()
		for _, name := range []string{"a", "b"} {
			mustCreate(t, other, newTier(name, 1))
		}
		if list, err := s.List(t.Context(), v3.KindTier, ""); err != nil || len(list.Objects) != 2 {
			t.Fatalf("%s: %d tiers, %v", what, len(list.Objects), err)
		}
		empty(t, other, v3.KindTier)
		if list, err := s.List(t.Context(), v3.KindTier, ""); err != nil || len(list.Objects) != 0 {
			t.Errorf("%s: %d tiers that were deleted, %v", what, len(list.Objects), err)
		}
	}
	gone("not watched")
	f := syncOf(t, s, v3.KindTier)
	f.until("in sync", func() bool { return f.inSync })
	gone("watched")
}

func TestForbidden(t *testing.T) {
	server := kubernetes.Shared(t)
	server.InstallCRDs(t)
	s := openOn(t, server, func(o *Options) { o.Config = server.As("nobody", nil) })
	_, err := s.List(t.Context(), v3.KindTier, "")
	if !errors.Is(err, datastore.ErrForbidden) {
		t.Fatalf("got %v", err)
	}
	for _, part := range []string{"nobody", `apiGroups ["projectcalico.org"]`, `resources ["tiers"]`, `verbs ["list"]`} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q lacks %q", err, part)
		}
	}
	if _, err := s.Create(t.Context(), newTier("a", 1)); !errors.Is(err, datastore.ErrForbidden) {
		t.Errorf("Create: %v", err)
	}
}

func TestInvalidNamesTheField(t *testing.T) {
	server := kubernetes.Shared(t)
	server.InstallCRDs(t)
	s := openOn(t, server)
	o := newTier("a", 1)
	o.Labels = map[string]string{"x": "not a label!"}
	_, err := s.Create(t.Context(), o)
	if !errors.Is(err, datastore.ErrInvalid) || !strings.Contains(err.Error(), "metadata.labels") || !strings.HasPrefix(err.Error(), "Tier a: ") {
		t.Errorf("got %v", err)
	}
	set := &v3.NetworkSet{}
	set.Namespace, set.Name = "no-such-namespace", "a"
	if _, err = s.Create(t.Context(), set); !errors.Is(err, datastore.ErrInvalid) || !strings.Contains(err.Error(), `namespaces "no-such-namespace" not found`) {
		t.Errorf("got %v", err)
	}
}

func TestThousandConflictingWritesLoseNothing(t *testing.T) {
	const writers, each = 4, 250
	server := kubernetes.Shared(t)
	server.InstallCRDs(t)
	o := &v3.IPAMHandle{Spec: v3.IPAMHandleSpec{HandleID: "counter", Block: map[string]int{"count": 0}}}
	o.Name = "counter"
	watcher := openOn(t, server)
	t.Cleanup(func() { empty(t, watcher, v3.KindIPAMHandle) })
	key := v3.KeyOf(mustCreate(t, watcher, o))
	f := syncOf(t, watcher, v3.KindIPAMHandle)
	var group sync.WaitGroup
	conflicts := make([]int, writers)
	for i := range writers {
		s := openOn(t, server)
		group.Go(func() {
			for range each {
				if !add(t, s, key, &conflicts[i]) {
					return
				}
			}
		})
	}
	group.Wait()
	f.until("all counted", func() bool {
		got, _ := f.have[key].(*v3.IPAMHandle)
		return got != nil && got.Spec.Block["count"] == writers*each
	})
	all := 0
	for _, n := range conflicts {
		all += n
	}
	if all == 0 {
		t.Error("no write met another: nothing was tested")
	}
	last := 0
	for _, u := range f.updates {
		n := u.Object.(*v3.IPAMHandle).Spec.Block["count"]
		if n < last {
			t.Fatalf("%d delivered after %d", n, last)
		}
		last = n
	}
	t.Log(all, "conflicts")
}

// add counts one up, and how often somebody else was first; false: it can't.
func add(t *testing.T, s *Store, key v3.Key, conflicts *int) bool {
	for {
		o, err := s.Get(t.Context(), key)
		if err == nil {
			changed := o.Copy().(*v3.IPAMHandle)
			changed.Spec.Block["count"]++
			_, err = s.Update(t.Context(), changed)
		}
		if !errors.Is(err, datastore.ErrConflict) {
			if err != nil {
				t.Error(err)
			}
			return err == nil
		}
		*conflicts++
	}
}

func TestUserAgent(t *testing.T) {
	server := kubernetes.Shared(t)
	server.InstallCRDs(t)
	p, config := newProxy(t, server)
	agents := make(chan string, 10)
	p.on(recordAgent(agents))
	s := openOn(t, server, func(o *Options) { o.Config, o.UserAgent = config, "felid/v1.2.3" })
	if _, err := s.List(t.Context(), v3.KindTier, ""); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-agents:
		if got != "felid/v1.2.3" {
			t.Errorf("user agent %q", got)
		}
	case <-time.After(patience):
		t.Fatal("no request")
	}
}

// numbered is a NetworkSet of a series.
func numbered(namespace string, i int) *v3.NetworkSet {
	o := &v3.NetworkSet{Spec: v3.NetworkSetSpec{Nets: []string{"10.0.0.0/8"}}}
	o.Namespace, o.Name = namespace, "set-"+strconv.Itoa(100000+i)
	return o
}
