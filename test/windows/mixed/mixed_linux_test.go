package mixed

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/dptest"
	"github.com/felid-net/felid/dataplane_windows/hns"
	"github.com/felid-net/felid/test/kubernetes"
	"github.com/felid-net/felid/test/windows/emulator"
)

var (
	every = flag.Int("every", 1, "run only one of so many of the shared cases")
	seeds = flag.Uint64("seeds", 20, "how many made-up cases to run")
)

// patience is how long a busy machine may need until a node has what was written.
const patience = 30 * time.Second

// cluster has both kinds of nodes.
type cluster struct {
	api     *api
	linux   map[string]*linuxNode
	windows map[string]*windowsNode

	cases, flows             int // that came out right
	allowed, denied, excuses int // verdicts of Windows nodes in the last looks at cases
}

// nodes of the cluster. Those of Windows are of both builds, and have lists of both forms: plain addresses
// on n1, sets on n3.
var nodes = []string{"n1", "n2", "n3"}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	server := kubernetes.Start(t, kubernetes.Options{})
	c := &cluster{api: newAPI(t, server), linux: map[string]*linuxNode{}, windows: map[string]*windowsNode{}}
	c.linux["n2"] = startLinuxNode(t, "n2", build(t), server)
	c.windows["n1"] = startWindowsNode(t, "n1", emulator.Server2022, false, server)
	c.windows["n3"] = startWindowsNode(t, "n3", emulator.Server2025, true, server)
	t.Cleanup(func() {
		if t.Failed() {
			c.logs(t)
		}
	})
	return c
}

func (c *cluster) logs(t *testing.T) {
	for name, n := range c.linux {
		text, _ := os.ReadFile(n.log)
		t.Logf("log of %s:\n%s", name, tail(string(text)))
	}
	for name, n := range c.windows {
		t.Logf("log of %s:\n%s", name, tail(n.agent.Output()))
	}
}

func tail(text string) string {
	lines := strings.Split(text, "\n")
	return strings.Join(lines[max(0, len(lines)-30):], "\n")
}

func TestBothWorldsAgree(t *testing.T) {
	shared, skipped := sharedCases(t, nodes)
	c := newCluster(t)
	cases := slices.DeleteFunc(shared, func(k *dptest.Case) bool { return len(k.Flows) == 0 })
	for i, k := range cases {
		if i%*every == 0 {
			c.test(t, k)
		}
	}
	for seed, left := uint64(0), *seeds; left > 0; seed++ {
		k := dptest.Random(seed)
		if why := unfit(k, nodes); why != "" {
			skipped[why] = append(skipped[why], k.Name)
			continue
		}
		left--
		c.test(t, prepared(t, k))
	}
	t.Logf("%d cases with %d flows; %d verdicts of Windows nodes allow, %d deny, %d were excused", c.cases, c.flows, c.allowed, c.denied, c.excuses)
	for _, why := range slices.Sorted(maps.Keys(skipped)) {
		t.Logf("%d left out, %s: %v", len(skipped[why]), why, skipped[why])
	}
	for node, n := range c.windows {
		if err := n.agent.Stop(); err != nil || strings.Contains(n.agent.Output(), "DATA RACE") {
			t.Errorf("stopping the agent of %s: %v; or it has a data race:\n%s", node, err, n.agent.Output())
		}
	}
	if *every == 1 {
		c.enough(t)
	}
}

// enough checks that the test has tried what it is for.
func (c *cluster) enough(t *testing.T) {
	t.Helper()
	for node, sets := range map[string]bool{"n1": false, "n3": true} {
		if calls, _ := c.windows[node].Count(emulator.OpModify, hns.KindNetwork); calls > 0 != sets {
			t.Errorf("node %s changed sets %d times; its lists name sets: %v", node, calls, sets)
		}
	}
	if c.allowed < 1000 || c.denied < 1000 || c.excuses > c.flows/20 {
		t.Error("that is too few to mean anything, or too many were excused")
	}
}

// refusedCases have objects of Kubernetes' own that an API server does not take. (Made-up cases may have, too.)
var refusedCases = []string{
	"k8s-invalid-elements", "k8s-unknown-field", "ports-named-in-both-protocols", "selector-forms", "service-target-name-of-its-protocol",
}

// test runs a case.
func (c *cluster) test(t *testing.T, k *dptest.Case) {
	t.Helper()
	t.Run(k.Name, func(t *testing.T) {
		err := c.run(t, k)
		switch {
		case errors.Is(err, errRefused):
			if !slices.Contains(refusedCases, k.Name) && !strings.HasPrefix(k.Name, "random-") {
				t.Error(err)
			}
		case err != nil:
			t.Error(err)
		default:
			c.cases++
			c.flows += len(k.Flows)
		}
	})
}

// run puts a case on the cluster, and compares until all is as the judge says.
func (c *cluster) run(t *testing.T, k *dptest.Case) error {
	standing := map[string]*dptest.Namespace{}
	for name, n := range c.linux {
		standing[name] = n.space
	}
	net := dptest.NewNetOn(t, k, standing)
	for name, n := range c.windows {
		for pod, addresses := range endpointsOn(k, name) {
			n.connect(t, pod, addresses)
		}
	}
	refused, err := c.api.put(t, k)
	if err != nil {
		return err
	}
	if len(refused) > 0 {
		t.Logf("without (all of) %v, which the API server refuses", refused)
		judge(k)
	}
	if err := c.settle(t, k, c.api.mark(t)); err != nil {
		return err
	}
	deadline := time.Now().Add(patience)
	for {
		wrong := c.compare(t, net, k)
		if len(wrong) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d of %d flows:\n%s\n%s", len(wrong), len(k.Flows), strings.Join(wrong, "\n"), k.YAML())
		}
	}
}

// settle waits until every node of the case has applied a revision.
func (c *cluster) settle(t *testing.T, k *dptest.Case, revision uint64) error {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, node := range k.Nodes() {
		ask := c.ask(string(node))
		for {
			s, err := ask(ctx)
			if err == nil && s.InSync && len(s.Failed) == 0 && s.Applied[v3.KindGlobalNetworkPolicy] >= revision {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("node %s has not applied revision %d: %+v, %w", node, revision, s, err)
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	return nil
}

func (c *cluster) ask(node string) statusOf {
	if n := c.linux[node]; n != nil {
		return n.status
	}
	return c.windows[node].status
}

// compare says which flows do not get the judge's verdict.
func (c *cluster) compare(t *testing.T, net *dptest.Net, k *dptest.Case) (wrong []string) {
	t.Helper()
	outcomes, look := net.Probe(k.Flows), *c
	for _, n := range c.windows {
		n.ForgetConnections() // those of a look at an older list
	}
	for i, f := range k.Flows {
		atHNS, err := look.verdict(k, f)
		got := dataplane.Deny
		if outcomes[i].Seen && atHNS == dataplane.Allow {
			got = dataplane.Allow
		}
		if err == nil {
			err = outcomes[i].Err
		}
		if err != nil || got != f.Want.Action && !look.excused(t, k, f) {
			wrong = append(wrong, fmt.Sprintf("%s: want %s; packets seen: %v, HNS: %s, error %v", f.Text, f.Want.Action, outcomes[i].Seen, atHNS, err))
		}
	}
	if len(wrong) == 0 {
		*c = look
	}
	return wrong
}

// verdict is that of the Windows nodes which a flow begins or ends on; of one that passes, the answer must pass too.
func (c *cluster) verdict(k *dptest.Case, f dptest.Flow) (dataplane.Action, error) {
	from, to := nodeOf(k, f.From), nodeOf(k, f.To)
	way := slices.Compact([]string{from, to})
	for _, node := range way {
		if n := c.windows[node]; n != nil {
			v, err := n.Verdict(emulator.Packet{Tuple: f.Tuple, FromHost: f.From == "node/"+node})
			if v.Action == dataplane.Allow {
				c.allowed++
			} else {
				c.denied++
			}
			if err != nil || v.Out.Tie || v.In.Tie || v.Action != dataplane.Allow {
				return v.Action, errors.Join(err, tie(v))
			}
		}
	}
	answer := f.Tuple
	answer.Src, answer.Dst, answer.SrcPort, answer.DstPort = f.Dst, f.Src, f.DstPort, f.SrcPort
	for _, node := range way {
		if n := c.windows[node]; n != nil && hasPorts(f) {
			if v, err := n.Verdict(emulator.Packet{Tuple: answer}); err != nil || v.Action != dataplane.Allow {
				return v.Action, fmt.Errorf("the answer does not pass node %s: %+v, %w", node, v, err)
			}
		}
	}
	return dataplane.Allow, nil
}

func tie(v dptest.HNSVerdict) error {
	if v.Out.Tie || v.In.Tie {
		return fmt.Errorf("HNS decides as it likes: %+v", v)
	}
	return nil
}

// excused: a Windows node may deny what policy allows where it reports that it can't express a rule.
func (c *cluster) excused(t *testing.T, k *dptest.Case, f dptest.Flow) bool {
	if f.Want.Action != dataplane.Allow {
		return false
	}
	for _, end := range []string{f.From, f.To} {
		if n := c.windows[nodeOf(k, end)]; n != nil {
			if s, err := n.status(t.Context()); err == nil && len(s.Unsupported) > 0 {
				c.excuses++
				return true
			}
		}
	}
	return false
}
