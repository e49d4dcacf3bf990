package policy

import (
	"encoding/json"
	"net/netip"
	"slices"

	"github.com/felid-net/felid/dataplane"
)

// Answer is what becomes of a flow: Allow when both sides allow. A side whose endpoint the State does not hold is nil.
type Answer struct {
	Verdict dataplane.Action
	Egress  *Verdict
	Ingress *Verdict
}

// Explain judges both sides of a flow, found by address.
func Explain(s *dataplane.State, f Flow) Answer {
	return ExplainBetween(s, EndpointAt(s, f.Src), EndpointAt(s, f.Dst), f)
}

// ExplainBetween judges the flow where it is known which endpoints it is between, so that a spoofed source can be asked about; "" for
// what is no endpoint.
func ExplainBetween(s *dataplane.State, from, to dataplane.EndpointID, f Flow) Answer {
	a := Answer{Verdict: dataplane.Allow}
	judge := func(id dataplane.EndpointID, dir dataplane.Direction) *Verdict {
		if s.Endpoints[id] == nil {
			return nil
		}
		v := Evaluate(s, id, dir, f)
		if v.Action != dataplane.Allow {
			a.Verdict = dataplane.Deny
		}
		return &v
	}
	a.Egress, a.Ingress = judge(from, dataplane.Egress), judge(to, dataplane.Ingress)
	return a
}

// EndpointAt is the endpoint with that address, the first by id where several have it; "" for none.
func EndpointAt(s *dataplane.State, address netip.Addr) dataplane.EndpointID {
	var first dataplane.EndpointID
	for id, ep := range s.Endpoints {
		if slices.Contains(ep.Addresses, address) && (first == "" || id < first) {
			first = id
		}
	}
	return first
}

// MarshalJSON writes "verdict", "egress" and "ingress", null where a side is no endpoint of the State.
func (a Answer) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Verdict string   `json:"verdict"`
		Egress  *Verdict `json:"egress"`
		Ingress *Verdict `json:"ingress"`
	}{a.Verdict.String(), a.Egress, a.Ingress})
}

// MarshalJSON writes "endpoint", "verdict", "by" and "trace".
func (v Verdict) MarshalJSON() ([]byte, error) {
	trace := v.Trace
	if trace == nil {
		trace = []Step{}
	}
	return json.Marshal(struct {
		Endpoint dataplane.EndpointID `json:"endpoint"`
		Verdict  string               `json:"verdict"`
		By       Decider              `json:"by"`
		Trace    []Step               `json:"trace"`
	}{v.Endpoint, v.Action.String(), v.By, trace})
}
