package controller

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore"
	"github.com/felid-net/felid/ipam"
)

// taken are the handles that a block's addresses are held under.
func taken(b *bed, block *v3.IPAMBlock) string {
	b.t.Helper()
	read, err := ipam.ReadBlock(get(b, block))
	if err != nil {
		b.t.Fatal(err)
	}
	var handles []string
	for _, a := range read.Allocations() {
		handles = append(handles, a.Handle)
	}
	return strings.Join(handles, " ")
}

func TestLeakedAddressesAreFreedAfterGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		block := blockOf("10.0.0.0/26", "n1", "here", "gone", "moved", "new", "starting")
		b.create(block)
		b.create(newNode("n1"))
		b.create(endpointOn("here", "n1", "10.0.0.0"))
		b.create(endpointOn("moved", "n2", "10.9.0.9"))
		b.create(endpointOn("starting", "n1"))
		fresh := endpointOn("new", "n1")
		b.create(fresh)
		defer b.start(b.store, newAddresses(Settings{Status: true}))()
		b.after(defaultGrace - time.Second)
		if got := taken(b, block); got != "h.here h.gone h.moved h.new h.starting" {
			t.Errorf("before the grace period is over: %s", got)
		}
		b.after(2 * time.Second)
		if got := taken(b, block); got != "h.here h.new h.starting" {
			t.Errorf("after it: %s", got)
		}
		lines := b.log.lines("freed addresses")
		if len(lines) != 1 || !strings.Contains(lines[0], "10.0.0.1 of pod ns/gone (its pod does not exist), 10.0.0.2 of pod ns/moved (its pod runs on node n2)") {
			t.Errorf("logged %q", lines)
		}
	})
}

// TestPodThatComesBackInTimeKeepsItsAddress: two looks, and nothing between them that says otherwise.
func TestPodThatComesBackInTimeKeepsItsAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		block := blockOf("10.0.0.0/26", "n1", "pod")
		b.create(block)
		b.create(newNode("n1"))
		defer b.start(b.store, newAddresses(Settings{Status: true}))()
		pod := endpointOn("pod", "n1", "10.0.0.0")
		for range 10 {
			b.after(defaultGrace - time.Second)
			b.create(pod)
			b.after(time.Second)
			b.delete(pod)
		}
		if got := taken(b, block); got != "h.pod" {
			t.Errorf("freed, and left %q", got)
		}
		b.after(defaultGrace)
		if got := taken(b, block); got != "" {
			t.Errorf("%q is still taken", got)
		}
	})
}

func TestNodeThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		// Of n1 there is an address that no pod has, as of a tunnel; of n2 nothing; n3 has a pod that is still there.
		tunnel := named(&v3.IPAMBlock{}, v3.KindIPAMBlock, "", "")
		_ = tunnel
		one, two, three := blockOf("10.0.0.0/26", "n1", ""), blockOf("10.0.0.64/26", "n2"), blockOf("10.0.0.128/26", "n3", "pod")
		for _, o := range []v3.Object{one, two, three, newNode("n4"), endpointOn("pod", "n3", "10.0.0.128"), ipam.NewAffinity("n2", prefix("10.0.0.64/26"), ipam.StateConfirmed)} {
			b.create(o)
		}
		defer b.start(b.store, newAddresses(Settings{Status: true}), newAffinities(Settings{}))()
		b.after(defaultGrace - time.Second)
		if !b.has(one) || !b.has(two) || !b.has(three) {
			t.Error("a block has gone before the grace period was over")
		}
		b.after(2 * defaultGrace)
		if b.has(two) || len(b.list(v3.KindBlockAffinity)) > 0 {
			t.Errorf("empty block of a node that is gone: there %v, affinities %d", b.has(two), len(b.list(v3.KindBlockAffinity)))
		}
		if got := taken(b, three); got != "h.pod" {
			t.Errorf("the address of a pod that is there: %q", got)
		}
	})
}

// TestNodesThatAreNotKnown: where there is no Node object at all, or nodes need not have one, none is gone.
func TestNodesThatAreNotKnown(t *testing.T) {
	for _, cluster := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			b := newBed(t)
			block := blockOf("10.0.0.0/26", "n1")
			b.create(block)
			if !cluster {
				b.create(newNode("other"))
			}
			defer b.start(b.store, newAddresses(Settings{Status: cluster}))()
			b.after(10 * defaultGrace)
			if !b.has(block) {
				t.Error("the block has gone")
			}
		})
	}
}

func TestGracePeriodAsConfigured(t *testing.T) {
	for spec, want := range map[string]time.Duration{
		`{}`: defaultGrace, `{"controllers":{"node":{"leakGracePeriod":"2m"}}}`: 2 * time.Minute, `{"controllers":{"node":{"leakGracePeriod":"0s"}}}`: -1,
		`{"controllers":{"node":{"leakGracePeriod":"soon"}}}`: defaultGrace, `{"controllers":7}`: defaultGrace,
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBed(t)
			block := blockOf("10.0.0.0/26", "n1", "gone")
			b.create(block)
			b.store.Put(configuration(t, spec))
			defer b.start(b.store, newAddresses(Settings{Status: true}))()
			start := time.Now()
			for taken(b, block) != "" && time.Since(start) < time.Hour {
				b.after(time.Second)
			}
			if got := time.Since(start); (want < 0) != (got >= time.Hour) || want > 0 && (got < want-time.Second || got > want+time.Second) {
				t.Errorf("%s: freed after %s; want %s", spec, got, want)
			}
		})
	}
}

func TestLeakedBy(t *testing.T) {
	uid := func(e podEndpoint, uid string) podEndpoint { e.uid = uid; return e }
	_, here := endpointOf(v3.KeyOf(endpointOn("p", "n1")), endpointOn("p", "n1", "10.0.0.1"))
	_, unaddressed := endpointOf(v3.KeyOf(endpointOn("p", "n1")), endpointOn("p", "n1"))
	a := ipam.Allocation{Address: prefix("10.0.0.2/32").Addr(), Sequence: 3, Attrs: map[string]string{ipam.AttrPod: "p", v3.AttributePodUID: "u-1"}}
	later := ipam.Allocation{Address: prefix("10.0.0.1/32").Addr(), Sequence: 4, Attrs: a.Attrs}
	earlier := later
	earlier.Sequence = 2
	otherInterface := later
	otherInterface.Attrs = map[string]string{ipam.AttrPod: "p", ipam.AttrInterface: "net1"}
	for _, test := range []struct {
		name      string
		endpoints []podEndpoint
		block     []ipam.Allocation
		want      string
	}{
		{"no pod", nil, nil, "its pod does not exist"},
		{"no address yet", []podEndpoint{unaddressed}, nil, ""},
		{"another address that no block gives", []podEndpoint{here}, nil, ""},
		{"another address that was given later", []podEndpoint{here}, []ipam.Allocation{a, later}, "its pod has 10.0.0.1"},
		{"another address that was given before", []podEndpoint{here}, []ipam.Allocation{a, earlier}, ""},
		{"another address of another interface", []podEndpoint{here}, []ipam.Allocation{a, otherInterface}, ""},
		{"another pod of the name", []podEndpoint{uid(here, "u-2")}, nil, "its pod is gone, and another has the name"},
		{"a static pod", []podEndpoint{uid(here, "another-form")}, nil, ""},
		{"one of two interfaces elsewhere", []podEndpoint{{node: "n2"}, unaddressed}, nil, ""},
	} {
		if got := leakedBy(&a, "n1", test.endpoints, test.block); got != test.want {
			t.Errorf("%s: %q; want %q", test.name, got, test.want)
		}
	}
}

// TestWhatIsLookedAtIsFreed: a block that changed between the look and the write is looked at again.
func TestWhatIsLookedAtIsFreed(t *testing.T) {
	a := newAddresses(Settings{Status: true, LeakGracePeriod: time.Minute})
	block := blockOf("10.0.0.0/26", "n1", "gone")
	b := newBed(t)
	stored := b.create(block)
	a.Update(v3.KeyOf(block), stored)
	start := time.Now()
	if step := a.Plan(v3.KeyOf(block), start); len(step.Writes) > 0 || step.Again != time.Minute {
		t.Fatalf("first look: %+v", step)
	}
	step := a.Plan(v3.KeyOf(block), start.Add(time.Minute))
	if len(step.Writes) != 1 {
		t.Fatalf("second look: %+v", step)
	}
	pod := endpointOn("gone", "n1", "10.0.0.0")
	pod.UID = types.UID("u")
	b.create(pod)
	if err := step.Writes[0].Verify(t.Context(), b.store); err == nil {
		t.Error("proven, though the pod is there")
	}
	b.delete(pod)
	if err := step.Writes[0].Verify(t.Context(), b.store); err != nil {
		t.Error(err)
	}
	b.store.SetDown(datastore.ErrUnreachable)
	if err := step.Writes[0].Verify(t.Context(), b.store); err == nil {
		t.Error("proven, though nothing could be read")
	}
	b.store.SetDown(nil)
	edit(b, block, func(o *v3.IPAMBlock) { o.Spec.SequenceNumber++ })
	if _, err := b.store.Update(t.Context(), step.Writes[0].Object); err == nil {
		t.Error("written over a block that was not looked at")
	}
}
