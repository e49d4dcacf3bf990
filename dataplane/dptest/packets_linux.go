package dptest

import (
	"fmt"
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

// answers probes all flows at once; a flow whose packet came through while its answer did not is an error.
func (n *Net) answers(flows []Flow) Answer {
	outcomes := n.Probe(flows)
	return func(f Flow) (Verdict, error) {
		for i := range flows {
			if flows[i].Text != f.Text {
				continue
			}
			o := outcomes[i]
			if o.Err == nil && o.Seen && !o.Answered {
				o.Err = fmt.Errorf("the packet came through, and its answer did not")
			}
			if o.Seen {
				return Verdict{Action: dataplane.Allow}, o.Err
			}
			return Verdict{Action: dataplane.Deny}, o.Err
		}
		return Verdict{}, fmt.Errorf("not probed")
	}
}

// foreign appends iptables-save lines to the filter table of the namespace.
func (n *Namespace) foreign(rules string) error {
	if strings.TrimSpace(rules) == "" {
		return nil
	}
	return n.Do(func() error {
		cmd := exec.Command("iptables-restore", "--noflush", "--wait")
		cmd.Stdin = strings.NewReader("*filter\n" + rules + "COMMIT\n")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
}
