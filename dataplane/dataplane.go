package dataplane

import (
	"context"
	"net/netip"
)

// Dataplane makes one host enforce and route what the state says.
type Dataplane interface {
	// Apply makes the host match s. changes names what moved since the last Apply that returned a nil error; nil changes mean
	// "compare everything", as does the call after an error. Idempotent. An object that can't be applied is named in Result,
	// remembered and retried by the driver at the next Apply, and does not hold up the others. The driver keeps no part of s
	// after it returns. An error means that nothing can be said of the host (no iptables, no permission).
	Apply(ctx context.Context, s *State, changes *Changes) (Result, error)
	// Close leaves the rules in place.
	Close() error
}

// Changes names what moved since the last Apply. What is named and absent from the State is gone.
type Changes struct {
	Endpoints map[EndpointID]struct{}
	Policies  map[PolicyID]struct{}
	// IPSets: a nil delta means that the set is new, gone, or to be compared as a whole.
	IPSets map[IPSetID]*SetDelta
	Nodes  map[NodeName]struct{}
	Routes map[netip.Prefix]struct{}
	VTEPs  map[NodeName]struct{}
	NAT    bool
	Host   bool
}

// NewChanges is a Changes with empty, writable maps.
func NewChanges() *Changes {
	return &Changes{
		Endpoints: map[EndpointID]struct{}{},
		Policies:  map[PolicyID]struct{}{},
		IPSets:    map[IPSetID]*SetDelta{},
		Nodes:     map[NodeName]struct{}{},
		Routes:    map[netip.Prefix]struct{}{},
		VTEPs:     map[NodeName]struct{}{},
	}
}

// Empty tells whether nothing moved.
func (c *Changes) Empty() bool {
	return len(c.Endpoints)+len(c.Policies)+len(c.IPSets)+len(c.Nodes)+len(c.Routes)+len(c.VTEPs) == 0 && !c.NAT && !c.Host
}

// SetDelta is how the members of a set moved; no member is in both.
type SetDelta struct {
	Added, Removed []Member
}

// Result of an Apply: what does not hold on the host, though the State says so. All empty: everything is in force.
type Result struct {
	// Endpoints that are not enforced as the State says (they are dropped, or an older state holds): their own chains, or a policy or set that
	// they use, failed.
	Endpoints map[EndpointID]error
	Policies  map[PolicyID]error
	// Others are tables, sets, routes, devices, by a name for people.
	Others map[string]error
	// Unsupported are rules that this dataplane can't express: what it did instead is in Reason. They are not failures.
	Unsupported []Unsupported
	Stats       Stats
}

// Failed tells whether anything is to be retried.
func (r *Result) Failed() bool {
	return len(r.Endpoints)+len(r.Policies)+len(r.Others) > 0
}

// Unsupported names a rule that a dataplane can't express exactly.
type Unsupported struct {
	Policy    PolicyID
	Direction Direction
	Rule      int
	Reason    string // "Log is not available in HNS: no effect"
}

// Stats are counted by the driver, for metrics: what it holds now, and what it has done since it was opened.
type Stats struct {
	Chains, Rules, Sets, Members int
	Writes                       int // calls that changed the kernel
	Repairs                      int // objects that had drifted and were put right
}
