package controller

import (
	"testing"
	"testing/synctest"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
)

func newHandle(name string, cidrs ...string) *v3.IPAMHandle {
	h := named(&v3.IPAMHandle{Spec: v3.IPAMHandleSpec{HandleID: "h." + name, Block: map[string]int{}}}, v3.KindIPAMHandle, "", "h."+name)
	for _, cidr := range cidrs {
		h.Spec.Block[cidr] = 1
	}
	return h
}

func TestHandlesGoWithTheirAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		block := blockOf("10.0.0.0/26", "n1", "pod")
		b.create(block)
		used, unused, elsewhere, odd := newHandle("pod", "10.0.0.0/26"), newHandle("gone", "10.0.0.0/26"), newHandle("none", "10.9.0.0/26"), newHandle("odd", "?")
		for _, h := range []*v3.IPAMHandle{used, unused, elsewhere, odd} {
			b.create(h)
		}
		defer b.start(b.store, newHandles(Settings{}))()
		b.after(defaultGrace - time.Second)
		if !b.has(used) || !b.has(unused) || !b.has(elsewhere) {
			t.Error("deleted before the grace period was over")
		}
		b.after(2 * time.Second)
		if !b.has(used) || b.has(unused) || b.has(elsewhere) || !b.has(odd) {
			t.Errorf("there are: used %v, unused %v, of a block that is not there %v, of what is no block %v", b.has(used), b.has(unused), b.has(elsewhere), b.has(odd))
		}
		b.delete(block)
		b.after(defaultGrace + time.Second)
		if b.has(used) {
			t.Error("still there after its block has gone")
		}
	})
}
