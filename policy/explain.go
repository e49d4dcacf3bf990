package policy

import (
	"encoding/json"
	"net/netip"

	"github.com/felid-net/felid/dataplane"
)

// Answer is what becomes of a flow: Allow when both sides allow, and the host endpoints that forward it. A side is nil whose endpoint the State
// does not hold, or that has no say: what a node and its own workloads send each other crosses no interface of the node.
type Answer struct {
	Verdict dataplane.Action
	Egress  *Verdict
	Ingress *Verdict
	Forward []Verdict // in the order of the way; nil where none does
	Staged  *Staged   // the same with the staged policies; nil where that was not asked
}

// Explain judges both sides of a flow, found by address.
func Explain(s *dataplane.State, f Flow) Answer {
	e := NewExplainer(s)
	return e.Between(e.EndpointAt(f.Src), e.EndpointAt(f.Dst), f)
}

// ExplainBetween judges the flow where it is known which endpoints it is between; see Explainer.Between.
func ExplainBetween(s *dataplane.State, from, to dataplane.EndpointID, f Flow) Answer {
	return NewExplainer(s).Between(from, to, f)
}

// Between judges the flow where it is known which endpoints it is between, so that a spoofed source can be asked about; "" for what is no
// endpoint. How it goes from node to node is taken from the nodes' addresses: nothing is known of encapsulation, nor of which interface of several
// it takes.
func (e *Explainer) Between(from, to dataplane.EndpointID, f Flow) Answer {
	w := e.way(from, to, f)
	a := Answer{Verdict: dataplane.Allow, Egress: w.egress(), Ingress: w.ingress(), Forward: w.forward()}
	for _, v := range a.Sides() {
		if v.Action != dataplane.Allow {
			a.Verdict = dataplane.Deny
		}
	}
	return a
}

// Sides are all that had a say: the source's side, those that forward, the destination's.
func (a *Answer) Sides() []*Verdict {
	var all []*Verdict
	if a.Egress != nil {
		all = append(all, a.Egress)
	}
	for i := range a.Forward {
		all = append(all, &a.Forward[i])
	}
	if a.Ingress != nil {
		all = append(all, a.Ingress)
	}
	return all
}

// EndpointAt is the endpoint with that address; see Explainer.EndpointAt.
func EndpointAt(s *dataplane.State, address netip.Addr) dataplane.EndpointID {
	return NewExplainer(s).EndpointAt(address)
}

// verdictJSON is the form that scripts read.
type verdictJSON struct {
	Endpoint  dataplane.EndpointID `json:"endpoint"`
	Direction string               `json:"direction,omitempty"` // of what is forwarded
	Verdict   string               `json:"verdict"`
	By        Decider              `json:"by"`
	Trace     []Step               `json:"trace"`
}

func (v *Verdict) json() verdictJSON {
	trace := v.Trace
	if trace == nil {
		trace = []Step{}
	}
	return verdictJSON{Endpoint: v.Endpoint, Verdict: v.Action.String(), By: v.By, Trace: trace}
}

// answerJSON is the form that scripts read.
type answerJSON struct {
	Verdict string        `json:"verdict"`
	Egress  *Verdict      `json:"egress"`
	Ingress *Verdict      `json:"ingress"`
	Forward []verdictJSON `json:"forward,omitempty"`
	Staged  *Staged       `json:"staged,omitempty"`
}

func (a *Answer) json() answerJSON {
	var forward []verdictJSON
	for i := range a.Forward {
		f := a.Forward[i].json()
		f.Direction = a.Forward[i].Direction.String()
		forward = append(forward, f)
	}
	return answerJSON{a.Verdict.String(), a.Egress, a.Ingress, forward, a.Staged}
}

// MarshalJSON writes "verdict", "egress" and "ingress", null where a side has no say, "forward" where there is any: as the sides, each with its
// "direction"; and "staged" where that was asked.
func (a Answer) MarshalJSON() ([]byte, error) { return json.Marshal(a.json()) }

// MarshalJSON writes "endpoint", "verdict", "by" and "trace".
func (v Verdict) MarshalJSON() ([]byte, error) { return json.Marshal(v.json()) }
