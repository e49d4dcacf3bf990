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
	// translated is the index in path of the node that makes the destination of what it was sent to: those before it see nothing else than that, and
	// those after it nothing of it.
	translated int
	// sentFrom and meant tell whether the ends are nodes themselves, not their workloads.
	sentFrom, meant bool
}

func (e *Explainer) way(from, to dataplane.EndpointID, f Flow) *way {
	w := &way{Explainer: e, flow: f, from: from, to: to}
	source, isHost := w.place(from, f.Src)
	w.sentFrom = isHost
	w.path = []dataplane.NodeName{source}
	at := dataplane.NodeName("")
	if f.SentTo.IsValid() {
		at = e.nodeAt(f.SentTo.Addr())
	}
	if at != "" {
		w.visit(at)
		w.translated = len(w.path) - 1
	}
	destination, isHost := w.place(to, f.Dst)
	w.meant = isHost
	w.visit(destination)
	if at == "" && source == "" {
		w.translated = len(w.path) - 1 // an address of no node, such as a service's, is made another by the first node that it comes to
	}
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

// flowAt is the flow as the node of an index in path sees it.
func (w *way) flowAt(i int) Flow {
	f := w.flow
	switch {
	case !f.SentTo.IsValid():
	case i < w.translated:
		f.Dst, f.DstPort, f.SentTo = f.SentTo.Addr(), f.SentTo.Port(), netip.AddrPort{}
	case i > w.translated:
		f.SentTo = netip.AddrPort{}
	}
	return f
}

// within tells that the flow never leaves the node where it begins.
func (w *way) within() bool { return len(w.path) == 1 }

// egress is what the source's own endpoint says; nil where it has none, or where none is crossed.
func (w *way) egress() *Verdict {
	if w.state.Endpoints[w.from] == nil || w.sentFrom && w.within() {
		return nil
	}
	v := Evaluate(w.state, w.from, dataplane.Egress, w.flowAt(0))
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
		v = EvaluateFromWorkload(w.state, host, w.flowAt(len(w.path)-1))
	case w.state.Endpoints[w.to] == nil:
		return nil
	default:
		v = Evaluate(w.state, w.to, dataplane.Ingress, w.flowAt(len(w.path)-1))
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
	last := len(w.path) - 1
	for i, n := range w.path {
		judge := func(id dataplane.EndpointID, dir dataplane.Direction) {
			if id != "" {
				out = append(out, EvaluateForward(w.state, id, dir, w.flowAt(i)))
			}
		}
		if n == "" || w.within() {
			continue
		}
		if i > 0 && !(i == last && w.meant) {
			judge(w.entrance(i), dataplane.Ingress)
		}
		if i < last && !(i == 0 && w.sentFrom) {
			judge(w.HostEndpointAt(n, addressesOf(w.state, n)...), dataplane.Egress)
		}
	}
	return out
}

// entrance is the host endpoint by which the flow comes to a node that forwards it: that with the address that it was sent to, where that is an
// address of the node.
func (w *way) entrance(i int) dataplane.EndpointID {
	n, sentTo := w.path[i], w.flowAt(i).SentTo.Addr()
	addresses := addressesOf(w.state, n)
	if slices.Contains(addresses, sentTo) {
		return w.HostEndpointAt(n, sentTo)
	}
	return w.HostEndpointAt(n, addresses...)
}

func addressesOf(s *dataplane.State, n dataplane.NodeName) []netip.Addr {
	if node := s.Nodes[n]; node != nil {
		return node.Addresses
	}
	return nil
}
