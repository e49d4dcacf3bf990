package windows

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/flatten"
	"github.com/felid-net/felid/dataplane_windows/hns"
	"github.com/felid-net/felid/test/windows/emulator"
)

// TestWalks: whatever happens to a node, in whatever order, nothing is ever more open than the State says without being named, and all is in force
// in the end.
func TestWalks(t *testing.T) {
	for name, form := range forms {
		for seed := range uint64(30) {
			t.Run(fmt.Sprint(name, " ", seed), func(t *testing.T) {
				inBubble(t, form, 3, func(t *testing.T, n *node) {
					n.d.cfg.FullCheck = 1
					w := &nodeWalk{node: n, rand: rand.New(rand.NewPCG(seed, 1)), pods: map[int]string{}}
					for i, id := range n.ids {
						w.pods[i] = id
					}
					w.do(60)
				})
			})
		}
	}
}

// nodeWalk does random things to a node.
type nodeWalk struct {
	*node
	rand    *rand.Rand
	pods    map[int]string // HNS's IDs of pods that there are
	applied *dataplane.State
	harmed  bool // by somebody else, and not noticed yet
	stopped bool
	steps   []string
}

func (w *nodeWalk) do(steps int) {
	things := []func(){
		w.join, w.join, w.leave, w.leave, w.otherSet, w.tier, w.comes, w.goes, w.replaced, w.foreign, w.forgets, w.waits, w.waits, w.stops,
	}
	for range steps {
		things[w.rand.IntN(len(things))]()
		if w.rand.IntN(3) > 0 {
			w.apply()
		}
		if w.t.(*testing.T).Failed() {
			w.t.Fatalf("steps: %v", w.steps)
		}
	}
	w.ends()
}

func (w *nodeWalk) note(format string, args ...any) {
	w.steps = append(w.steps, fmt.Sprintf(format, args...))
}

func (w *nodeWalk) someone() string { return fmt.Sprintf("10.0.9.%d/32", w.rand.IntN(8)) }

func (w *nodeWalk) members(set dataplane.IPSetID) map[dataplane.Member]struct{} {
	return w.state.IPSets[set].Members
}

func (w *nodeWalk) join() {
	w.note("join")
	join(w.state, "clients", w.someone())
}

func (w *nodeWalk) leave() {
	w.note("leave")
	leave(w.state, "clients", w.someone())
}

// otherSet makes the policy let in another set, or the first again.
func (w *nodeWalk) otherSet() {
	set := []dataplane.IPSetID{"clients", "others"}[w.rand.IntN(2)]
	w.note("use %s", set)
	if w.state.IPSets["others"] == nil {
		w.state.IPSets["others"] = setOf("others", "10.0.7.0/24")
	}
	use(w.state, set)
}

// tier puts a pod under policy, or takes it out.
func (w *nodeWalk) tier() {
	for _, e := range w.state.Endpoints {
		e.Tiers[0].Egress = nil
		if w.rand.IntN(2) == 0 {
			e.Tiers[0].Egress = e.Tiers[0].Ingress
		}
	}
	w.note("tier")
}

func (w *nodeWalk) comes() {
	i := w.rand.IntN(6)
	if w.pods[i] != "" || w.stopped {
		return
	}
	w.note("pod %d comes", i)
	w.pods[i] = w.pod(podAddr(i).String())
	w.harmed = w.harmed || w.applied != nil && w.applied.Endpoints[podID(i)] != nil // it went and came between two States
	if id := podID(i); w.state.Endpoints[id] == nil {
		w.state.Endpoints[id] = nodeState(i + 1).Endpoints[id]
	}
}

func (w *nodeWalk) goes() {
	for i, id := range w.pods {
		w.note("pod %d goes", i)
		delete(w.state.Endpoints, podID(i))
		if !w.stopped && w.rand.IntN(2) == 0 {
			must(w.t, w.node.host.client.DeleteEndpoint(id))
			delete(w.pods, i)
		}
		return
	}
}

// replaced is a pod's endpoint that vanishes, and another in its place.
func (w *nodeWalk) replaced() {
	for i, id := range w.pods {
		if w.stopped {
			return
		}
		w.note("pod %d is replaced", i)
		w.Vanish(hns.KindEndpoint, id)
		w.pods[i] = w.pod(podAddr(i).String())
		w.harmed = true
		return
	}
}

func (w *nodeWalk) foreign() {
	for i, id := range w.pods {
		if w.stopped {
			return
		}
		w.note("another writes at pod %d", i)
		acl := hns.ACL{Action: hns.Block, Direction: hns.Out, Protocols: "6", RemoteAddresses: "168.63.129.16", RuleType: hns.Switch, Priority: 200}
		must(w.t, w.node.host.client.PutACLs(id, []json.RawMessage{acl.Raw()}))
		w.harmed = true
		return
	}
}

func (w *nodeWalk) forgets() {
	for i, id := range w.pods {
		w.note("HNS forgets pod %d", i)
		w.Forget(id)
		w.harmed = true
		return
	}
}

func (w *nodeWalk) waits() {
	w.note("wait")
	time.Sleep(time.Duration(w.rand.IntN(3000)) * time.Millisecond)
}

func (w *nodeWalk) stops() {
	w.stopped = !w.stopped
	w.note("stopped %v", w.stopped)
	if w.stopped {
		w.Stop()
	} else {
		w.Start()
	}
}

// fault strikes some of the calls of an Apply.
func (w *nodeWalk) fault() emulator.Fault {
	codes := hns.Codes()
	call := callsOfHNS[w.rand.IntN(len(callsOfHNS))]
	return emulator.Fault{
		Op: call.op, Kind: call.kind, Code: codes[w.rand.IntN(len(codes))], Nth: w.rand.IntN(4), Late: w.rand.IntN(2) == 0,
		Delay: time.Duration(w.rand.IntN(3)) * 4 * time.Second,
	}
}

// apply tells the driver what has moved, while calls may fail, and checks what it says.
func (w *nodeWalk) apply() {
	disarm := func() {}
	if w.rand.IntN(2) == 0 {
		f := w.fault()
		w.note("%s %s %d: 0x%x late %v after %s", f.Op, f.Kind, f.Nth, f.Code, f.Late, f.Delay)
		disarm = w.Inject(f)
	}
	if w.harmed || w.rand.IntN(4) == 0 {
		time.Sleep(time.Millisecond) // since the last full check
		_, err := w.d.CheckDrift(w.t.Context())
		w.note("check: %v", err)
		w.harmed = w.harmed && err != nil
	}
	var changes *dataplane.Changes
	if w.applied != nil {
		changes = dataplane.Diff(w.applied, w.state)
	}
	r, err := w.d.Apply(w.t.Context(), w.state.Copy(), changes)
	if w.applied = w.state.Copy(); err != nil {
		w.applied = nil
	}
	w.note("apply: %v %v %v", err, r.Endpoints, r.Others)
	disarm()
	if err == nil && !w.harmed && !w.stopped {
		w.check(r)
	}
}

// check compares what HNS holds with the State, for those whom the Result does not name.
func (w *nodeWalk) check(r dataplane.Result) {
	for i, id := range w.pods {
		ep := podID(i)
		if w.state.Endpoints[ep] == nil || r.Endpoints[ep] != nil {
			continue
		}
		want := Render(w.state, ep, Options{Form: w.cfg.Form}).ACLs
		if got := w.stands(id); len(got) == 0 || !(coverings{}).onlyOpens(got, want) {
			w.t.Errorf("%s is open, and not named: it has\n%v\nwant\n%v", ep, texts(got), texts(want))
		}
	}
	nets, err := w.node.host.client.Networks()
	must(w.t, err)
	for _, net := range nets {
		for _, set := range net.Sets {
			w.checkSet(&set, r)
		}
	}
}

// checkSet expects no member too many in a set that lists let in.
func (w *nodeWalk) checkSet(set *hns.Set, r dataplane.Result) {
	ref, ours := OwnSet(set.ID)
	if !ours || len(r.Endpoints)+len(r.Others) > 0 || w.state.IPSets[ref.Set] == nil {
		return
	}
	var want []netip.Prefix
	for m := range w.members(ref.Set) {
		want = append(want, m.Prefix)
	}
	if extra := flatten.AddrsOf(set.Members...).Minus(flatten.AddrsOf(want...)); !extra.Empty() {
		w.t.Errorf("set %s has too many: %v", set.ID, set.Members)
	}
}

// ends lets all be well, and expects it to be in force soon.
func (w *nodeWalk) ends() {
	if w.stopped {
		w.stops()
	}
	w.ids = nil
	for i := range 6 {
		if w.pods[i] != "" {
			w.ids = append(w.ids, w.pods[i])
		} else {
			w.ids = append(w.ids, "")
			delete(w.state.Endpoints, podID(i))
		}
	}
	for range 3 {
		time.Sleep(time.Minute)
		_, err := w.d.CheckDrift(w.t.Context())
		must(w.t, err)
		_, _ = w.d.Apply(w.t.Context(), w.state, nil)
		synctest.Wait()
	}
	time.Sleep(time.Minute)
	r := w.mustApply(dataplane.NewChanges())
	w.check(r)
	for i, id := range w.pods {
		if w.state.Endpoints[podID(i)] == nil && w.stands(id) == nil {
			continue // it was nobody's when HNS forgot its list
		}
		if err := w.inForceAt(i, id); err != nil {
			w.t.Errorf("in the end: %v", err)
		}
	}
	if w.t.(*testing.T).Failed() {
		w.t.Fatalf("steps: %v", w.steps)
	}
}
