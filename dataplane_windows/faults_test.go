package windows

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/dptest"
	"github.com/felid-net/felid/dataplane_windows/hns"
	"github.com/felid-net/felid/test/windows/emulator"
)

// inBubble runs a test in fake time, with a driver that coalesces as it does by default.
func inBubble(t *testing.T, form Form, pods int, test func(t *testing.T, n *node)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, form, pods)
		n.cfg.Coalesce = 0
		n.d = n.open()
		defer time.Sleep(time.Hour) // for calls that go on
		test(t, n)
		must(t, n.d.Close())
	})
}

// honest checks a Result against what HNS holds: who is not named has its list, and a pod without a list of ours is named.
func (n *node) honest(r dataplane.Result, err error) {
	n.t.Helper()
	if err != nil {
		return // nothing is claimed
	}
	for i, id := range n.ids {
		if wrong := n.inForceAt(i, id); wrong != nil && r.Endpoints[podID(i)] == nil {
			n.t.Errorf("not reported: %v", wrong)
		}
	}
	if wrong := n.setsInForce(); wrong != nil && len(r.Endpoints) < len(n.ids) {
		n.t.Errorf("not reported: %v", wrong)
	}
}

// callsOfHNS are all calls that the driver makes: of listing, reading and writing.
var callsOfHNS = []struct {
	op   emulator.Op
	kind hns.Kind
}{
	{emulator.OpEnumerate, hns.KindEndpoint}, {emulator.OpOpen, hns.KindEndpoint}, {emulator.OpQuery, hns.KindEndpoint}, {emulator.OpModify, hns.KindEndpoint},
	{emulator.OpEnumerate, hns.KindNetwork}, {emulator.OpOpen, hns.KindNetwork}, {emulator.OpQuery, hns.KindNetwork}, {emulator.OpModify, hns.KindNetwork},
	{emulator.OpV1, ""},
}

// TestEveryErrorAtEveryCall: whatever HNS answers to whichever call, before or after it did its work, once or for half a minute: what is not in force is
// named, nothing that was closed is opened, and all is in force by itself soon after.
func TestEveryErrorAtEveryCall(t *testing.T) {
	for name, form := range forms {
		for _, call := range callsOfHNS {
			t.Run(fmt.Sprint(name, " ", call.op, " ", call.kind), func(t *testing.T) {
				for _, code := range hns.Codes() {
					fault := emulator.Fault{Op: call.op, Kind: call.kind, Code: code}
					faultAtStart(t, form, fault)
					faultAtChange(t, form, fault)
					fault.Nth, fault.Late = 1, true
					faultAtChange(t, form, fault)
				}
			})
		}
	}
}

func faultAtStart(t *testing.T, form Form, fault emulator.Fault) {
	inBubble(t, form, 2, func(t *testing.T, n *node) {
		for range 3 {
			disarm := n.Inject(fault)
			r, err := n.apply(nil)
			disarm()
			n.honest(r, err)
			time.Sleep(10 * time.Second)
		}
		n.settle(time.Minute)
	})
	if t.Failed() {
		t.Fatalf("with %+v, 0x%08x", fault, fault.Code)
	}
}

// faultAtChange: a client leaves and another comes while calls fail.
func faultAtChange(t *testing.T, form Form, fault emulator.Fault) {
	inBubble(t, form, 2, func(t *testing.T, n *node) {
		n.mustApply(nil)
		disarm := n.Inject(fault)
		r, err := n.apply(change(n.state, func(s *dataplane.State) {
			s.IPSets["clients"] = setOf("clients", "10.0.3.1/32", "10.0.3.9/32")
			s.Endpoints[podID(1)].Profiles = nil
		}))
		disarm()
		n.honest(r, err)
		for i, id := range n.ids {
			if len(n.stands(id)) == 0 {
				t.Errorf("%s was opened", podID(i))
			}
		}
		time.Sleep(10 * time.Second)
		disarm = n.Inject(fault)
		if drifted, err := n.d.CheckDrift(t.Context()); drifted && err != nil {
			t.Errorf("drift is said to be found, and not to be found: %v", err)
		}
		disarm()
		n.settle(time.Minute)
	})
	if t.Failed() {
		t.Fatalf("with %+v, 0x%08x", fault, fault.Code)
	}
}

// TestRefusedForWhatItSays: where HNS refuses a list at an endpoint that has none of ours, everything is denied there, at once.
func TestRefusedForWhatItSays(t *testing.T) {
	inBubble(t, forms["plain"], 1, func(t *testing.T, n *node) {
		disarm := n.Inject(emulator.Fault{Op: emulator.OpModify, Kind: hns.KindEndpoint, Nth: 1, Code: 0x803b000d})
		defer disarm()
		r, err := n.apply(nil)
		must(t, err)
		if got := n.stands(n.ids[0]); !sameACLs(got, Closed()) {
			t.Errorf("the endpoint has %v", texts(got))
		}
		if got := fmt.Sprint(r.Endpoints[podID(0)]); !strings.Contains(got, "INVALID_POLICY") {
			t.Errorf("reported %v", got)
		}
		n.settle(time.Minute)
	})
}

// TestStoppedService: nothing can be said while it is down, and all is compared when it is back.
func TestStoppedService(t *testing.T) {
	inBubble(t, forms["plain"], 3, func(t *testing.T, n *node) {
		n.mustApply(nil)
		n.Stop()
		r, err := n.apply(leave(n.state, "clients", "10.0.3.1/32"))
		if err == nil || r.Failed() {
			t.Fatalf("with HNS down: %v, error %v", r, err)
		}
		if drifted, err := n.d.CheckDrift(t.Context()); drifted || err == nil {
			t.Errorf("with HNS down: drifted %v, error %v", drifted, err)
		}
		n.Start()
		if drifted, err := n.d.CheckDrift(t.Context()); !drifted || err != nil {
			t.Errorf("with HNS back: drifted %v, error %v", drifted, err)
		}
		n.mustApply(dataplane.NewChanges())
		must(t, n.inForce())
	})
}

// TestRestartedService: what is left gets its lists again; pods whose endpoints are gone are named, until the network plugin makes new ones.
func TestRestartedService(t *testing.T) {
	for name, form := range forms {
		t.Run(name, func(t *testing.T) {
			inBubble(t, form, 3, func(t *testing.T, n *node) {
				n.mustApply(nil)
				n.Restart()
				drifted, err := n.d.CheckDrift(t.Context())
				if !drifted || err != nil {
					t.Fatalf("after a restart: drifted %v, error %v", drifted, err)
				}
				r, err := n.apply(dataplane.NewChanges())
				must(t, err)
				if len(r.Endpoints) != 3 {
					t.Errorf("reported %v", r.Endpoints)
				}
				n.network = n.newNetwork("again")
				n.ids = nil
				for i := range 3 {
					n.ids = append(n.ids, n.pod(podAddr(i).String()))
				}
				n.settle(time.Minute)
			})
		})
	}
}

// TestForgottenLists: endpoints that a restart left in place without ACLs are noticed at the next look, all of them.
func TestForgottenLists(t *testing.T) {
	inBubble(t, forms["plain"], 5, func(t *testing.T, n *node) {
		n.mustApply(nil)
		for _, id := range n.ids {
			n.Forget(id)
		}
		drifted, err := n.d.CheckDrift(t.Context())
		must(t, err)
		if !drifted {
			t.Fatal("not noticed")
		}
		r := n.mustApply(dataplane.NewChanges())
		must(t, n.inForce())
		if r.Stats.Repairs == 0 {
			t.Error("no repair is counted")
		}
	})
}

// TestReboot while policy is being set: the driver goes on with what HNS has after.
func TestReboot(t *testing.T) {
	inBubble(t, forms["plain"], 4, func(t *testing.T, n *node) {
		writes := 0
		disarm := n.Inject(emulator.Fault{Op: emulator.OpModify, Kind: hns.KindEndpoint, Do: func() {
			if writes++; writes == 2 {
				n.Reboot()
			}
		}})
		r, err := n.apply(nil)
		disarm()
		n.honest(r, err)
		if err == nil && len(r.Endpoints) == 0 {
			t.Error("all is said to be well after a reboot")
		}
		n.network, n.ids = n.newNetwork("again"), nil
		for i := range 4 {
			n.ids = append(n.ids, n.pod(podAddr(i).String()))
		}
		n.settle(time.Minute)
	})
}

// TestVanishesBetweenListAndModify: the pod's new endpoint is found in the same Apply; a pod without one is named.
func TestVanishesBetweenListAndModify(t *testing.T) {
	inBubble(t, forms["plain"], 2, func(t *testing.T, n *node) {
		gone := false
		disarm := n.Inject(emulator.Fault{Op: emulator.OpModify, Kind: hns.KindEndpoint, ID: n.ids[0], Do: func() {
			if !gone {
				gone = true
				n.Vanish(hns.KindEndpoint, n.ids[0])
				n.ids[0] = n.pod(podAddr(0).String())
			}
		}})
		defer disarm()
		n.mustApply(nil)
		must(t, n.inForce())
	})
}

// TestForeignChanges are found by a full check, and put right.
func TestForeignChanges(t *testing.T) {
	other := hns.ACL{ID: "other", Action: hns.Allow, Direction: hns.In, RuleType: hns.Switch, Priority: 500}
	for name, harm := range map[string]func(n *node){
		"another's rule in front of ours": func(n *node) { n.put(n.ids[1], append(n.stands(n.ids[1]), other)) },
		"a rule of ours taken away":       func(n *node) { n.put(n.ids[1], n.stands(n.ids[1])[1:]) },
		"all replaced":                    func(n *node) { n.put(n.ids[1], []hns.ACL{other}) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, forms["plain"], 3, func(t *testing.T, n *node) {
				n.mustApply(nil)
				harm(n)
				time.Sleep(6 * time.Minute)
				drifted, err := n.d.CheckDrift(t.Context())
				must(t, err)
				if !drifted {
					t.Fatal("not noticed")
				}
				n.ResetLog()
				r := n.mustApply(dataplane.NewChanges())
				if r.Stats.Repairs != 1 {
					t.Errorf("%d repairs are counted", r.Stats.Repairs)
				}
				n.wantModifies(1, 0)
				if drifted, err := n.d.CheckDrift(t.Context()); drifted || err != nil {
					t.Errorf("after the repair: drifted %v, error %v", drifted, err)
				}
			})
		})
	}
}

func (n *node) put(id string, acls []hns.ACL) {
	n.t.Helper()
	must(n.t, n.client.PutACLs(id, rawOf(acls)))
}

// TestHNSDoesOtherThanWritten: what a list read back shows is said, of a first list and of one over another.
func TestHNSDoesOtherThanWritten(t *testing.T) {
	for _, test := range []struct {
		wrong         dptest.Assumption
		first, second bool // whether it shows
		text          string
	}{
		{dptest.H23, false, true, "does not hold the policies"},
		{dptest.H24, true, true, "does not hold the policies"},
		{dptest.H28, true, true, "Ids"},
	} {
		t.Run(test.wrong.String(), func(t *testing.T) {
			n := newNode(t, forms["plain"], 0, test.wrong)
			n.state = nodeState(1)
			e, err := n.client.CreateEndpoint(hns.NewEndpoint{
				Network: n.network, Addresses: []netip.Prefix{netip.PrefixFrom(podAddr(0), 32)},
				Others: []hns.Policy{{Type: "OutBoundNAT", Settings: json.RawMessage(`{"Exceptions":["10.0.0.0/8"]}`)}},
			})
			must(t, err)
			n.state.Endpoints[podID(0)].Interface = e.ID
			said := func(r dataplane.Result, err error) bool {
				must(t, err)
				return strings.Contains(fmt.Sprint(r.Others), test.text)
			}
			if got := said(n.apply(nil)); got != test.first {
				t.Errorf("after the first list it is said %v", got)
			}
			for _, member := range []string{"10.0.3.1/32", "10.0.3.5/32"} {
				if got := said(n.apply(leave(n.state, "clients", member))); got != test.second {
					t.Errorf("after another it is said %v", got)
				}
			}
			if len(n.stands(e.ID)) > 20 {
				t.Errorf("the list grows: %v", n.list(e.ID))
			}
		})
	}
}

// TestForeignChangeWhileReadBack: an ACL that another plugin adds between a write and its being read back is no reason to mistrust HNS, and felid's are
// put before it.
func TestForeignChangeWhileReadBack(t *testing.T) {
	inBubble(t, forms["plain"], 1, func(t *testing.T, n *node) {
		other := hns.ACL{ID: "other", Action: hns.Allow, Direction: hns.In, RuleType: hns.Switch, Priority: 500}
		asking, added := false, false
		disarm := n.Inject(emulator.Fault{Op: emulator.OpQuery, Kind: hns.KindEndpoint, ID: n.ids[0], Do: func() {
			if asking || added {
				return
			}
			asking = true
			if stands := n.stands(n.ids[0]); len(stands) > 0 {
				n.put(n.ids[0], append(stands, other))
				added = true
			}
			asking = false
		}})
		defer disarm()
		n.mustApply(nil)
		if !added {
			t.Fatal("nothing was written")
		}
		n.mustApply(dataplane.NewChanges())
		if r := n.mustApply(dataplane.NewChanges()); r.Failed() {
			t.Errorf("reported: %v", r)
		}
		for _, a := range n.stands(n.ids[0]) {
			if a.Direction == hns.In && a.RuleType == hns.Switch && a.ID != other.ID && a.Priority >= other.Priority {
				t.Errorf("behind another's Allow: %+v", a)
			}
		}
	})
}

// TestNamelessACLs: without Ids, an agent that starts again keeps none of its own old rules that allow as another's. Blocks may stay.
func TestNamelessACLs(t *testing.T) {
	n := newNode(t, forms["plain"], 1, dptest.H28)
	_, err := n.apply(nil)
	must(t, err)
	n.d = n.open()
	c := leave(n.state, "clients", "10.0.3.1/32")
	for range 3 {
		r, err := n.apply(c)
		must(t, err)
		if !r.Failed() {
			t.Error("nothing is said")
		}
		c = dataplane.NewChanges()
	}
	for _, acl := range n.list(n.ids[0]) {
		if strings.Contains(acl, "Allow") && strings.Contains(acl, "10.0.3.1,") {
			t.Errorf("an old rule is left: %s", acl)
		}
	}
}

// TestRefusedForGood: where HNS will never take a list or a set that closes, everything is denied rather than the older list left; and all is well when
// it takes one.
func TestRefusedForGood(t *testing.T) {
	for name, form := range forms {
		t.Run(name, func(t *testing.T) {
			inBubble(t, form, 2, func(t *testing.T, n *node) {
				n.mustApply(nil)
				kind := hns.KindEndpoint
				if form.Sets {
					kind = hns.KindNetwork
				}
				disarm := n.Inject(emulator.Fault{Op: emulator.OpModify, Kind: kind, Code: 0x803b000d, Nth: 1}, emulator.Fault{Op: emulator.OpModify, Kind: kind, Code: 0x803b000d, Nth: 2})
				r, err := n.apply(leave(n.state, "clients", "10.0.3.1/32"))
				must(t, err)
				disarm()
				if len(r.Endpoints) != 2 {
					t.Errorf("reported %v", r.Endpoints)
				}
				for i, id := range n.ids {
					if got := n.stands(id); !sameACLs(got, Closed()) {
						t.Errorf("%s has %v", podID(i), texts(got))
					}
				}
				n.settle(time.Minute)
				must(t, n.members())
			})
		})
	}
}

// TestFight: one who changes a list again and again is reported.
func TestFight(t *testing.T) {
	inBubble(t, forms["plain"], 1, func(t *testing.T, n *node) {
		n.mustApply(nil)
		for range 3 {
			n.put(n.ids[0], n.stands(n.ids[0])[1:])
			_, err := n.d.CheckDrift(t.Context())
			must(t, err)
			_, err = n.apply(dataplane.NewChanges())
			must(t, err)
		}
		r, err := n.apply(dataplane.NewChanges())
		must(t, err)
		if got := fmt.Sprint(r.Endpoints[podID(0)]); !strings.Contains(got, "again and again") {
			t.Errorf("reported %v", got)
		}
		_, err = n.d.CheckDrift(t.Context())
		must(t, err)
		n.settle(0)
	})
}
