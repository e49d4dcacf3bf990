package windows

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/dptest"
	"github.com/felid-net/felid/dataplane_windows/hns"
)

// nodeState is a State of a node with pods "pod/a/0" …, at 10.0.1.0 …, that policy "in" lets the set "clients" into by TCP 80, and all out.
func nodeState(pods int) *dataplane.State {
	s := dataplane.NewState()
	s.Host = dataplane.Host{Node: "n1", WorkloadToHost: dataplane.Pass}
	s.Nodes["n1"] = &dataplane.Node{Name: "n1", Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.2")}}
	s.IPSets["clients"] = setOf("clients", "10.0.3.1/32", "10.0.3.5/32")
	in := dataplane.PolicyID{Kind: "NetworkPolicy", Namespace: "a", Name: "in"}
	s.Policies[in] = &dataplane.Policy{ID: in, Tier: "default", Ingress: []dataplane.Rule{allowFrom("clients", 80)}}
	open := dataplane.PolicyID{Kind: "Profile", Name: "kns.a"}
	s.Policies[open] = &dataplane.Policy{ID: open, Egress: []dataplane.Rule{{Action: dataplane.Allow}}}
	for i := range pods {
		e := &dataplane.Endpoint{
			ID: podID(i), Node: "n1", Addresses: []netip.Addr{podAddr(i)}, Profiles: []dataplane.PolicyID{open},
			Tiers: []dataplane.EndpointTier{{Name: "default", Ingress: []dataplane.PolicyID{in}, Default: dataplane.Deny}},
		}
		s.Endpoints[e.ID] = e
	}
	return s
}

func podID(i int) dataplane.EndpointID { return dataplane.EndpointID(fmt.Sprintf("pod/a/%d", i)) }

func podAddr(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 0, byte(1 + i/250), byte(10 + i%240)})
}

func allowFrom(set dataplane.IPSetID, port uint16) dataplane.Rule {
	return dataplane.Rule{
		Action: dataplane.Allow, Protocol: dataplane.ProtoTCP, Src: dataplane.Side{IPSets: []dataplane.IPSetID{set}},
		Dst: dataplane.Side{Ports: []dataplane.PortRange{{Min: port, Max: port}}},
	}
}

func setOf(id dataplane.IPSetID, prefixes ...string) *dataplane.IPSet {
	set := &dataplane.IPSet{ID: id, Members: map[dataplane.Member]struct{}{}}
	for _, p := range prefixes {
		set.Members[dataplane.Member{Prefix: netip.MustParsePrefix(p)}] = struct{}{}
	}
	return set
}

// change changes a State, and gives what moved.
func change(s *dataplane.State, how func(*dataplane.State)) *dataplane.Changes {
	before := s.Copy()
	how(s)
	return dataplane.Diff(before, s)
}

// join adds a member to a set, and gives the Changes of that.
func join(s *dataplane.State, id dataplane.IPSetID, prefix string) *dataplane.Changes {
	return moveMember(s, id, prefix, true)
}

// leave takes a member out.
func leave(s *dataplane.State, id dataplane.IPSetID, prefix string) *dataplane.Changes {
	return moveMember(s, id, prefix, false)
}

func moveMember(s *dataplane.State, id dataplane.IPSetID, prefix string, in bool) *dataplane.Changes {
	m := dataplane.Member{Prefix: netip.MustParsePrefix(prefix)}
	c := dataplane.NewChanges()
	if in {
		s.IPSets[id].Members[m] = struct{}{}
		c.IPSets[id] = &dataplane.SetDelta{Added: []dataplane.Member{m}}
	} else {
		delete(s.IPSets[id].Members, m)
		c.IPSets[id] = &dataplane.SetDelta{Removed: []dataplane.Member{m}}
	}
	return c
}

// node is a host with pods and a driver, and the State that it is told.
type node struct {
	*host
	d     *Driver
	state *dataplane.State
	ids   []string // of HNS, of the pods
}

// newNode has that many pods, whose lists are not written yet. What is wrong does not hold of its HNS.
func newNode(t testing.TB, form Form, pods int, wrong ...dptest.Assumption) *node {
	t.Helper()
	n := &node{host: newHost(t, form, wrong...), state: nodeState(pods)}
	for i := range pods {
		n.ids = append(n.ids, n.pod(podAddr(i).String()))
	}
	n.d = n.open()
	n.ResetLog()
	return n
}

// apply gives the driver the State.
func (n *node) apply(changes *dataplane.Changes) (dataplane.Result, error) {
	return n.d.Apply(context.Background(), n.state, changes)
}

// mustApply expects that all of it is in force after.
func (n *node) mustApply(changes *dataplane.Changes) dataplane.Result {
	n.t.Helper()
	r, err := n.apply(changes)
	must(n.t, err)
	if r.Failed() {
		n.t.Fatalf("failed: %v %v", r.Endpoints, r.Others)
	}
	return r
}

// settle does what the agent does: an Apply whenever the driver asks for one, until nothing fails, for a time at most. It gives the time that it took.
func (n *node) settle(most time.Duration) time.Duration {
	n.t.Helper()
	start := time.Now()
	end := time.NewTimer(most)
	defer end.Stop()
	retry := time.NewTicker(30 * time.Second) // the agent's own, at its slowest
	defer retry.Stop()
	for {
		r, err := n.apply(dataplane.NewChanges())
		synctest.Wait()
		if err == nil && !r.Failed() && n.inForce() == nil {
			return time.Since(start)
		}
		select {
		case <-n.d.Drift():
		case <-retry.C:
		case <-end.C:
			n.t.Fatalf("not in force after %s: %v %v, error %v; %v", most, r.Endpoints, r.Others, err, n.inForce())
		}
	}
}

// stands is what HNS holds at a pod, of ours.
func (n *node) stands(id string) []hns.ACL {
	raw, err := n.calls.Get(hns.KindEndpoint, id)
	if err != nil {
		return nil
	}
	e, err := hns.ParseEndpoint(raw)
	must(n.t, err)
	own, _ := Split(&e)
	return own
}

// inForce says which pod does not have the list that the State gives it; nil: all do.
func (n *node) inForce() error {
	for i, id := range n.ids {
		if err := n.inForceAt(i, id); err != nil {
			return err
		}
	}
	return nil
}

func (n *node) inForceAt(i int, id string) error {
	want := Render(n.state, podID(i), Options{Form: n.cfg.Form}).ACLs
	if want == nil {
		want = Closed()
	}
	if got := n.stands(id); !sameACLs(want, got) {
		return fmt.Errorf("%s has\n%v\nwant\n%v", podID(i), texts(got), texts(want))
	}
	return nil
}

// modifies counts lists and changes of sets that were written since the log was reset, and their bytes.
func (n *node) modifies() (lists, sets, bytes int) {
	lists, a := n.Count("Modify", hns.KindEndpoint)
	sets, b := n.Count("Modify", hns.KindNetwork)
	return lists, sets, a + b
}

func (n *node) wantModifies(lists, sets int) {
	n.t.Helper()
	if l, s, _ := n.modifies(); l != lists || s != sets {
		n.t.Errorf("%d lists and %d changes of sets were written, want %d and %d", l, s, lists, sets)
	}
	n.ResetLog()
}
