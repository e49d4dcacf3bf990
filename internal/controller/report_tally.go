package controller

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/felid-net/felid/api/v1alpha1"
	v3 "github.com/felid-net/felid/api/v3"
)

// policyKinds are the kinds of policy that nodes enforce.
var policyKinds = [...]v3.Kind{v3.KindNetworkPolicy, v3.KindGlobalNetworkPolicy, v3.KindKubernetesNetworkPolicy, v3.KindClusterNetworkPolicy}

// tally counts which nodes have which policies in force, from their reports. One report costs time in proportion to what it names, and a move in
// a list of all nodes; one count a search in that list: neither looks at all policies.
type tally struct {
	nodes map[string]*nodeState
	// order has all nodes that count, by how far they are with a kind, those furthest behind first.
	order map[v3.Kind][]reached
	// members are the nodes of the cluster; where it has none, all that report count.
	members int
	// failed are nodes that do not have a policy in force as they should, and why.
	failed map[v3.Key]map[string]string
	// unsupported are the rules that dataplanes can't express, with the number of nodes that say so.
	unsupported map[v3.Key]map[inexpressible]int
}

// nodeState is what is known of a node.
type nodeState struct {
	member bool
	report *v1alpha1.NodeReport // nil: none
	listed map[v3.Kind]uint64   // as in order; nil: not in it
}

type reached struct {
	revision uint64
	node     string
}

// inexpressible is a rule that a dataplane can't express.
type inexpressible struct {
	dataplane, direction string
	rule                 int
	reason               string
}

func newTally() *tally {
	return &tally{
		nodes: map[string]*nodeState{}, order: map[v3.Kind][]reached{},
		failed: map[v3.Key]map[string]string{}, unsupported: map[v3.Key]map[inexpressible]int{},
	}
}

func compareReached(a, b reached) int {
	return cmp.Or(cmp.Compare(a.revision, b.revision), strings.Compare(a.node, b.node))
}

// setMember takes a node of the cluster that came or went.
func (t *tally) setMember(name string, there bool) {
	n := t.node(name)
	if n.member == there {
		t.forget(name)
		return
	}
	n.member = there
	before := t.members
	if there {
		t.members++
	} else {
		t.members--
	}
	if before == 0 || t.members == 0 { // who counts has changed for all
		for other := range t.nodes {
			t.place(other)
		}
	} else {
		t.place(name)
	}
	t.forget(name)
}

// setReport takes a node's report, nil where it is gone, and returns the policies of which it names something else than the one before.
func (t *tally) setReport(name string, r *v1alpha1.NodeReport) []v3.Key {
	n := t.node(name)
	touched := map[v3.Key]struct{}{}
	before, after := namedIn(n.report), namedIn(r)
	for key, was := range before {
		if is, ok := after[key]; !ok || !was.equal(&is) {
			t.remove(name, key, &was)
			touched[key] = struct{}{}
		}
	}
	for key, is := range after {
		if was, ok := before[key]; !ok || !was.equal(&is) {
			t.add(name, key, &is)
			touched[key] = struct{}{}
		}
	}
	n.report = r
	t.place(name)
	t.forget(name)
	return slices.Collect(maps.Keys(touched))
}

func (t *tally) node(name string) *nodeState {
	n := t.nodes[name]
	if n == nil {
		n = &nodeState{}
		t.nodes[name] = n
	}
	return n
}

// forget drops a node of which nothing is known.
func (t *tally) forget(name string) {
	if n := t.nodes[name]; !n.member && n.report == nil {
		delete(t.nodes, name)
	}
}

// counts tells whether a node is one of those that policies are to be in force on.
func (t *tally) counts(n *nodeState) bool {
	return n.member || t.members == 0 && n.report != nil
}

// place puts a node where it belongs in the lists.
func (t *tally) place(name string) {
	n := t.nodes[name]
	var now map[v3.Kind]uint64
	if t.counts(n) {
		now = appliedIn(n.report)
	}
	for _, kind := range policyKinds {
		list := t.order[kind]
		if n.listed != nil && (now == nil || n.listed[kind] != now[kind]) {
			i, _ := slices.BinarySearchFunc(list, reached{n.listed[kind], name}, compareReached)
			list = slices.Delete(list, i, i+1)
		}
		if now != nil && (n.listed == nil || n.listed[kind] != now[kind]) {
			i, _ := slices.BinarySearchFunc(list, reached{now[kind], name}, compareReached)
			list = slices.Insert(list, i, reached{now[kind], name})
		}
		t.order[kind] = list
	}
	n.listed = now
}

// appliedIn is how far a node is with each kind, by its report: nowhere without one, and where any policy may have failed. It is not nil.
func appliedIn(r *v1alpha1.NodeReport) map[v3.Kind]uint64 {
	out := map[v3.Kind]uint64{}
	if r == nil || slices.ContainsFunc(r.Status.Failed, func(f v1alpha1.FailedObject) bool { return f.AllPolicies }) {
		return out
	}
	for _, a := range r.Status.Applied {
		if revision, err := strconv.ParseUint(a.Revision, 10, 64); err == nil {
			out[v3.Kind(a.Kind)] = revision
		}
	}
	return out
}

// said is what a report says of one policy.
type said struct {
	failed      string // "": it is in force
	unsupported []inexpressible
}

func (s *said) equal(o *said) bool {
	return s.failed == o.failed && slices.Equal(s.unsupported, o.unsupported)
}

// namedIn are the policies that a report names.
func namedIn(r *v1alpha1.NodeReport) map[v3.Key]said {
	if r == nil || len(r.Status.Failed)+len(r.Status.Unsupported) == 0 {
		return nil
	}
	out := map[v3.Key]said{}
	for i := range r.Status.Failed {
		f := &r.Status.Failed[i]
		for _, p := range f.Policies {
			s := out[keyOfReference(p)]
			if s.failed == "" {
				s.failed = f.Object + ": " + f.Message
			}
			out[keyOfReference(p)] = s
		}
	}
	for i := range r.Status.Unsupported {
		u := &r.Status.Unsupported[i]
		s := out[keyOfReference(u.Policy)]
		s.unsupported = append(s.unsupported, inexpressible{r.Status.Dataplane, u.Direction, u.Rule, u.Reason})
		out[keyOfReference(u.Policy)] = s
	}
	return out
}

func keyOfReference(p v1alpha1.PolicyReference) v3.Key {
	return v3.Key{Kind: v3.Kind(p.Kind), Namespace: p.Namespace, Name: p.Name}
}

func (t *tally) add(node string, key v3.Key, s *said) {
	if s.failed != "" {
		if t.failed[key] == nil {
			t.failed[key] = map[string]string{}
		}
		t.failed[key][node] = s.failed
	}
	for _, u := range s.unsupported {
		if t.unsupported[key] == nil {
			t.unsupported[key] = map[inexpressible]int{}
		}
		t.unsupported[key][u]++
	}
}

func (t *tally) remove(node string, key v3.Key, s *said) {
	delete(t.failed[key], node)
	if len(t.failed[key]) == 0 {
		delete(t.failed, key)
	}
	for _, u := range s.unsupported {
		if t.unsupported[key][u]--; t.unsupported[key][u] == 0 {
			delete(t.unsupported[key], u)
		}
	}
	if len(t.unsupported[key]) == 0 {
		delete(t.unsupported, key)
	}
}

// silent counts the nodes of the cluster that have no report.
func (t *tally) silent() int {
	n := 0
	for _, node := range t.nodes {
		if node.member && node.report == nil {
			n++
		}
	}
	return n
}

// maxNodesNamed is how many nodes a message names.
const maxNodesNamed = 3

// count is on how many nodes a policy is in force.
type count struct {
	programmed, all int
	behind          []string // some nodes that have not applied it, those furthest behind first
	behindCount     int
	failed          []string // some nodes where it failed, with the reason
	failedCount     int
}

// count says on which nodes a policy is in force that is to be applied from a revision of its kind on; 0: all are that far.
func (t *tally) count(key v3.Key, revision uint64) count {
	list := t.order[key.Kind]
	first := 0
	if revision > 0 {
		first, _ = slices.BinarySearchFunc(list, reached{revision, ""}, compareReached)
	}
	c := count{all: len(list), behindCount: first}
	for _, r := range list[:min(first, maxNodesNamed)] {
		c.behind = append(c.behind, r.node)
	}
	for _, node := range slices.Sorted(maps.Keys(t.failed[key])) {
		n := t.nodes[node]
		if n.listed == nil || n.listed[key.Kind] < revision {
			continue // does not count, or is counted as behind
		}
		if c.failedCount++; c.failedCount <= maxNodesNamed {
			c.failed = append(c.failed, node+": "+t.failed[key][node])
		}
	}
	c.programmed = c.all - c.behindCount - c.failedCount
	return c
}

// inexpressibleOf are the rules of a policy that some dataplane can't express, sorted.
func (t *tally) inexpressibleOf(key v3.Key) []inexpressible {
	return slices.SortedFunc(maps.Keys(t.unsupported[key]), func(a, b inexpressible) int {
		return cmp.Or(strings.Compare(a.direction, b.direction), cmp.Compare(a.rule, b.rule), strings.Compare(a.dataplane, b.dataplane),
			strings.Compare(a.reason, b.reason))
	})
}
