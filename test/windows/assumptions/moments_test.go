package assumptions

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/dptest"
	windows "github.com/felid-net/felid/dataplane_windows"
	"github.com/felid-net/felid/dataplane_windows/hns"
	"github.com/felid-net/felid/test/windows/emulator"
)

// moment is a question that no flow between two ends at rest asks, and what is seen while the assumption holds and while it does not.
type moment struct {
	h            dptest.Assumption
	what         string
	also         []dptest.Assumption // false in both
	see          func(t *testing.T, o emulator.Options) string
	holds, fails string
}

var moments = []moment{
	{h: dptest.H14, what: "the answer on a connection from before a modify", see: answerAfterModify, holds: "Allow", fails: "Deny"},
	{h: dptest.H16, what: "an ICMP error about a connection", see: icmpError, holds: "Allow", fails: "Deny"},
	{h: dptest.H17, what: "a later fragment", see: laterFragment, holds: "Allow", fails: "Deny"},
	{h: dptest.H22, what: "what a pod sends to itself", see: toItself, holds: "Allow", fails: "Deny"},
	{h: dptest.H23, what: "the reports when lists grow", see: reported("HNS does not hold the policies"), holds: "nothing", fails: "reported"},
	{h: dptest.H24, what: "the reports when other policies are gone", see: reportedOfOthers, holds: "nothing", fails: "reported"},
	{h: dptest.H25, what: "policy in the middle of a modify", see: middle, holds: "never seen", fails: open},
	{h: dptest.H26, what: "policy when Apply has returned", see: atOnce, holds: "Deny", fails: "Allow, then Deny"},
	{h: dptest.H27, what: "policy at an endpoint whose list is refused", also: []dptest.Assumption{dptest.H29}, see: refused, holds: "closed, reported", fails: "closed, reported"},
	{h: dptest.H28, what: "the reports when Ids are not given back", see: reported("Ids of ACLs"), holds: "nothing", fails: "reported"},
	{h: dptest.H30, what: "policy when an endpoint has lost its list", see: lost, holds: "open until the next check, then same", fails: "open until the next check, then same"},
	{h: dptest.H32, what: "a second endpoint with a pod's address", see: twoEndpoints, holds: "same", fails: "same"},
	{h: dptest.H33, what: "policy after a restart of HNS", see: restarted, holds: "no endpoint is left, reported", fails: "open until the next check, then same"},
}

// TestMoments asks them all, on both builds.
func TestMoments(t *testing.T) {
	for _, m := range moments {
		t.Run(m.h.String(), func(t *testing.T) {
			for _, build := range []int{emulator.Server2022, emulator.Server2025} {
				if got := m.see(t, emulator.Options{Build: build, False: m.also}); got != m.holds {
					t.Errorf("%d, %s: %s, want %s", build, m.what, got, m.holds)
				}
				if got := m.see(t, emulator.Options{Build: build, False: append([]dptest.Assumption{m.h}, m.also...)}); got != m.fails {
					t.Errorf("%d, %s, made false: %s, want %s", build, m.what, got, m.fails)
				}
			}
		})
	}
}

var plainForm = windows.Form{IPv6: true}

func tcp(src, dst string, sport, dport uint16) dptest.Tuple {
	return dptest.Tuple{Src: netip.MustParseAddr(src), Dst: netip.MustParseAddr(dst), Protocol: 6, SrcPort: sport, DstPort: dport, ICMPType: -1, ICMPCode: -1}
}

// The pods' addresses, and packets that policy allows and denies: a/web may go to a/db at 5432, a/other may not.
const (
	web, db, third = "10.65.0.1", "10.65.0.2", "10.65.0.3"
)

var (
	allowed = tcp(web, db, 50000, 5432)
	denied  = tcp(third, db, 50000, 5432)
)

func verdict(t *testing.T, n *node, p emulator.Packet) string {
	t.Helper()
	v, err := n.server.Verdict(p)
	must(t, err)
	return v.Action.String()
}

func back(p dptest.Tuple) dptest.Tuple {
	p.Src, p.Dst, p.SrcPort, p.DstPort = p.Dst, p.Src, p.DstPort, p.SrcPort
	return p
}

func answerAfterModify(t *testing.T, o emulator.Options) string {
	s := live(t, o, plainForm, "")
	n := s.nodes[0]
	if got := verdict(t, n, emulator.Packet{Tuple: allowed}); got != "Allow" {
		t.Fatal(got)
	}
	s.to(t, stages()[1])
	s.to(t, last())
	return verdict(t, n, emulator.Packet{Tuple: back(allowed)})
}

func icmpError(t *testing.T, o emulator.Options) string {
	n := live(t, o, plainForm, "").nodes[0]
	out := dptest.Tuple{Src: netip.MustParseAddr(web), Dst: netip.MustParseAddr("192.0.2.2"), Protocol: 17, SrcPort: 50000, DstPort: 53, ICMPType: -1, ICMPCode: -1}
	if got := verdict(t, n, emulator.Packet{Tuple: out}); got != "Allow" {
		t.Fatal(got)
	}
	tooBig := dptest.Tuple{Src: netip.MustParseAddr("192.0.2.254"), Dst: netip.MustParseAddr(web), Protocol: 1, ICMPType: 3, ICMPCode: 4}
	return verdict(t, n, emulator.Packet{Tuple: tooBig, About: &out})
}

func laterFragment(t *testing.T, o emulator.Options) string {
	n := live(t, o, plainForm, "").nodes[0]
	return verdict(t, n, emulator.Packet{Tuple: allowed, Later: true})
}

func toItself(t *testing.T, o emulator.Options) string {
	n := live(t, o, plainForm, "").nodes[0]
	return verdict(t, n, emulator.Packet{Tuple: tcp(db, db, 50000, 5432)})
}

// reported tells whether the drivers have said this at any time.
func reported(text string) func(*testing.T, emulator.Options) string {
	return func(t *testing.T, o emulator.Options) string {
		s := live(t, o, plainForm, "")
		if strings.Contains(s.everSaid(), text) {
			return "reported"
		}
		return "nothing"
	}
}

// reportedOfOthers has a NAT policy at each endpoint, as another plugin's pods do.
func reportedOfOthers(t *testing.T, o emulator.Options) string {
	s := newSite(t, o)
	nat := json.RawMessage(`{"ResourceType":"Policy","RequestType":"Add","Settings":{"Policies":[{"Type":"OutBoundNAT","Settings":{"Exceptions":["10.0.0.0/8"]}}]}}`)
	for _, n := range s.nodes {
		for _, id := range n.pods {
			must(t, n.server.Calls().Modify(hns.KindEndpoint, id, nat))
		}
		n.run(t, plainForm, "")
	}
	s.to(t, last())
	if strings.Contains(s.everSaid(), "HNS does not hold the policies") {
		return "reported"
	}
	return "nothing"
}

func middle(t *testing.T, o emulator.Options) string {
	seen := "never seen"
	watched := false
	o.Middle = func(server *emulator.Server, _ string) {
		v, err := server.Verdict(emulator.Packet{Tuple: tcp(third, web, 50000, 22)})
		must(t, err)
		if watched && v.Action == dataplane.Allow {
			seen = open
		}
	}
	s := live(t, o, plainForm, "")
	watched = true
	s.to(t, stages()[1])
	s.to(t, last())
	watched = false
	if e := s.flows(t); e.String() != same {
		t.Errorf("after: %s", e)
	}
	return seen
}

// atOnce opens a door and shuts it, and tries it as soon as Apply has returned.
func atOnce(t *testing.T, o emulator.Options) string {
	s := live(t, o, plainForm, "")
	n := s.nodes[0]
	knock := tcp(third, web, 50000, 80)
	n.apply(t, stages()[1].states[n.name])
	n.server.Settle()
	if got := verdict(t, n, emulator.Packet{Tuple: knock}); got != "Allow" {
		t.Fatal(got)
	}
	_, err := n.driver.Apply(t.Context(), s.states[n.name], nil)
	must(t, err)
	seen := verdict(t, n, emulator.Packet{Tuple: knock})
	n.server.Settle()
	if later := verdict(t, n, emulator.Packet{Tuple: knock}); later != seen {
		seen += ", then " + later
	}
	return seen
}

func refused(t *testing.T, o emulator.Options) string {
	s := live(t, o, plainForm, "")
	seen := s.flows(t).String()
	if s.said() != "" {
		seen += ", reported"
	}
	return seen
}

func lost(t *testing.T, o emulator.Options) string {
	s := live(t, o, plainForm, "")
	for _, n := range s.nodes {
		for _, id := range n.pods {
			n.server.Forget(id)
		}
	}
	return s.untilTheNextCheck(t)
}

// check has all drivers look for drift.
func (s *site) check(t *testing.T) {
	t.Helper()
	for _, n := range s.nodes {
		n.check(t, s.states[n.name])
	}
}

// untilTheNextCheck is what becomes of policy before and after the drivers look for drift.
func (s *site) untilTheNextCheck(t *testing.T) string {
	t.Helper()
	before := s.flows(t).String()
	s.check(t)
	return before + " until the next check, then " + s.flows(t).String()
}

func twoEndpoints(t *testing.T, o emulator.Options) string {
	s := newSite(t, o)
	n := s.nodes[0]
	old, err := n.client.Endpoint(n.pods["pod/a/db"])
	must(t, err)
	e, err := n.client.CreateEndpoint(hns.NewEndpoint{Name: "another", Network: old.Network, Addresses: []netip.Prefix{netip.MustParsePrefix(db + "/16")}})
	must(t, err)
	ns, err := n.client.CreateNamespace("")
	must(t, err)
	must(t, n.client.Attach(ns.ID, e.ID))
	for _, n := range s.nodes {
		n.run(t, plainForm, "")
	}
	s.to(t, last())
	if got := verdict(t, n, emulator.Packet{Tuple: denied, To: e.ID}); got != "Deny" {
		return "the second is open"
	}
	return s.flows(t).String()
}

func restarted(t *testing.T, o emulator.Options) string {
	s := live(t, o, plainForm, "")
	for _, n := range s.nodes {
		n.server.Restart()
	}
	left, err := s.nodes[0].client.Endpoints()
	must(t, err)
	if len(left) > 0 {
		return s.untilTheNextCheck(t)
	}
	s.check(t)
	if !strings.Contains(s.said(), "no attached endpoint") {
		return "no endpoint is left, and nobody says so"
	}
	return "no endpoint is left, reported"
}
