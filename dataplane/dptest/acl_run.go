package dptest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/felid-net/felid/dataplane"
)

// ACLs is what a renderer made of one endpoint of a State.
type ACLs struct {
	JSON []byte // a list of HNS ACL settings
	// Sets that the ACLs name, by Id: their members, separated by commas. They stand on the network of the node.
	Sets map[string]string
	// Unsupported are the rules that could not be expressed exactly.
	Unsupported []dataplane.Unsupported
	// NoIPv6: all IPv6 of the endpoint is denied, whatever policy says.
	NoIPv6 bool
}

// RunACLs is RunHNS on both builds.
func RunACLs(t *testing.T, render func(t *testing.T, s *dataplane.State, ep dataplane.EndpointID) ACLs) {
	t.Helper()
	RunHNS(t, []HNS{HNSOf(20348), HNSOf(26100)}, render)
}

// RunHNS renders every endpoint of every case once, as if all nodes were Windows nodes, and sends the flows from end to end in each of the models:
// by the list of the sender and that of the receiver, and the answer back. Where the renderer reports a rule that it can't express, a flow of
// that endpoint and direction may be denied that should be allowed, never the reverse. (A Log rule is no excuse: to leave it out denies
// nothing.) What host endpoints say, which Windows does not have, does not count.
func RunHNS(t *testing.T, models []HNS, render func(t *testing.T, s *dataplane.State, ep dataplane.EndpointID) ACLs) {
	t.Helper()
	Run(t, RunnerACLs, func(t *testing.T, c *Case) Answer {
		runs := c.onHNS(t, models, render)
		judge := judgeOf(c.Objects, c.Options)
		return func(f Flow) (Verdict, error) {
			expected := f.Want.Action
			if f.Want.Foreign {
				expected = dataplane.Allow
			}
			pods := podsAlone(judge(f))
			for _, r := range runs {
				if err := r.check(f, pods); err != nil {
					return Verdict{Action: expected}, fmt.Errorf("HNS %d.%d: %w", r.model.Major, r.model.Minor, err)
				}
			}
			return Verdict{Action: expected}, nil
		}
	})
}

// OpenedOnHNS renders every endpoint of every shared case as RunHNS does, for models in which assumptions do not hold, and gives for each the flows that
// the lists let through though the pods' policy denies them. What they deny besides does not matter.
func OpenedOnHNS(t *testing.T, models []HNS, render func(t *testing.T, s *dataplane.State, ep dataplane.EndpointID) ACLs) [][]string {
	t.Helper()
	opened := make([][]string, len(models))
	for _, c := range Cases(t) {
		if c.Options.Skip[RunnerACLs] != "" {
			continue
		}
		runs := c.onHNS(t, models, render)
		judge := judgeOf(c.Objects, c.Options)
		for _, f := range c.Flows {
			if podsAlone(judge(f)) != dataplane.Deny {
				continue
			}
			for i, r := range runs {
				if r.lets(f) {
					opened[i] = append(opened[i], c.Name+": "+f.Text)
				}
			}
		}
	}
	return opened
}

// onHNS puts what is rendered of each node, once, into each of the models.
func (c *Case) onHNS(t *testing.T, models []HNS, render func(*testing.T, *dataplane.State, dataplane.EndpointID) ACLs) []*hnsRun {
	t.Helper()
	runs := make([]*hnsRun, len(models))
	for i, m := range models {
		runs[i] = &hnsRun{model: m, c: c, ends: map[string]*hnsEnd{}}
	}
	for node, s := range States(c) {
		if node == "" {
			continue
		}
		acls := map[dataplane.EndpointID]ACLs{}
		for id := range s.Endpoints {
			acls[id] = render(t, s, id)
		}
		for _, r := range runs {
			r.addNode(t, node, s, acls)
		}
	}
	return runs
}

// podsAlone is the verdict without what host endpoints say.
func podsAlone(v Verdict) dataplane.Action {
	for _, s := range v.all() {
		if s.Action == dataplane.Deny && !strings.HasPrefix(string(s.Endpoint), "hostendpoint/") {
			return dataplane.Deny
		}
	}
	return dataplane.Allow
}

// hnsRun is a case on nodes of the model.
type hnsRun struct {
	model HNS
	c     *Case
	ends  map[string]*hnsEnd
}

// hnsEnd is an endpoint with the directions in which it may deny more than policy does.
type hnsEnd struct {
	node    dataplane.NodeName
	port    *HNSPort
	excused map[dataplane.Direction]bool
	noIPv6  bool
}

func (r *hnsRun) addNode(t *testing.T, node dataplane.NodeName, s *dataplane.State, lists map[dataplane.EndpointID]ACLs) {
	t.Helper()
	network, standing := r.model.NewNetwork(), map[string]string{}
	for id, acls := range lists {
		for set, values := range acls.Sets {
			if old, ok := standing[set]; ok && old != values {
				t.Fatalf("node %s: set %q is %q and %q", node, set, old, values)
			}
			standing[set] = values
			if err := network.PutSet(set, "IPSET", values); err != nil {
				t.Fatalf("node %s: %v", node, err)
			}
		}
		if s.Endpoints[id].Host != nil {
			continue
		}
		end := &hnsEnd{node: node, port: network.NewPort(), excused: excused(s, acls.Unsupported), noIPv6: acls.NoIPv6}
		if err := end.port.SetACLs(acls.JSON); err != nil {
			t.Fatalf("%s: %v\n%s", id, err, acls.JSON)
		}
		if err := errors.Join(end.port.Lint(), end.port.Unmatched()); err != nil {
			t.Fatalf("%s: %v", id, err)
		}
		r.ends[string(id)] = end
	}
}

func excused(s *dataplane.State, unsupported []dataplane.Unsupported) map[dataplane.Direction]bool {
	out := map[dataplane.Direction]bool{}
	for _, u := range unsupported {
		p := s.Policies[u.Policy]
		if p == nil {
			continue
		}
		rules := p.Ingress
		if u.Direction == dataplane.Egress {
			rules = p.Egress
		}
		if slices.ContainsFunc(rules, func(r dataplane.Rule) bool { return r.Index == u.Rule && r.Action != dataplane.Log }) {
			out[u.Direction] = true
		}
	}
	return out
}

// check sends a flow, and compares.
func (r *hnsRun) check(f Flow, want dataplane.Action) error {
	sides := r.sides(f)
	excused := false
	for _, s := range sides {
		s.end.port.Forget()
		if s.end.noIPv6 && f.Family() == 6 {
			want = dataplane.Deny
		}
		excused = excused || want == dataplane.Allow && s.end.excused[s.dir]
	}
	got, err := r.send(f, sides)
	switch {
	case err != nil:
		return err
	case got != want && !excused:
		return fmt.Errorf("the pods' lists say %s, want %s", got, want)
	case got != dataplane.Allow || excused || !expectsAnswer(f):
		return nil
	}
	slices.Reverse(sides)
	for _, s := range sides {
		if back := s.end.port.Pass(other(s.dir), s.tuple.reply()); back.Action != dataplane.Allow {
			return fmt.Errorf("the answer is denied at %s of node %s by %q", s.dir, s.end.node, back.ID)
		}
	}
	return nil
}

// lets tells whether a flow's first packet passes. What HNS might decide either way passes.
func (r *hnsRun) lets(f Flow) bool {
	sides := r.sides(f)
	for _, s := range sides {
		s.end.port.Forget()
	}
	got, err := r.send(f, sides)
	return got == dataplane.Allow || err != nil
}

// hnsSide is a packet at one end of its way.
type hnsSide struct {
	end   *hnsEnd
	dir   dataplane.Direction
	tuple Tuple
}

// sides are the ends that have lists. Each sees the packet as it is on its node, after its translation there (H20).
func (r *hnsRun) sides(f Flow) []hnsSide {
	var sides []hnsSide
	hops := r.c.Hops(f)
	if end := r.ends[f.From]; end != nil {
		sides = append(sides, hnsSide{end, dataplane.Egress, hops[0].Tuple})
	}
	if end := r.ends[f.To]; end != nil {
		sides = append(sides, hnsSide{end, dataplane.Ingress, hops[len(hops)-1].Tuple})
	}
	return sides
}

// send is the verdict of both ends. A packet between two that is not translated goes by Send; one of an endpoint to itself counts as seen by the
// switch, as through a service it is.
func (r *hnsRun) send(f Flow, sides []hnsSide) (dataplane.Action, error) {
	v := HNSVerdict{Action: dataplane.Allow}
	if len(sides) == 2 && sides[0].end != sides[1].end && !f.SentTo.IsValid() {
		from, to := sides[0].end, sides[1].end
		v = r.model.Send(HNSWay{From: from.port, To: to.port, SameNode: from.node == to.node}, f.Tuple)
		return v.Action, v.tie()
	}
	for _, s := range sides {
		way := HNSWay{From: s.end.port}
		if s.dir == dataplane.Ingress {
			way = HNSWay{To: s.end.port, FromHost: f.From == "node/"+string(s.end.node)}
		}
		if v = r.model.Send(way, s.tuple); v.Action != dataplane.Allow || v.tie() != nil {
			break
		}
	}
	return v.Action, v.tie()
}

func (v HNSVerdict) tie() error {
	if v.Out.Tie || v.In.Tie {
		return fmt.Errorf("HNS decides as it likes: out %+v, in %+v", v.Out, v.In)
	}
	return nil
}
