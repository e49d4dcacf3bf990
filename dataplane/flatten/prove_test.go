package flatten_test

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/dptest"
	"github.com/felid-net/felid/dataplane/flatten"
	"github.com/felid-net/felid/policy"
	"github.com/felid-net/felid/test/bench/workload"
)

// workloadAt is the workload with that address; "" for none.
func workloadAt(s *dataplane.State, a netip.Addr) dataplane.EndpointID {
	id := policy.EndpointAt(s, a)
	if e := s.Endpoints[id]; e == nil || e.Host != nil {
		return ""
	}
	return id
}

// allows is what workloads' policy says of a flow.
func allows(s *dataplane.State, from, to dataplane.EndpointID, f policy.Flow) bool {
	return (from == "" || policy.Evaluate(s, from, dataplane.Egress, f).Action == dataplane.Allow) &&
		(to == "" || policy.Evaluate(s, to, dataplane.Ingress, f).Action == dataplane.Allow)
}

// drawEnd is some of the workloads, or what some nets have.
func drawEnd(rng *rand.Rand, s *dataplane.State) flatten.End {
	e := flatten.End{Nets: flatten.AddrsOf()}
	switch rng.IntN(4) {
	case 0:
		nets := []string{"0.0.0.0/0", "::/0", "192.0.2.0/24", "10.0.0.0/8", "203.0.113.1/32", "2001:db8::/32"}
		e.Nets = flatten.AddrsOf(netip.MustParsePrefix(nets[rng.IntN(len(nets))]), netip.MustParsePrefix(nets[rng.IntN(len(nets))]))
	default:
		for id, w := range s.Endpoints {
			if w.Host == nil && rng.IntN(3) == 0 {
				e.Endpoints = append(e.Endpoints, id)
			}
		}
		slices.Sort(e.Endpoints)
	}
	return e
}

func drawWithin(rng *rand.Rand) []flatten.Match {
	port := func(p uint16) flatten.Ports { return flatten.PortsOf(dataplane.PortRange{Min: p, Max: p}) }
	switch rng.IntN(4) {
	case 0:
		return []flatten.Match{{Protocols: flatten.ProtocolsOf(6), DstPorts: port(80)}}
	case 1:
		return []flatten.Match{{Protocols: flatten.ProtocolsOf(17), DstPorts: flatten.PortsOf(dataplane.PortRange{Min: 53, Max: 443}), SrcPorts: port(40000)}}
	case 2:
		return []flatten.Match{{Protocols: flatten.ProtocolsOf(1), Src: flatten.Family(4)}, {Protocols: flatten.ProtocolsOf(58), Src: flatten.Family(6)}}
	}
	return []flatten.Match{{}}
}

func (e *end) has(id dataplane.EndpointID, a netip.Addr) bool {
	return slices.Contains(e.Endpoints, id) || e.Nets.Contains(a)
}

type end flatten.End

// flowOf is a packet as policy judges it.
func flowOf(p flatten.Packet) policy.Flow {
	f := policy.Flow{Src: p.Src, Dst: p.Dst, Protocol: p.Protocol, ICMPType: -1, ICMPCode: -1}
	switch p.Protocol {
	case 6, 17, 132, 136:
		f.SrcPort, f.DstPort = p.SrcPort, p.DstPort
	case 1, 58:
		f.ICMPType, f.ICMPCode = int16(p.DstPort>>8), int16(p.DstPort&255)
	}
	return f
}

// TestProve compares with the verdicts on each side, flow by flow: what breaks a claim is found, and what is found breaks it.
func TestProve(t *testing.T) {
	seeds := uint64(60)
	if testing.Short() {
		seeds = 10
	}
	held, broken, vacuous := 0, 0, 0
	for seed := range seeds {
		rng := rand.New(rand.NewPCG(seed, 3))
		s := resolve(dptest.Random(seed).Objects)
		flows := flowsOf(s)
		for range 12 {
			c := flatten.Claim{From: drawEnd(rng, s), To: drawEnd(rng, s), Within: drawWithin(rng), Want: []dataplane.Action{dataplane.Allow, dataplane.Deny}[rng.IntN(2)]}
			counter, none := flatten.Prove(s, c)
			breaks := func(from, to dataplane.EndpointID, f policy.Flow) (about, broken bool) {
				a, b := end(c.From), end(c.To)
				about = from != to && a.has(from, f.Src) && b.has(to, f.Dst) && has(c.Within, f)
				return about, about && allows(s, from, to, f) != (c.Want == dataplane.Allow)
			}
			if counter != nil {
				broken++
				if _, does := breaks(counter.From, counter.To, flowOf(counter.Packet)); !does {
					t.Fatalf("seed %d: %+v is said to break %+v", seed, counter, c)
				}
				continue
			}
			about := false
			for _, f := range flows {
				is, does := breaks(workloadAt(s, f.Src), workloadAt(s, f.Dst), f)
				about = about || is
				if does {
					t.Fatalf("seed %d: %+v breaks %+v, which was proven", seed, f, c)
				}
			}
			if none && about {
				t.Fatalf("seed %d: %+v is about something", seed, c)
			}
			if none {
				vacuous++
			} else {
				held++
			}
		}
	}
	if n := int(seeds); held < n/2 || broken < 3*n || vacuous < n/6 {
		t.Errorf("%d held, %d broken, %d vacuous: too few to mean anything", held, broken, vacuous)
	}
}

// large are many endpoints, five for each policy.
func large(endpoints int) *dataplane.State {
	p := workload.Params{Local: endpoints / 10, Remote: endpoints * 9 / 10, Policies: endpoints / 5, Namespaces: endpoints / 50}
	return resolve(p.Objects())
}

// policed are all endpoints that a policy selects.
func policed(s *dataplane.State) flatten.End {
	e := flatten.End{Nets: flatten.AddrsOf()}
	for id, w := range s.Endpoints {
		if len(w.Tiers) > 0 {
			e.Endpoints = append(e.Endpoints, id)
		}
	}
	slices.Sort(e.Endpoints)
	return e
}

// largeClaims are about all pairs of many endpoints; those of them hold that hold says.
func largeClaims(s *dataplane.State) (claims []flatten.Claim, hold []bool) {
	all := policed(s)
	world := flatten.End{Nets: flatten.AddrsOf(netip.MustParsePrefix("203.0.113.0/24"))}
	tcp, other := flatten.Match{Protocols: flatten.ProtocolsOf(6)}, flatten.Match{Protocols: flatten.ProtocolsOf(47)}
	tcp.DstPorts = flatten.PortsOf(dataplane.PortRange{Min: 5432, Max: 5432})
	return []flatten.Claim{
		{From: all, To: all, Within: []flatten.Match{other}, Want: dataplane.Deny},
		{From: all, To: all, Within: []flatten.Match{tcp}, Want: dataplane.Deny}, // the source lets it out, the destination not in
		{From: world, To: all, Within: []flatten.Match{tcp}, Want: dataplane.Deny},
		{From: all, To: all, Within: []flatten.Match{{}}, Want: dataplane.Deny},
		{From: all, To: world, Within: []flatten.Match{{}}, Want: dataplane.Allow},
	}, []bool{true, true, true, true, false}
}

func TestProveOfMany(t *testing.T) {
	s := large(1000)
	claims, hold := largeClaims(s)
	if n := len(claims[0].From.Endpoints); n < 800 {
		t.Fatalf("%d endpoints have a policy", n)
	}
	for i, c := range claims {
		if counter, vacuous := flatten.Prove(s, c); vacuous || (counter == nil) != hold[i] {
			t.Errorf("claim %d: counter %+v, vacuous %t", i, counter, vacuous)
		}
	}
}

// BenchmarkProve is of claims about all pairs of 5,000 endpoints under 1,000 policies.
func BenchmarkProve(b *testing.B) {
	s := large(5000)
	claims, _ := largeClaims(s)
	b.ReportAllocs()
	for b.Loop() {
		for _, c := range claims {
			flatten.Prove(s, c)
		}
	}
}
