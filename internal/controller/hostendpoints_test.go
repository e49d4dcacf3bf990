package controller

import (
	"context"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
)

func hostEndpoint(name string) *v3.HostEndpoint {
	return named(&v3.HostEndpoint{}, v3.KindHostEndpoint, "", name)
}

// configuration is KubeControllersConfiguration default.
func configuration(t *testing.T, spec string) v3.Object {
	t.Helper()
	o, errs := v3.DecodeJSON(kindControllers, []byte(`{"metadata":{"name":"default"},"spec":`+spec+`}`), false)
	if o == nil {
		t.Fatal(errs)
	}
	return o
}

func TestAutoHostEndpointFollowsItsNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		node := newNode("n1")
		node.Labels = map[string]string{"zone": "a"}
		b.create(node)
		defer b.start(b.store, newHostEndpoints(Settings{AutoHostEndpoints: "Enabled"}))()
		b.after(time.Second)
		got := get(b, hostEndpoint("n1-auto-hep"))
		want := map[string]string{"zone": "a", "projectcalico.org/created-by": "calico-kube-controllers"}
		if !maps.Equal(got.Labels, want) || got.Spec.Node != "n1" || got.Spec.InterfaceName != "*" || !slices.Equal(got.Spec.ExpectedIPs, []string{"192.0.2.1"}) {
			t.Errorf("got %+v, labels %v", got.Spec, got.Labels)
		}
		edit(b, got, func(h *v3.HostEndpoint) { h.Annotations = map[string]string{"mine": "1"} })
		edit(b, node, func(n *v3.Node) {
			n.Labels = map[string]string{"zone": "b"}
			n.Spec.Addresses = append(n.Spec.Addresses, v3.NodeAddress{Address: "2001:db8::1"})
		})
		b.after(time.Second)
		got = get(b, got)
		if got.Labels["zone"] != "b" || len(got.Spec.ExpectedIPs) != 2 || got.Annotations["mine"] != "1" {
			t.Errorf("after the node changed: %+v, labels %v, annotations %v", got.Spec, got.Labels, got.Annotations)
		}
		b.delete(got)
		b.after(time.Second)
		if !b.has(got) {
			t.Error("not made again")
		}
		b.delete(node)
		b.after(time.Second)
		if b.has(got) {
			t.Error("still there after its node has gone")
		}
	})
}

func TestAutoHostEndpointsAsConfigured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		b.create(newNode("n1"))
		auto := hostEndpoint("n1-auto-hep")
		defer b.start(b.store, newHostEndpoints(Settings{AutoHostEndpoints: "Config"}))()
		set := func(spec string) {
			b.store.Put(configuration(t, spec))
			b.after(time.Second)
		}
		for _, step := range []struct {
			spec string
			want bool
		}{
			{`{}`, false},
			{`{"controllers":{"node":{"hostEndpoint":{"autoCreate":"Enabled"}}}}`, true},
			{`{"controllers":{"node":{"hostEndpoint":{"autoCreate":7}}}}`, true}, // can't be read: as before
			{`{"controllers":{"node":{"hostEndpoint":{"autoCreate":"Disabled"}}}}`, false},
			{`{"controllers":{"node":{"hostEndpoint":{"autoCreate":"Enabled","createDefaultHostEndpoint":"Enabled"}}}}`, true},
			{`{"controllers":{"node":{"hostEndpoint":{"autoCreate":"Enabled","createDefaultHostEndpoint":"Disabled"}}}}`, false},
		} {
			set(step.spec)
			if got := b.has(auto); got != step.want {
				t.Errorf("%s: there is one: %v, want %v", step.spec, got, step.want)
			}
		}
	})
}

func TestHostEndpointsOfOthersStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		b.create(newNode("n1"))
		own, template := hostEndpoint("n1-auto-hep"), hostEndpoint("n2-extra-auto-hep")
		own.Spec.Node, own.Spec.InterfaceName = "n1", "eth0"
		template.Spec.Node, template.Spec.InterfaceName = "n2", "eth1"
		template.Labels = map[string]string{"projectcalico.org/created-by": "calico-kube-controllers"}
		b.create(own)
		b.create(template)
		for _, setting := range []string{"Enabled", "Disabled"} {
			stop := b.start(b.store, newHostEndpoints(Settings{AutoHostEndpoints: setting}))
			b.after(time.Minute)
			stop()
			if got := get(b, own); got.Spec.InterfaceName != "eth0" || !b.has(template) {
				t.Errorf("%s: %+v", setting, got.Spec)
			}
		}
		if len(b.log.lines("was not made by a controller")) != 1 {
			t.Error("nothing is said of the node without an automatic one")
		}
	})
}

// liar is a Reader that knows better than the watch.
type liar struct {
	*bed
	node v3.Object
}

func (l liar) Get(ctx context.Context, key v3.Key) (v3.Object, error) {
	if key == v3.KeyOf(l.node) {
		return l.node, nil
	}
	return l.store.Get(ctx, key)
}

// TestNodeThatIsThereAfterAllKeepsItsEndpoint: a watch that says a node is gone is not believed alone.
func TestNodeThatIsThereAfterAllKeepsItsEndpoint(t *testing.T) {
	h := newHostEndpoints(Settings{AutoHostEndpoints: "Enabled"})
	node := newNode("n1")
	h.Update(nodeKey("n1"), node)
	made := h.Plan(nodeKey("n1"), time.Now()).Writes[0].Object
	h.Update(v3.KeyOf(made), made)
	h.Update(nodeKey("n1"), nil)
	step := h.Plan(nodeKey("n1"), time.Now())
	if len(step.Writes) != 1 || step.Writes[0].Verb != Delete {
		t.Fatalf("%+v; want a deletion", step)
	}
	b := newBed(t)
	if err := step.Writes[0].Verify(t.Context(), liar{b, node}); err == nil {
		t.Error("deleted though the node is there")
	}
	if err := step.Writes[0].Verify(t.Context(), b.store); err != nil {
		t.Errorf("not deleted though the node is gone: %v", err)
	}
}
