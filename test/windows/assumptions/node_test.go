package assumptions

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/dptest"
	windows "github.com/felid-net/felid/dataplane_windows"
	"github.com/felid-net/felid/dataplane_windows/hns"
	"github.com/felid-net/felid/test/windows/emulator"
)

// node is a simulated Windows node with its pods and its driver.
type node struct {
	name   dataplane.NodeName
	server *emulator.Server
	client *hns.Client
	driver *windows.Driver
	pods   map[string]string // names to endpoints of HNS
	last   dataplane.Result
	ever   []string // what it has said at any time
}

// newNode has an endpoint of HNS, attached, for each pod of the State, on a network of another plugin's.
func newNode(t *testing.T, o emulator.Options, s *dataplane.State) *node {
	t.Helper()
	server := emulator.New(o)
	n := &node{name: s.Host.Node, server: server, client: hns.NewClient(server.Calls()), pods: map[string]string{}}
	network, err := n.client.CreateNetwork(hns.NewNetwork{Name: "azure", Type: "L2Bridge", Persistent: true, Subnets: []hns.Subnet{
		{Prefix: netip.MustParsePrefix("10.65.0.0/16"), Gateway: netip.MustParseAddr("10.65.255.254")},
	}})
	must(t, err)
	for id, ep := range s.Endpoints {
		var addresses []netip.Prefix
		for _, a := range ep.Addresses {
			addresses = append(addresses, netip.PrefixFrom(a, map[bool]int{true: 16, false: 64}[a.Is4()]))
		}
		e, err := n.client.CreateEndpoint(hns.NewEndpoint{Name: string(id), Network: network.ID, Addresses: addresses})
		must(t, err)
		ns, err := n.client.CreateNamespace("")
		must(t, err)
		must(t, n.client.Attach(ns.ID, e.ID))
		n.pods[string(id)] = e.ID
	}
	return n
}

// run starts the driver.
func (n *node) run(t *testing.T, form windows.Form, reason string) {
	t.Helper()
	var err error
	n.driver, err = windows.New(windows.Config{HNS: n.client, Form: form, Reason: reason, FullCheck: 1, Coalesce: -1})
	must(t, err)
	t.Cleanup(func() { must(t, n.driver.Close()) })
}

// apply gives the driver a State, and lets it look for drift after, as the agent does. What it says at last counts.
func (n *node) apply(t *testing.T, s *dataplane.State) {
	t.Helper()
	n.tell(t, s)
	n.check(t, s)
}

func (n *node) tell(t *testing.T, s *dataplane.State) {
	t.Helper()
	var err error
	n.last, err = n.driver.Apply(t.Context(), s, nil)
	must(t, err)
	n.ever = append(n.ever, n.said()...)
}

// check looks for drift, and applies where there is some.
func (n *node) check(t *testing.T, s *dataplane.State) {
	t.Helper()
	for range 3 {
		drifted, err := n.driver.CheckDrift(context.Background())
		must(t, err)
		if !drifted {
			return
		}
		n.tell(t, s)
	}
}

// said is what the driver reports.
func (n *node) said() []string {
	var out []string
	for id, err := range n.last.Endpoints {
		out = append(out, fmt.Sprintf("%s: %v", id, err))
	}
	for name, err := range n.last.Others {
		out = append(out, fmt.Sprintf("%s: %v", name, err))
	}
	return out
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// stage is the cluster in one of its states.
type stage struct {
	c      *dptest.Case
	states map[dataplane.NodeName]*dataplane.State
}

// newStage is the cluster with its text changed: pairs of old and new.
func newStage(pairs ...string) *stage {
	c, err := dptest.ParseCase("cluster", []byte(strings.NewReplacer(pairs...).Replace(clusterText)), nil)
	if err != nil {
		panic(err)
	}
	return &stage{c: c, states: dptest.States(c)}
}

// site is the cluster on such nodes.
type site struct {
	*stage
	nodes []*node
}

// newSite has nodes with pods, and no list yet.
func newSite(t *testing.T, o emulator.Options) *site {
	t.Helper()
	s := &site{stage: last()}
	for _, name := range s.c.Nodes() {
		s.nodes = append(s.nodes, newNode(t, o, s.states[name]))
	}
	return s
}

// to brings all nodes to a state.
func (s *site) to(t *testing.T, g *stage) {
	t.Helper()
	for _, n := range s.nodes {
		n.apply(t, g.states[n.name])
	}
}

// send gives a flow's first packet to the nodes that it crosses.
func (s *site) send(t *testing.T, f dptest.Flow) dataplane.Action {
	t.Helper()
	hops := s.c.Hops(f)
	return s.along(t, hops, f.From, f.To, func(n *node) emulator.Packet {
		return emulator.Packet{FromHost: f.From == "node/"+string(n.name), SentTo: f.SentTo, SenderNode: s.address(hops[0].Node, f.Family())}
	})
}

// answer sends the answer back.
func (s *site) answer(t *testing.T, f dptest.Flow) dataplane.Action {
	t.Helper()
	hops := s.c.Replies(f)
	slices.Reverse(hops)
	return s.along(t, hops, f.To, f.From, func(*node) emulator.Packet { return emulator.Packet{} })
}

// along gives a packet to the nodes of its hops. Between two pods of one node it goes in one, else each end is asked by itself.
func (s *site) along(t *testing.T, hops []dptest.Hop, from, to string, packet func(*node) emulator.Packet) dataplane.Action {
	t.Helper()
	for i, h := range hops {
		n := s.node(h.Node)
		if n == nil {
			continue
		}
		p := packet(n)
		p.Tuple = h.Tuple
		if i == 0 {
			p.From = n.pods[from]
		}
		if i == len(hops)-1 {
			p.To = n.pods[to]
		}
		v, err := n.server.Verdict(p)
		must(t, err)
		if v.Action != dataplane.Allow {
			return v.Action
		}
	}
	return dataplane.Allow
}

// address is the node's, of a family.
func (s *site) address(name dataplane.NodeName, family uint8) netip.Addr {
	for _, a := range s.states[name].Nodes[name].Addresses {
		if a.Is4() == (family == 4) {
			return a
		}
	}
	return netip.Addr{}
}

func (s *site) node(name dataplane.NodeName) *node {
	for _, n := range s.nodes {
		if n.name == name {
			return n
		}
	}
	return nil
}

// effect is what has become of policy.
type effect struct {
	opened, closed []string
}

// flows sends them all, and compares with what they must get.
func (s *site) flows(t *testing.T) effect {
	t.Helper()
	var e effect
	for _, f := range s.c.Flows {
		got := s.send(t, f)
		switch {
		case got == dataplane.Allow && f.Want.Action == dataplane.Deny:
			e.opened = append(e.opened, f.Text)
		case got == dataplane.Deny && f.Want.Action == dataplane.Allow:
			e.closed = append(e.closed, f.Text)
		case got == dataplane.Allow && s.expectsAnswer(f) && s.answer(t, f) != dataplane.Allow:
			e.closed = append(e.closed, f.Text+": the answer")
		}
	}
	return e
}

func (s *site) expectsAnswer(f dptest.Flow) bool {
	return f.Protocol == dataplane.ProtoTCP || f.Protocol == dataplane.ProtoUDP
}

// said is what the drivers report, as one text; everSaid all that they ever reported.
func (s *site) said() string {
	var out []string
	for _, n := range s.nodes {
		out = append(out, n.said()...)
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

func (s *site) everSaid() string {
	text := ""
	for _, n := range s.nodes {
		text += strings.Join(n.ever, "\n") + "\n"
	}
	return text
}
