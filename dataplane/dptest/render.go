package dptest

import (
	"fmt"
	"net/netip"
	"slices"
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
