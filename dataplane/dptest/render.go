package dptest

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/felid-net/felid/dataplane"
)

// IPTables is what a renderer made of a State, per family.
type IPTables struct {
	Tables string // iptables-restore text of all tables
	Sets   string // ipset-restore text
}

// RunIPTables renders the State of every node of every case, with the interfaces of the node's addresses, and runs the flows through the text:
// each first packet must get the verdict, and the answer to one that was let through must pass, or not. The flow's deciders are not known to iptables.
func RunIPTables(t *testing.T, render func(t *testing.T, s *dataplane.State, devices map[netip.Addr]string) map[uint8]IPTables) {
	t.Helper()
	Run(t, RunnerIPTables, func(t *testing.T, c *Case) Answer {
		rules := c.parsedTables(t, render)
		return func(f Flow) (Verdict, error) {
			hops := c.Hops(f)
			v, err := traceHops(rules, hops)
			if err != nil || v.Action != dataplane.Allow || f.Want.Action != dataplane.Allow {
				return v, err
			}
			for i := range hops {
				untracked := hops[i].State == "UNTRACKED"
				if hops[i] = hops[i].reply(); untracked {
					hops[i].State = unexpected(f.Protocol)
				}
			}
			slices.Reverse(hops)
			answer, err := traceHops(rules, hops)
			if v.Answer = AnswerComes; answer.Action != dataplane.Allow || slices.ContainsFunc(hops, notTranslatedBack) {
				v.Answer = AnswerLost
			}
			return v, err
		}
	})
}

func notTranslatedBack(h Hop) bool { return h.Translated && h.State == "UNTRACKED" }

// unexpected is the state of an answer whose question was not tracked: connection tracking does not take a SYN-ACK or an echo reply for the
// first packet of a connection.
func unexpected(protocol uint8) string {
	if protocol == dataplane.ProtoTCP || !hasPorts(protocol) {
		return "INVALID"
	}
	return "NEW"
}

type nodeFamily struct {
	node   dataplane.NodeName
	family uint8
}

func (c *Case) parsedTables(t *testing.T, render func(*testing.T, *dataplane.State, map[netip.Addr]string) map[uint8]IPTables) map[nodeFamily]*Ruleset {
	t.Helper()
	rules := map[nodeFamily]*Ruleset{}
	for node, s := range States(c) {
		if node == "" {
			continue
		}
		for family, text := range render(t, s, c.Devices(node)) {
			tables := text.Tables
			if family == 4 && c.ForeignRules != "" {
				tables += "\n*filter\n" + c.ForeignRules + "\nCOMMIT\n"
			}
			rs, err := ParseIPTables(tables, text.Sets, family)
			if err != nil {
				t.Fatalf("node %s, IPv%d: %v\n%s\n%s", node, family, err, text.Sets, tables)
			}
			rules[nodeFamily{node, family}] = rs
		}
	}
	return rules
}

// traceHops notes in each hop the state in which the packet left it.
func traceHops(rules map[nodeFamily]*Ruleset, hops []Hop) (Verdict, error) {
	for i, h := range hops {
		rs := rules[nodeFamily{h.Node, h.Family()}]
		if rs == nil {
			return Verdict{}, fmt.Errorf("node %s has no tables for IPv%d", h.Node, h.Family())
		}
		trace, err := rs.Trace(h.Packet)
		if err != nil {
			return Verdict{}, err
		}
		if hops[i].State = trace.State; trace.Action != dataplane.Allow {
			return Verdict{Action: dataplane.Deny}, nil
		}
	}
	return Verdict{Action: dataplane.Allow}, nil
}

// ACLs is what a renderer made of one endpoint of a State.
type ACLs struct {
	JSON []byte // a list of HNS ACL settings
	// Unsupported are the rules that could not be expressed exactly.
	Unsupported []dataplane.Unsupported
}

// RunACLs renders every endpoint of every case and runs the flows through the lists. Where the renderer reports a rule that it can't
// express, a flow of that endpoint and direction may be denied that should be allowed, never the reverse. (A Log rule is no excuse: to
// leave it out denies nothing.)
func RunACLs(t *testing.T, render func(t *testing.T, s *dataplane.State, ep dataplane.EndpointID) ACLs) {
	t.Helper()
	Run(t, RunnerACLs, func(t *testing.T, c *Case) Answer {
		lists := map[string]endpointACLs{}
		for node, s := range States(c) {
			for id := range s.Endpoints {
				if node != "" {
					lists[string(id)] = newEndpointACLs(s, render(t, s, id))
				}
			}
		}
		judge := judgeOf(c.Objects, c.Options)
		return func(f Flow) (Verdict, error) {
			expected := f.Want.Action
			if f.Want.Foreign {
				expected = dataplane.Allow
			}
			if f.SentTo.IsValid() {
				return Verdict{Action: expected}, nil // lists do not show where HNS translates destinations
			}
			pods := f
			pods.Want.Action = podsAlone(judge(f))
			got, err := traceEndpoints(lists, pods)
			if err == nil && got.Action != pods.Want.Action {
				err = fmt.Errorf("the pods' lists say %s, want %s", got.Action, pods.Want.Action)
			}
			return Verdict{Action: expected}, err
		}
	})
}

// podsAlone is the verdict without what host endpoints say: Windows has no host endpoints, its lists are pods'. What a list says of a flow that a
// host endpoint has a say about must be right for the pods.
func podsAlone(v Verdict) dataplane.Action {
	for _, s := range v.all() {
		if s.Action == dataplane.Deny && !strings.HasPrefix(string(s.Endpoint), "hostendpoint/") {
			return dataplane.Deny
		}
	}
	return dataplane.Allow
}

// endpointACLs is a list with the directions in which it may deny more than policy does.
type endpointACLs struct {
	json    []byte
	excused map[dataplane.Direction]bool
}

func newEndpointACLs(s *dataplane.State, a ACLs) endpointACLs {
	e := endpointACLs{json: a.JSON, excused: map[dataplane.Direction]bool{}}
	for _, u := range a.Unsupported {
		p := s.Policies[u.Policy]
		if p == nil {
			continue
		}
		rules := p.Ingress
		if u.Direction == dataplane.Egress {
			rules = p.Egress
		}
		for _, r := range rules {
			if r.Index == u.Rule && r.Action != dataplane.Log {
				e.excused[u.Direction] = true
			}
		}
	}
	return e
}

func traceEndpoints(lists map[string]endpointACLs, f Flow) (Verdict, error) {
	v := Verdict{Action: dataplane.Allow}
	for _, side := range []struct {
		name string
		dir  dataplane.Direction
	}{{f.From, dataplane.Egress}, {f.To, dataplane.Ingress}} {
		list, ok := lists[side.name]
		if !ok {
			continue
		}
		got, err := TraceACLs(list.json, side.dir, f.Tuple)
		if err != nil {
			return v, fmt.Errorf("%s %s: %w", side.name, side.dir, err)
		}
		excused := list.excused[side.dir] && f.Want.Action == dataplane.Allow
		if got.Action == dataplane.Deny && !excused {
			v.Action = dataplane.Deny
		}
	}
	return v, nil
}
