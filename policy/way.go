package policy

import (
	"net/netip"
	"slices"

	"github.com/felid-net/felid/dataplane"
)

// way is how a flow goes from node to node, as far as the State tells.
type way struct {
	*Explainer
	flow     Flow
	from, to dataplane.EndpointID // "" for what is no endpoint
	// path is the nodes that the flow is on, in order, the first and last where its ends are; "" for an end that is on no node.
	path []dataplane.NodeName
	// sentFrom and meant tell whether the ends are nodes themselves, not their workloads.
	sentFrom, meant bool
}

func (e *Explainer) way(from, to dataplane.EndpointID, f Flow) *way {
	w := &way{Explainer: e, flow: f, from: from, to: to}
	source, isHost := w.place(from, f.Src)
	w.sentFrom = isHost
	w.path = []dataplane.NodeName{source}
	if f.SentTo.IsValid() {
		if at := e.nodeAt(f.SentTo.Addr()); at != "" {
			w.visit(at)
		}
	}
	destination, isHost := w.place(to, f.Dst)
	w.meant = isHost
	w.visit(destination)
	return w
}

// visit goes on to a node, or out of the cluster.
func (w *way) visit(n dataplane.NodeName) {
	if last := w.path[len(w.path)-1]; n == "" || n != last {
		w.path = append(w.path, n)
	}
}

// place is the node that an end is on, and whether it is the node itself.
func (w *way) place(id dataplane.EndpointID, address netip.Addr) (node dataplane.NodeName, isHost bool) {
	if ep := w.state.Endpoints[id]; ep != nil {
		return ep.Node, ep.Host != nil
	}
	node = w.nodeAt(address)
	return node, node != ""
}

// within tells that the flow never leaves the node where it begins.
func (w *way) within() bool { return len(w.path) == 1 }

// egress is what the source's own endpoint says; nil where it has none, or where none is crossed.
func (w *way) egress() *Verdict {
	if w.state.Endpoints[w.from] == nil || w.sentFrom && w.within() {
		return nil
	}
	v := Evaluate(w.state, w.from, dataplane.Egress, w.flow)
	return &v
}

// ingress is what the destination's own endpoint says; nil where it has none, or where none is crossed.
func (w *way) ingress() *Verdict {
	var v Verdict
	switch {
	case w.meant && w.within():
		host := w.fromOwnWorkload()
		if host == "" {
			return nil
		}
		v = EvaluateFromWorkload(w.state, host, w.flow)
	case w.state.Endpoints[w.to] == nil:
		return nil
	default:
		v = Evaluate(w.state, w.to, dataplane.Ingress, w.flow)
	}
	return &v
}

// fromOwnWorkload is the host endpoint that a workload's packets to its own host are for; "" for none.
func (w *way) fromOwnWorkload() dataplane.EndpointID {
	if w.sentFrom || w.state.Host.WorkloadToHost != dataplane.Pass {
		return ""
	}
	return w.hostEndpointOfAll(w.path[0])
}

// forward is what the host endpoints say that forward the flow, in order.
func (w *way) forward() []Verdict {
	var out []Verdict
	judge := func(id dataplane.EndpointID, dir dataplane.Direction) {
		if id != "" {
			out = append(out, EvaluateForward(w.state, id, dir, w.flow))
		}
	}
	last := len(w.path) - 1
	for i, n := range w.path {
		if n == "" || w.within() {
			continue
		}
		if i > 0 && !(i == last && w.meant) {
			judge(w.entrance(n), dataplane.Ingress)
		}
		if i < last && !(i == 0 && w.sentFrom) {
			judge(w.HostEndpointAt(n, addressesOf(w.state, n)...), dataplane.Egress)
		}
	}
	return out
}

// entrance is the host endpoint by which the flow comes to a node that forwards it: that with the address that it was sent to, where that is an
// address of the node.
func (w *way) entrance(n dataplane.NodeName) dataplane.EndpointID {
	if addresses := addressesOf(w.state, n); slices.Contains(addresses, w.flow.SentTo.Addr()) {
		return w.HostEndpointAt(n, w.flow.SentTo.Addr())
	}
	return w.HostEndpointAt(n, addressesOf(w.state, n)...)
}

func addressesOf(s *dataplane.State, n dataplane.NodeName) []netip.Addr {
	if node := s.Nodes[n]; node != nil {
		return node.Addresses
	}
	return nil
}
