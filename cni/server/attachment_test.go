package server

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/cni"
)

func TestInterfaceName(t *testing.T) {
	// echo -n web.web-1 | sha1sum, and so on
	tests := []struct{ ns, pod, id, ifName, want string }{
		{"web", "web-1", "c1", "eth0", "fldf8faf8f9e95"},
		{"web", "web-1", "c2", "eth0", "fldf8faf8f9e95"},
		{"web", "web-1", "c1", "net1", "fldd563218e9ff"},
		{"", "", "c1", "eth0", "fld046ed43e92e"},
	}
	for _, tt := range tests {
		if got := InterfaceName("fld", tt.ns, tt.pod, tt.id, tt.ifName); got != tt.want {
			t.Errorf("%+v: got %s", tt, got)
		}
	}
}

func TestRecordKey(t *testing.T) {
	pod := cni.PodArgs{Namespace: "web", Name: "web-1"}
	tests := []struct {
		a    attachment
		pod  cni.PodArgs
		want string
	}{
		{attachment{"n", "c", "eth0"}, pod, "WorkloadEndpoint web/web-1"},
		{attachment{"n", "c", "net1"}, pod, "WorkloadEndpoint web/web-1+net1"},
		{attachment{"n", "c", "eth0"}, cni.PodArgs{}, "WorkloadEndpoint container+c+eth0"},
	}
	for _, tt := range tests {
		if got := recordKey(tt.a, tt.pod).String(); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}

func TestHandlesAreDistinct(t *testing.T) {
	seen := map[string]attachment{}
	for _, a := range []attachment{{"a", "b.c", "d"}, {"a.b", "c", "d"}, {"a", "b", "c.d"}, {"a.b.c", "d", "e"}, {"a", "b.c.d", "e"}, {"a.b", "c.d", "e"}} {
		if other, ok := seen[a.handle()]; ok {
			t.Errorf("%+v and %+v share the handle %s", a, other, a.handle())
		}
		seen[a.handle()] = a
	}
}

func FuzzParseAlias(f *testing.F) {
	f.Add("felid pods c1 eth0")
	f.Add("felid  c1 eth0")
	f.Add("veth of somebody else")
	f.Fuzz(func(t *testing.T, s string) {
		if a, ok := parseAlias(s); ok && a.alias() != s {
			t.Errorf("%q read as %+v, which writes %q", s, a, a.alias())
		}
	})
}

func TestRecordReadsBack(t *testing.T) {
	e := &entry{attachment: attachment{"pods", "c1", "eth0"}, pod: cni.PodArgs{Namespace: "web", Name: "web-1"}, host: "fld1",
		key: v3.Key{Kind: v3.KindWorkloadEndpoint, Namespace: "web", Name: "web-1"}}
	addrs := []netip.Addr{netip.MustParseAddr("10.65.0.1"), netip.MustParseAddr("fd65::1")}
	view := &v3.WorkloadEndpoint{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}},
		Spec: v3.WorkloadEndpointSpec{Profiles: []string{"kns.web"}, IPNetworks: []string{"192.0.2.1/32"}, ContainerID: "before"}}
	rec := newRecord(e, "node-1", view, map[string]string{"app": "configured"}, addrs, "02:00:00:00:00:01")
	if rec.Labels["app"] != "web" {
		t.Errorf("labels %v: the pod's count", rec.Labels)
	}
	rec.Labels["app"] = "changed"
	if view.Labels["app"] != "web" {
		t.Error("the record shares its labels with the view")
	}
	if got := addresses(rec); !cmp.Equal(got, addrs, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })) {
		t.Errorf("addresses %v", got)
	}
	got, ok := entryOf(rec, "node-1")
	if !ok || got.attachment != e.attachment || got.key != e.key || got.host != e.host || got.pod != e.pod {
		t.Errorf("read back as %+v", got)
	}
	if _, ok := entryOf(rec, "node-2"); ok {
		t.Error("taken for another node's")
	}
	if _, ok := entryOf(view, "node-1"); ok {
		t.Error("a view of a pod was taken for a record")
	}
}

func TestSortOut(t *testing.T) {
	entryAt := func(id, host string) *entry { return &entry{attachment: attachment{"pods", id, "eth0"}, host: host} }
	link := func(name, id string) hostLink {
		return hostLink{name: name, alias: attachment{"pods", id, "eth0"}.alias()}
	}
	known := []*entry{entryAt("whole", "fld1"), entryAt("no-interface", "fld2"), entryAt("replaced", "fld3"), entryAt("elsewhere", "fld4")}
	links := []hostLink{link("fld1", "whole"), link("fld3", "newer"), link("fld5", "no-record"), link("fld6", "elsewhere")}
	adopted, stale := sortOut(known, links)
	names := func(entries []*entry) (all []string) {
		for _, e := range entries {
			all = append(all, e.ContainerID+"@"+e.host)
		}
		return all
	}
	if diff := cmp.Diff([]string{"whole@fld1"}, names(adopted)); diff != "" {
		t.Error(diff)
	}
	want := []string{"no-interface@fld2", "replaced@fld3", "elsewhere@fld6", "newer@fld3", "no-record@fld5"}
	if diff := cmp.Diff(want, names(stale)); diff != "" {
		t.Error(diff)
	}
}

func TestResultInEveryVersion(t *testing.T) {
	s := &Server{o: Options{MTU: 1500}}
	e := &entry{attachment: attachment{"pods", "c1", "eth0"}, host: "fld1", record: &v3.WorkloadEndpoint{
		Spec: v3.WorkloadEndpointSpec{MAC: "02:00:00:00:00:01", IPNetworks: []string{"10.65.0.1/32", "fd65::1/128"}}}}
	c := &call{attachment: e.attachment, netns: "/run/netns/x", config: &cni.Config{}}
	wants := map[string][]string{
		"0.3.1": {`"cniVersion":"0.3.1"`, `"version":"4"`, `"version":"6"`, `"address":"10.65.0.1/32"`, `"gateway":"169.254.1.1"`},
		"0.4.0": {`"cniVersion":"0.4.0"`, `"version":"4"`, `"address":"fd65::1/128"`, `"gw":"fe80::ecee:eeff:feee:eeee"`},
		"1.0.0": {`"cniVersion":"1.0.0"`, `"interface":1`, `"dst":"0.0.0.0/0"`, `"dst":"::/0"`},
		"1.1.0": {`"cniVersion":"1.1.0"`, `"mtu":1500`, `"sandbox":"/run/netns/x"`, `"mac":"ee:ee:ee:ee:ee:ee"`},
	}
	for version, texts := range wants {
		got, err := encodeResult(s.result(e, c), version)
		if err != nil || !json.Valid(got) {
			t.Errorf("%s: %s, %v", version, got, err)
		}
		for _, text := range texts {
			if !strings.Contains(string(got), text) {
				t.Errorf("%s: no %s in %s", version, text, got)
			}
		}
	}
	if _, err := encodeResult(s.result(e, c), "9.9.9"); err == nil {
		t.Error("version 9.9.9 was accepted")
	}
}
