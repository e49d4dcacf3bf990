package dptest

import (
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"github.com/felid-net/felid/dataplane"
)

// RunPackets builds every case as network namespaces, lets enforce put each node's State in force there, adds the foreign rules, and
// sends the flows as real packets. enforce is called once per node, from a goroutine that is not in the node's namespace.
func RunPackets(t *testing.T, enforce func(t *testing.T, node *Namespace, s *dataplane.State)) {
	t.Helper()
	Run(t, RunnerPackets, func(t *testing.T, c *Case) Answer {
		n := NewNet(t, c)
		states := States(c)
		for _, name := range n.nodeNames() {
			node := n.nodes[name]
			enforce(t, node, states[dataplane.NodeName(name)])
			if err := node.foreign(c.ForeignRules); err != nil {
				t.Fatalf("foreign rules: %v", err)
			}
		}
		return n.answers(c.Flows)
	})
}

// answers probes all flows at once.
func (n *Net) answers(flows []Flow) Answer {
	outcomes := n.Probe(flows)
	return func(f Flow) (Verdict, error) {
		for i := range flows {
			if flows[i].Text != f.Text {
				continue
			}
			o := outcomes[i]
			if !o.Seen {
				return Verdict{Action: dataplane.Deny}, o.Err
			}
			return Verdict{Action: dataplane.Allow, Answer: answered(f, o)}, o.Err
		}
		return Verdict{}, fmt.Errorf("not probed")
	}
}

func answered(f Flow, o Outcome) Answered {
	switch {
	case !expectsAnswer(f):
		return AnswerUnknown
	case o.Answered:
		return AnswerComes
	}
	return AnswerLost
}

// foreign appends iptables-save lines to the filter table of the namespace.
func (n *Namespace) foreign(rules string) error {
	return n.restore("iptables-restore", "filter", rules)
}

// restore appends iptables-save lines to a table.
func (n *Namespace) restore(program, table, rules string) error {
	if strings.TrimSpace(rules) == "" {
		return nil
	}
	return n.Do(func() error {
		cmd := exec.Command(program, "--noflush", "--wait")
		cmd.Stdin = strings.NewReader("*" + table + "\n" + rules + "COMMIT\n")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
}

// translate adds the node ports and services that flows are sent to, as rules of the node that translates them.
func (n *Net) translate(flows []Flow) error {
	for _, family := range []uint8{4, 6} {
		rules := map[dataplane.NodeName]string{}
		for _, f := range flows {
			for _, h := range f.hops {
				if f.Family() != family || !h.SentTo.IsValid() {
					continue
				}
				for _, chain := range []string{"PREROUTING", "OUTPUT"} {
					rule := fmt.Sprintf("-A %s -d %s -p %d --dport %d -j DNAT --to-destination %s\n",
						chain, f.SentTo.Addr(), f.Protocol, f.SentTo.Port(), netip.AddrPortFrom(f.Dst, f.DstPort))
					if !strings.Contains(rules[h.Node], rule) {
						rules[h.Node] += rule
					}
				}
			}
		}
		program := map[uint8]string{4: "iptables-restore", 6: "ip6tables-restore"}[family]
		for node, text := range rules {
			if err := n.nodes[string(node)].restore(program, "nat", text); err != nil {
				return fmt.Errorf("nat of node %s: %w", node, err)
			}
		}
	}
	return nil
}
