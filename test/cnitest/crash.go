//go:build linux

package cnitest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
)

func noLinks(t *testing.T, w World) error {
	t.Helper()
	if links := podLinks(t, w); len(links) > 0 {
		return fmt.Errorf("interfaces are left: %v", links)
	}
	return nil
}

func testAgentAway(t *testing.T, w World, c *containers) {
	s := newSandbox(t, "web/waits")
	addrs := c.mustAdd(t, s)
	w.Kill(t)
	_, err := c.add(t, newSandbox(t, "web/later"))
	wantCode(t, "ADD", err, 11)
	wantCode(t, "DEL", c.del(t, s), 11)
	wantCode(t, "CHECK", c.check(t, s), 11)
	wantCode(t, "GC", c.gc(t), 11)
	wantCode(t, "STATUS", c.status(t), 50)
	w.Start(t)
	wantConnected(t, w, map[*sandbox][]netip.Addr{s: addrs})
	c.mustDel(t, s)
	wantNothing(t, w)
}

func testRestartBetween(t *testing.T, w World, c *containers) {
	one, two, bare := newSandbox(t, "web/one"), newSandbox(t, "web/two"), newSandbox(t, "")
	connected := map[*sandbox][]netip.Addr{one: c.mustAdd(t, one), two: c.mustAdd(t, two), bare: c.mustAdd(t, bare)}
	leg := one.second("net1")
	connected[leg] = c.mustAdd(t, leg)
	w.Kill(t)
	w.Start(t)
	wantConnected(t, w, connected)
	for s := range connected {
		if err := c.check(t, s); err != nil {
			t.Errorf("CHECK %s of %s: %v", s.ifName, s.id, describe(err))
		}
	}
	if err := reach(one, two, connected[two][0]); err != nil {
		t.Errorf("after the restart: %v", err)
	}
	fresh := newSandbox(t, "web/two")
	connected[fresh] = c.mustAdd(t, fresh)
	delete(connected, two)
	wantConnected(t, w, connected)
	w.Kill(t)
	w.Start(t)
	c.mustDel(t, two)
	wantConnected(t, w, connected)
	for s := range connected {
		c.mustDel(t, s)
	}
	wantNothing(t, w)
}

// testMachineRestart: interfaces are gone, records and addresses are not.
func testMachineRestart(t *testing.T, w World, c *containers) {
	s, bare := newSandbox(t, "web/one"), newSandbox(t, "")
	c.mustAdd(t, s)
	c.mustAdd(t, bare)
	w.Kill(t)
	for _, l := range podLinks(t, w) {
		Command(t, "ip", "-n", w.Netns(), "link", "del", l.IfName)
	}
	w.Start(t)
	wantNothing(t, w)
	c.mustDel(t, s)
}

// testRebuildCleans leaves behind by hand what an agent might that died in the middle of something.
func testRebuildCleans(t *testing.T, w World, c *containers) {
	stays, lost, half := newSandbox(t, "web/stays"), newSandbox(t, "web/lost"), newSandbox(t, "web/half")
	addrs := c.mustAdd(t, stays)
	c.mustAdd(t, lost)
	c.mustAdd(t, half)
	w.Kill(t)
	if err := w.Store().Delete(context.Background(), v3.Key{Kind: v3.KindWorkloadEndpoint, Namespace: "web", Name: "lost"}, ""); err != nil {
		t.Fatal(err)
	}
	Command(t, "ip", "-n", w.Netns(), "link", "set", podLinks(t, w)[aliasOf(half)].IfName, "alias", "")
	Command(t, "ip", "-n", w.Netns(), "link", "add", "foreign0", "address", "ee:ee:ee:ee:ee:ee", "type", "veth", "peer", "name", "foreign1")
	w.Start(t)
	Command(t, "ip", "-n", w.Netns(), "link", "del", "foreign0") // still there: it was not felid's
	wantConnected(t, w, map[*sandbox][]netip.Addr{stays: addrs})
	for _, s := range []*sandbox{lost, half} {
		c.mustDel(t, s)
		c.mustAdd(t, s)
		c.mustDel(t, s)
	}
	c.mustDel(t, stays)
	wantNothing(t, w)
}

// testKilledDuringAdd kills the agent a little later in each of twenty ADDs. Whatever the moment, nothing is lost or given twice.
func testKilledDuringAdd(t *testing.T, w World, c *containers) {
	neighbour := newSandbox(t, "web/neighbour")
	connected := map[*sandbox][]netip.Addr{neighbour: c.mustAdd(t, neighbour)}
	for i := range 20 {
		s := newSandbox(t, fmt.Sprintf("web/unlucky-%d", i))
		answer := make(chan error, 1)
		go func() { _, err := c.add(t, s); answer <- err }()
		time.Sleep(time.Duration(i) * 2 * time.Millisecond) // the moment is what is tested
		w.Kill(t)
		if err := <-answer; err != nil {
			wantCode(t, "ADD of a killed agent", err, 11)
		}
		w.Start(t)
		switch i % 3 {
		case 0: // the runtime gives up
			c.mustDel(t, s)
		case 1: // it tries again, as code 11 says
			c.mustAdd(t, s)
			c.mustDel(t, s)
		case 2: // it makes a new sandbox, and deletes the old one later
			fresh := newSandbox(t, fmt.Sprintf("web/unlucky-%d", i))
			c.mustAdd(t, fresh)
			c.mustDel(t, s)
			if err := c.check(t, fresh); err != nil {
				t.Errorf("CHECK after the stale DEL: %v", describe(err))
			}
			c.mustDel(t, fresh)
		}
		wantConnected(t, w, connected)
	}
	if err := c.check(t, neighbour); err != nil {
		t.Errorf("the neighbour: %v", describe(err))
	}
	c.mustDel(t, neighbour)
	wantNothing(t, w)
}

// RunBroken restarts the agent after spoil has made a record unreadable.
func RunBroken(t *testing.T, w World, spoil func(*testing.T, *v3.WorkloadEndpoint)) {
	c := newContainers(t, w)
	broken, whole := newSandbox(t, "web/broken"), newSandbox(t, "web/whole")
	c.mustAdd(t, broken)
	c.mustAdd(t, whole)
	taken := len(assigned(t, w))
	w.Kill(t)
	spoil(t, records(t, w)[broken.id+" eth0"])
	w.Start(t)
	if _, ok := podLinks(t, w)[aliasOf(broken)]; !ok || len(assigned(t, w)) != taken {
		t.Error("the interface or the addresses of a pod whose record can't be read were taken away")
	}
	if err := c.check(t, whole); err != nil {
		t.Errorf("CHECK of the other pod: %v", describe(err))
	}
	c.mustDel(t, broken)
	c.mustDel(t, whole)
	if err := noLinks(t, w); err != nil {
		t.Error(err)
	}
	if left := assigned(t, w); len(left) > 0 {
		t.Errorf("addresses are left: %v", left)
	}
}

// RunFaults drives an agent that can be held up.
func RunFaults(t *testing.T, open func(t *testing.T) Faulty) {
	t.Run("DeadlineUndoes", func(t *testing.T) { testDeadline(t, open(t)) })
	t.Run("HangUpUndoes", func(t *testing.T) { testHangUp(t, open(t)) })
	t.Run("KilledWhileHeld", func(t *testing.T) { testKilledWhileHeld(t, open(t)) })
	t.Run("AddressAlone", func(t *testing.T) { testAddressAlone(t, open(t)) })
	t.Run("OutOfSync", func(t *testing.T) { testOutOfSync(t, open(t)) })
	t.Run("DelWaitsForAdd", func(t *testing.T) { testDelWaitsForAdd(t, open(t)) })
}

func testDeadline(t *testing.T, w Faulty) {
	c := newContainers(t, w)
	w.Kill(t)
	w.SetTimeout(t, "300ms")
	w.Start(t)
	w.Hold(t, true)
	s := newSandbox(t, "web/late")
	_, err := c.add(t, s)
	wantCode(t, "ADD past the deadline", err, 11)
	wantNothing(t, w)
	w.Hold(t, false)
	c.mustAdd(t, s)
	c.mustDel(t, s)
	wantNothing(t, w)
}

func testOutOfSync(t *testing.T, w Faulty) {
	c := newContainers(t, w)
	s := newSandbox(t, "web/early")
	addrs := c.mustAdd(t, s)
	w.OutOfSync(t, true)
	_, err := c.add(t, newSandbox(t, "web/later"))
	wantCode(t, "ADD", err, 11)
	wantCode(t, "DEL", c.del(t, s), 11)
	wantCode(t, "CHECK", c.check(t, s), 11)
	wantCode(t, "GC", c.gc(t), 11)
	wantCode(t, "STATUS", c.status(t), 50)
	wantConnected(t, w, map[*sandbox][]netip.Addr{s: addrs})
	w.OutOfSync(t, false)
	c.mustDel(t, s)
	wantNothing(t, w)
}

// held waits until an ADD has come as far as the loop.
func held(t *testing.T, w World, s *sandbox) {
	t.Helper()
	Eventually(t, func() error {
		if _, ok := podLinks(t, w)[aliasOf(s)]; !ok {
			return errors.New("no interface appears")
		}
		if len(assigned(t, w)) == 0 {
			return errors.New("no address is assigned")
		}
		return nil
	})
}

func testHangUp(t *testing.T, w Faulty) {
	c := newContainers(t, w)
	w.Kill(t)
	w.SetTimeout(t, "1h") // the deadline is not what undoes it
	w.Start(t)
	w.Hold(t, true)
	s := newSandbox(t, "web/orphan")
	ctx, cancel := context.WithCancel(context.Background())
	answer := make(chan error, 1)
	go func() { _, err := c.cni.AddNetworkList(ctx, c.list(t), s.runtime()); answer <- err }()
	held(t, w, s)
	cancel() // libcni kills the plugin
	if err := <-answer; err == nil {
		t.Error("ADD of a killed plugin succeeded")
	}
	Eventually(t, func() error { return noLinks(t, w) })
	Eventually(t, func() error {
		if left := assigned(t, w); len(left) > 0 {
			return fmt.Errorf("addresses are left: %v", left)
		}
		return nil
	})
	w.Hold(t, false)
	c.mustDel(t, s)
	wantNothing(t, w)
}

func testKilledWhileHeld(t *testing.T, w Faulty) {
	c := newContainers(t, w)
	w.Hold(t, true)
	s := newSandbox(t, "web/held")
	answer := make(chan error, 1)
	go func() { _, err := c.add(t, s); answer <- err }()
	held(t, w, s)
	w.Kill(t)
	wantCode(t, "ADD of a killed agent", <-answer, 11)
	w.Hold(t, false)
	w.Start(t)
	addrs := c.mustAdd(t, s)
	wantConnected(t, w, map[*sandbox][]netip.Addr{s: addrs})
	c.mustDel(t, s)
	wantNothing(t, w)
}

// testAddressAlone: the agent dies in an ADD, then the machine does. The address is all that is left, and DEL finds it by its handle.
func testAddressAlone(t *testing.T, w Faulty) {
	c := newContainers(t, w)
	w.Hold(t, true)
	s := newSandbox(t, "web/lost")
	answer := make(chan error, 1)
	go func() { _, err := c.add(t, s); answer <- err }()
	held(t, w, s)
	w.Kill(t)
	wantCode(t, "ADD of a killed agent", <-answer, 11)
	Command(t, "ip", "-n", w.Netns(), "link", "del", podLinks(t, w)[aliasOf(s)].IfName)
	if rec := records(t, w)[s.id+" eth0"]; rec != nil {
		if err := w.Store().Delete(context.Background(), v3.KeyOf(rec), ""); err != nil {
			t.Fatal(err)
		}
	}
	w.Hold(t, false)
	w.Start(t)
	if len(assigned(t, w)) == 0 {
		t.Fatal("no address was left: this test tests nothing")
	}
	c.mustDel(t, s)
	wantNothing(t, w)
}

func testDelWaitsForAdd(t *testing.T, w Faulty) {
	c := newContainers(t, w)
	w.Hold(t, true)
	s := newSandbox(t, "web/slow")
	added, deleted := make(chan error, 1), make(chan error, 1)
	go func() { _, err := c.add(t, s); added <- err }()
	held(t, w, s)
	go func() { deleted <- c.del(t, s) }()
	other := newSandbox(t, "web/other")
	if err := c.del(t, other); err != nil { // others are not held up
		t.Error(describe(err))
	}
	select {
	case err := <-deleted:
		t.Errorf("DEL overtook ADD: %v", err)
	default:
	}
	w.Hold(t, false)
	if err := <-added; err != nil {
		t.Errorf("ADD: %v", describe(err))
	}
	if err := <-deleted; err != nil {
		t.Errorf("DEL: %v", describe(err))
	}
	wantNothing(t, w)
}
