package policy

import (
	"maps"
	"slices"
	"strings"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
)

// RulePeers are those that the selectors of one rule match, on each side: endpoints by their ids, "networkset/NS/NAME",
// "globalnetworkset/NAME", "node/NAME", and for services whose addresses are no endpoint's, addresses. Sorted; nil where no selector narrows the
// side, which nets and ports may do besides.
type RulePeers struct {
	Direction           dataplane.Direction
	Rule                int // from 0, as written
	Source, Destination []string
	// NotSource and NotDestination are those that a notSelector matches, and so excludes.
	NotSource, NotDestination []string
}

// PeersOf is what the selectors of the rules of a policy match among the objects of all nodes, whether or not it selects anything itself. Rules
// that have no selector, or that can't be read, are left out. It is nil for what is no policy.
func PeersOf(objects []v3.Object, policy v3.Object) []RulePeers {
	p := newPolicy(policy, &reader{key: v3.KeyOf(policy)})
	if p == nil {
		return nil
	}
	w := newWorld(Options{})
	for _, o := range objects {
		w.read(o)
	}
	c := compilePolicy(p)
	return append(w.rulePeers(c, dataplane.Ingress, c.policy.Ingress), w.rulePeers(c, dataplane.Egress, c.policy.Egress)...)
}

func (w *world) rulePeers(c *compiled, dir dataplane.Direction, rules []dataplane.Rule) []RulePeers {
	var out []RulePeers
	for _, r := range rules {
		one := RulePeers{Direction: dir, Rule: r.Index}
		one.Source, one.NotSource = w.sidePeers(c, &r.Src)
		one.Destination, one.NotDestination = w.sidePeers(c, &r.Dst)
		if last := len(out) - 1; last >= 0 && out[last].Rule == r.Index {
			out[last].join(&one)
			continue
		}
		out = append(out, one)
	}
	return slices.DeleteFunc(out, func(r RulePeers) bool {
		return r.Source == nil && r.Destination == nil && r.NotSource == nil && r.NotDestination == nil
	})
}

// join adds another part of the same rule: a side that one part leaves open is open.
func (r *RulePeers) join(part *RulePeers) {
	union := func(a, b []string) []string {
		if a == nil || b == nil {
			return nil
		}
		return sortedUnion(a, b)
	}
	r.Source, r.Destination = union(r.Source, part.Source), union(r.Destination, part.Destination)
	r.NotSource, r.NotDestination = union(r.NotSource, part.NotSource), union(r.NotDestination, part.NotDestination)
}

func sortedUnion(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// sidePeers are in each of the sets of a side, and in one of those that it excludes.
func (w *world) sidePeers(c *compiled, s *dataplane.Side) (matched, excluded []string) {
	for _, id := range slices.Concat(s.IPSets, s.PortSets) {
		spec := c.sets[id]
		if spec.portName != "" {
			continue // it is about ports
		}
		found := w.membersOf(spec)
		if matched != nil {
			found = slices.DeleteFunc(found, func(name string) bool { return !slices.Contains(matched, name) })
		}
		matched = found
	}
	for _, id := range s.NotIPSets {
		excluded = sortedUnion(excluded, w.membersOf(c.sets[id]))
	}
	return matched, excluded
}

// membersOf are those that contribute to a set; never nil.
func (w *world) membersOf(spec *setSpec) []string {
	names := map[string]struct{}{}
	for name, node := range w.state.Nodes {
		spec.contributeNode(w.nodeLabels[name], node, func(dataplane.Member) { names["node/"+string(name)] = struct{}{} })
	}
	svc := w.services[spec.service]
	if sel := spec.peers(svc); sel != nil {
		for _, p := range w.peers {
			if sel.Evaluate(p) && (svc == nil || !p.isSet) {
				names[p.name()] = struct{}{}
			}
		}
	}
	if svc != nil {
		spec.standing(svc, func(m dataplane.Member) {
			for _, name := range w.namesAt(m) {
				names[name] = struct{}{}
			}
		})
	}
	sorted := slices.AppendSeq(make([]string, 0, len(names)), maps.Keys(names))
	slices.Sort(sorted)
	return sorted
}

// namesAt are the endpoints with an address, or the address.
func (w *world) namesAt(m dataplane.Member) []string {
	var names []string
	for _, p := range w.peers {
		if !p.isSet && slices.Contains(p.nets, m.Prefix) {
			names = append(names, p.name())
		}
	}
	if names == nil {
		return []string{m.Prefix.Addr().String()}
	}
	return names
}

// name is the id of an endpoint, or the kind and name of a network set.
func (p *peer) name() string {
	if p.endpoint != nil {
		return string(p.endpoint.ID)
	}
	kind := strings.ToLower(string(p.key.Kind))
	return kind + "/" + strings.TrimPrefix(p.key.Namespace+"/"+p.key.Name, "/")
}
