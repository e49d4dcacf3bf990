package windows

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane_windows/hns"
	"github.com/felid-net/felid/test/windows/emulator"
)

// hang makes calls of a kind not return until the result is called.
func (n *node) hang(op emulator.Op, kind hns.Kind, id string) (release func()) {
	held := make(chan struct{})
	disarm := n.Inject(emulator.Fault{Op: op, Kind: kind, ID: id, Do: func() { <-held }})
	return func() { disarm(); close(held); synctest.Wait() }
}

// TestCallThatDoesNotReturn: the others are served, it is named, nothing more is asked about its endpoint, and all is well when it does return.
func TestCallThatDoesNotReturn(t *testing.T) {
	inBubble(t, forms["plain"], 20, func(t *testing.T, n *node) {
		release := n.hang(emulator.OpModify, hns.KindEndpoint, n.ids[3])
		start := time.Now()
		r, err := n.apply(nil)
		must(t, err)
		if took := time.Since(start); took > 6*time.Second {
			t.Errorf("Apply took %s", took)
		}
		if got := fmt.Sprint(r.Endpoints[podID(3)]); len(r.Endpoints) != 1 || !strings.Contains(got, "has not answered") {
			t.Errorf("reported %v", r.Endpoints)
		}
		n.ResetLog()
		for range 5 {
			start = time.Now()
			r, err = n.apply(leaveOrJoin(n.state))
			must(t, err)
			if took := time.Since(start); took > 0 {
				t.Errorf("another Apply took %s", took)
			}
			if len(r.Endpoints) != 1 {
				t.Errorf("reported %v", r.Endpoints)
			}
			time.Sleep(2 * time.Second)
		}
		n.wantModifies(5*19, 0)
		release()
		select {
		case <-n.d.Drift():
		default:
			t.Error("no Apply is asked for")
		}
		n.settle(0)
	})
}

// leaveOrJoin lets a client leave if it is there, and else join.
func leaveOrJoin(s *dataplane.State) *dataplane.Changes {
	for m := range setOf("", "10.0.3.1/32").Members {
		if _, in := s.IPSets["clients"].Members[m]; in {
			return leave(s, "clients", "10.0.3.1/32")
		}
	}
	return join(s, "clients", "10.0.3.1/32")
}

// TestNothingReturns: an Apply gives up after a while, and says so.
func TestNothingReturns(t *testing.T) {
	for _, call := range callsOfHNS[:4] {
		t.Run(string(call.op), func(t *testing.T) {
			inBubble(t, forms["plain"], 20, func(t *testing.T, n *node) {
				release := n.hang(call.op, call.kind, "")
				for range 2 {
					start := time.Now()
					r, err := n.apply(nil)
					if took := time.Since(start); took > 40*time.Second {
						t.Errorf("Apply took %s", took)
					}
					if err == nil && len(r.Endpoints) != 20 {
						t.Errorf("reported %v", r.Endpoints)
					}
				}
				start := time.Now()
				_, err := n.d.CheckDrift(t.Context())
				if took := time.Since(start); took > 6*time.Second {
					t.Errorf("CheckDrift took %s, error %v", took, err)
				}
				release()
				n.settle(time.Minute)
			})
		})
	}
}

// TestSlowHNS: where each call takes seconds, all of a node is done in the end, and Apply comes back in between.
func TestSlowHNS(t *testing.T) {
	inBubble(t, forms["plain"], 60, func(t *testing.T, n *node) {
		defer n.Inject(emulator.Fault{Op: emulator.OpModify, Kind: hns.KindEndpoint, Delay: 4 * time.Second})()
		start := time.Now()
		_, err := n.apply(nil)
		must(t, err)
		if took := time.Since(start); took > 40*time.Second {
			t.Errorf("Apply took %s", took)
		}
		n.settle(10 * time.Minute)
		lists, _, _ := n.modifies()
		if lists > 62 {
			t.Errorf("60 endpoints took %d modifies", lists)
		}
	})
}

// TestOpeningsWait for others to the same list, a second at most; closings take what waits with them, at once.
func TestOpeningsWait(t *testing.T) {
	for name, form := range forms {
		t.Run(name, func(t *testing.T) {
			inBubble(t, form, 2, func(t *testing.T, n *node) {
				n.mustApply(nil)
				time.Sleep(2 * time.Second)
				n.ResetLog()
				calls := func() int { lists, sets, _ := n.modifies(); return lists/2 + sets }
				n.mustApply(join(n.state, "clients", "10.0.3.20/32"))
				if err := n.inForce(); err != nil || calls() != 1 {
					t.Errorf("a lone opening waits: %d calls, %v", calls(), err)
				}
				for i := range 30 {
					time.Sleep(10 * time.Millisecond)
					n.mustApply(join(n.state, "clients", fmt.Sprintf("10.0.4.%d/32", i)))
				}
				if calls() != 1 {
					t.Errorf("openings in a row took %d calls", calls())
				}
				start := time.Now()
				<-n.d.Drift()
				n.mustApply(dataplane.NewChanges())
				if took := time.Since(start); calls() != 2 || took > time.Second {
					t.Errorf("after %s: %d calls", took, calls())
				}
				must(t, n.members())
				n.mustApply(join(n.state, "clients", "10.0.5.1/32"))
				n.mustApply(leave(n.state, "clients", "10.0.3.5/32"))
				if calls() != 3 {
					t.Errorf("a closing after an opening: %d calls, want one more for both", calls()-2)
				}
				must(t, n.members())
			})
		})
	}
}

// members says what sets on the network have others than the State says, or what pod has another list.
func (n *node) members() error {
	if err := n.setsInForce(); err != nil {
		return err
	}
	return n.inForce()
}

// setsInForce says which set has other members than the State says.
func (n *node) setsInForce() error {
	r := NewRenderer(n.state, Options{Form: n.cfg.Form})
	nets, err := n.client.Networks()
	must(n.t, err)
	for _, net := range nets {
		for _, set := range net.Sets {
			if ref, ok := OwnSet(set.ID); ok && !r.Set(ref).Equal(set) {
				return fmt.Errorf("set %s has %v", set.ID, set.Members)
			}
		}
	}
	return nil
}

// TestOnlyOpens: what is said to open only does so.
func TestOnlyOpens(t *testing.T) {
	allow := func(id, remote string) hns.ACL {
		return hns.ACL{ID: id, Action: hns.Allow, Direction: hns.In, RuleType: hns.Switch, RemoteAddresses: remote}
	}
	block := func(id, remote string) hns.ACL {
		a := allow(id, remote)
		a.Action = hns.Block
		return a
	}
	for name, test := range map[string]struct {
		from, to []hns.ACL
		want     bool
	}{
		"nothing":                   {[]hns.ACL{allow("a", "")}, []hns.ACL{allow("a", "")}, true},
		"an Allow came":             {[]hns.ACL{block("z", "")}, []hns.ACL{allow("a", "10.0.0.1"), block("z", "")}, true},
		"a Block came":              {[]hns.ACL{allow("z", "")}, []hns.ACL{block("a", "10.0.0.1"), allow("z", "")}, false},
		"an Allow went":             {[]hns.ACL{allow("a", "10.0.0.1"), block("z", "")}, []hns.ACL{block("z", "")}, false},
		"all Allows went":           {[]hns.ACL{block("z", "10.0.0.1"), allow("a", "")}, nil, false},
		"all Blocks went":           {[]hns.ACL{block("z", "10.0.0.1")}, nil, true},
		"a Block went":              {[]hns.ACL{block("a", "10.0.0.1"), allow("z", "")}, []hns.ACL{allow("z", "")}, true},
		"an Allow was widened":      {[]hns.ACL{allow("a", "10.0.0.1")}, []hns.ACL{allow("a", "10.0.0.0/31")}, true},
		"an Allow was narrowed":     {[]hns.ACL{allow("a", "10.0.0.0/31")}, []hns.ACL{allow("a", "10.0.0.1")}, false},
		"a Block was widened":       {[]hns.ACL{block("a", "10.0.0.1")}, []hns.ACL{block("a", "10.0.0.0/31")}, false},
		"a Block was narrowed":      {[]hns.ACL{block("a", "10.0.0.0/31")}, []hns.ACL{block("a", "10.0.0.1")}, true},
		"another set":               {[]hns.ACL{allow("a", "felid4-x")}, []hns.ACL{allow("a", "felid4-y")}, false},
		"another port":              {[]hns.ACL{allow("a", "")}, []hns.ACL{{ID: "a", Action: hns.Allow, Direction: hns.In, RuleType: hns.Switch, LocalPorts: "80"}}, false},
		"to any address":            {[]hns.ACL{allow("a", "10.0.0.1")}, []hns.ACL{allow("a", "")}, true},
		"from any address":          {[]hns.ACL{allow("a", "")}, []hns.ACL{allow("a", "0.0.0.0/0")}, false},
		"changed places":            {[]hns.ACL{block("b", "10.0.0.1"), allow("a", "10.0.0.0/8"), block("z", "")}, []hns.ACL{allow("a", "10.0.0.0/8"), block("b", "10.0.0.1"), block("z", "")}, false},
		"all at once, for the open": {[]hns.ACL{block("b", "10.0.0.1"), allow("a", "10.0.0.8"), block("z", "")}, []hns.ACL{allow("n", "10.9.0.0/16"), allow("a", "10.0.0.8,10.0.0.9"), block("z", "")}, true},
	} {
		if got := (coverings{}).onlyOpens(test.from, test.to); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
