package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/flatten"
	"github.com/felid-net/felid/policy"
)

// remedy is the least change of policy that turns the verdict on a connection.
type remedy struct {
	// Verdict is what it becomes.
	Verdict string `json:"verdict"`
	// Objects are to be applied: new ones, or policies with one rule more.
	Objects []json.RawMessage `json:"objects"`
	// Exact: by diff, this connection opens or closes and nothing else. Where it is false, Effect has what else does.
	Exact  bool        `json:"exact"`
	Effect *diffAnswer `json:"effect"` // all that opens and closes
	// Problem is why no policy of ours turns it; then there are no objects.
	Problem string `json:"problem,omitempty"`

	objects []v3.Object
}

// explained is what explain --fix -o json prints: an answer, and the remedy.
type explained struct {
	Verdict string           `json:"verdict"`
	Egress  *policy.Verdict  `json:"egress"`
	Ingress *policy.Verdict  `json:"ingress"`
	Forward []policy.Verdict `json:"forward,omitempty"`
	Fix     *remedy          `json:"fix"`
}

// remedy looks for policies that turn the verdict, from those that say what they mean by labels to those that say it by addresses, and takes
// the first by which nothing else changes.
func (c *connection) remedy(answer policy.Answer) (*remedy, error) {
	turned := dataplane.Allow
	if answer.Verdict == dataplane.Allow {
		turned = dataplane.Deny
	}
	r := &remedy{Verdict: turned.String(), Objects: []json.RawMessage{}}
	sides, problem := c.sidesToTurn(answer, turned)
	if r.Problem = problem; problem != "" {
		return r, nil
	}
	best := c.trial(turned)
	for _, plan := range plans(len(sides)) {
		if objects := worded(sides, plan); objects != nil && best.try(objects) {
			break
		}
	}
	if best.objects == nil {
		r.Problem = "no policy was found that turns it"
		return r, nil
	}
	r.Exact, r.objects = best.excess == 0, best.objects
	r.Effect = newDiffAnswer(best.delta)
	for _, o := range r.objects {
		data, err := v3.Encode(o)
		if err != nil {
			return nil, err
		}
		r.Objects = append(r.Objects, data)
	}
	return r, nil
}

// worded are the policies of all sides; nil where one of them can't be said so.
func worded(sides []*turn, plan []wording) []v3.Object {
	var out []v3.Object
	for i, s := range sides {
		its := s.policies(plan[i], out)
		if len(its) == 0 {
			return nil
		}
		out = slices.DeleteFunc(out, func(o v3.Object) bool { return v3.KeyOf(o) == v3.KeyOf(its[0]) }) // which its has in it
		out = append(out, its...)
	}
	return out
}

// plans are the ways to combine what each of n sides may say, the plainest first.
func plans(n int) [][]wording {
	var out [][]wording
	for w := byLabels; w <= inPlace; w++ {
		if n == 1 {
			out = append(out, []wording{w})
			continue
		}
		for v := byLabels; v <= inPlace; v++ {
			out = append(out, []wording{w, v})
		}
	}
	slices.SortStableFunc(out, func(a, b []wording) int { return sum(a) - sum(b) })
	return out
}

func sum(plan []wording) int {
	n := 0
	for _, w := range plan {
		n += int(w)
	}
	return n
}

// sidesToTurn are the sides that have to say something else, or why that is not for policies on pods.
func (c *connection) sidesToTurn(answer policy.Answer, turned dataplane.Action) ([]*turn, string) {
	var out []*turn
	for _, side := range []struct {
		dir     dataplane.Direction
		verdict *policy.Verdict
	}{{dataplane.Ingress, answer.Ingress}, {dataplane.Egress, answer.Egress}} {
		v := side.verdict
		if v == nil || v.Action == turned {
			continue
		}
		problem := unturnable(c.cluster.state, v)
		if problem == "" {
			t, err := c.turn(side.dir, v, turned)
			if err == nil {
				out = append(out, t)
				continue
			}
			problem = err.Error()
		}
		if turned == dataplane.Allow {
			return nil, problem
		}
	}
	for _, v := range answer.Forward {
		if turned == dataplane.Allow && v.Action != turned {
			return nil, fmt.Sprintf("%s denies what it forwards: its policy is to be changed, which --fix does not propose", v.Endpoint)
		}
	}
	switch {
	case len(out) == 0:
		return nil, "neither end is a pod whose policy decides it"
	case turned == dataplane.Deny:
		return out[:1], "" // one side is enough
	}
	return out, ""
}

// unturnable is why no policy of a pod decides what a side said; "" where one may.
func unturnable(s *dataplane.State, v *policy.Verdict) string {
	if e := s.Endpoints[v.Endpoint]; e.Host != nil {
		return fmt.Sprintf("%s decides it, and --fix proposes policy for pods alone", v.Endpoint)
	}
	switch v.By.Reason {
	case policy.ReasonRule, policy.ReasonEndOfTier, policy.ReasonNoProfile:
		return ""
	}
	return fmt.Sprintf("%s: no policy decides it (%s)", v.Endpoint, v.By.Reason)
}

// trial tries objects out, and keeps what changes least besides the connection.
type trial struct {
	conn     *connection
	turned   dataplane.Action
	resolver *policy.Resolver
	before   *dataplane.State
	target   flatten.Match // the connection

	objects []v3.Object
	delta   flatten.Delta
	excess  int // matches that change besides
}

func (c *connection) trial(turned dataplane.Action) *trial {
	return &trial{conn: c, turned: turned, resolver: newResolver(c.cluster.objects), before: c.cluster.state, target: c.target()}
}

// target is the connection as a match.
func (c *connection) target() flatten.Match {
	f := c.flow
	m := flatten.Match{
		Protocols: flatten.ProtocolsOf(f.Protocol), Src: flatten.AddrsOfSingles(f.Src), Dst: flatten.AddrsOfSingles(f.Dst),
	}
	one := func(port uint16) flatten.Ports { return flatten.PortsOf(dataplane.PortRange{Min: port, Max: port}) }
	if f.SrcPort != 0 {
		m.SrcPorts = one(f.SrcPort)
	}
	switch {
	case f.ICMPType >= 0:
		m.DstPorts = one(flatten.ICMPPort(uint8(f.ICMPType), uint8(f.ICMPCode)))
	case hasPorts(f.Protocol):
		m.DstPorts = one(f.DstPort)
	}
	return m
}

// try tells whether the objects turn the connection and nothing else. Those that change least besides are kept.
func (t *trial) try(objects []v3.Object) bool {
	for _, o := range objects {
		t.resolver.Update(v3.KeyOf(o), o)
	}
	after, _ := t.resolver.Flush()
	if policy.ExplainBetween(after, t.conn.from, t.conn.to, t.conn.flow).Verdict == t.turned {
		delta := flatten.Diff(t.before, after)
		wanted, other := delta.Opens, delta.Closes
		if t.turned == dataplane.Deny {
			wanted, other = other, wanted
		}
		excess := len(other)
		for _, m := range wanted {
			excess += len(m.Minus(t.target))
		}
		if t.objects == nil || excess < t.excess {
			t.objects, t.delta, t.excess = objects, delta, excess
		}
	}
	for _, o := range objects {
		t.resolver.Update(v3.KeyOf(o), t.original(v3.KeyOf(o)))
	}
	return t.objects != nil && t.excess == 0
}

// original is what is there by a key; nil for nothing.
func (t *trial) original(key v3.Key) v3.Object {
	for _, o := range t.conn.cluster.objects {
		if v3.KeyOf(o) == key {
			return o
		}
	}
	return nil
}

// printRemedy prints the answer and what turns it; the status is 1 where nothing does.
func (c *connection) printRemedy(w io.Writer, output string, args *flowArgs, answer policy.Answer) error {
	r, err := c.remedy(answer)
	if err != nil {
		return err
	}
	if output == "json" {
		err = printJSON(w, explained{answer.Verdict.String(), answer.Egress, answer.Ingress, answer.Forward, r})
	} else {
		var text strings.Builder
		printAnswer(&text, args, c, answer)
		err = r.print(w, text.String())
	}
	if err == nil && r.Problem != "" {
		return &exitError{exitNo, nil}
	}
	return err
}

// print writes YAML to apply; all else is comment.
func (r *remedy) print(w io.Writer, answer string) error {
	comment(w, answer)
	if r.Problem != "" {
		comment(w, "No policy is proposed: "+r.Problem+".")
		return nil
	}
	verb := map[string]string{"Allow": "opens", "Deny": "closes"}[r.Verdict]
	var text strings.Builder
	if r.Exact {
		fmt.Fprintf(&text, "Proposed: %s exactly this connection, and by diff nothing else.\n", verb)
	} else {
		fmt.Fprintf(&text, "Proposed, though it does not change this connection alone; nothing was found that does. By diff:\n")
		printDiff(&text, r.Effect)
	}
	comment(w, text.String())
	doc, err := (&fix{Objects: r.Objects}).yaml()
	if err == nil {
		_, err = io.WriteString(w, doc)
	}
	return err
}
