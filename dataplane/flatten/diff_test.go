package flatten_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane/dptest"
	"github.com/felid-net/felid/dataplane/flatten"
	"github.com/felid-net/felid/policy"
)

var offlineHost = dataplane.Host{Owner: true, InterfacePrefix: "fld", IPv6: true, WorkloadToHost: dataplane.Pass}

func resolve(objects []v3.Object) *dataplane.State {
	s, _ := policy.Resolve(objects, policy.Options{Host: offlineHost})
	return s
}

// randomPair is a random world, and the same with the policies of another.
func randomPair(seed uint64) (from, to []v3.Object) {
	from = dptest.Random(seed).Objects
	rng := rand.New(rand.NewPCG(seed, 7))
	other := dptest.Random(seed + 1_000_000).Objects
	isPolicy := func(o v3.Object) bool {
		switch o.(type) {
		case *v3.NetworkPolicy, *v3.GlobalNetworkPolicy:
			return true
		}
		return false
	}
	for _, o := range from {
		switch e := o.(type) {
		case *v3.WorkloadEndpoint:
			if rng.IntN(12) == 0 { // another label
				e = e.DeepCopy()
				e.Labels = map[string]string{"role": "y"}
				to = append(to, e)
				continue
			}
		case *v3.Tier, *v3.GlobalNetworkSet, *v3.NetworkSet:
			if rng.IntN(6) == 0 {
				continue
			}
		}
		if !isPolicy(o) || rng.IntN(3) > 0 {
			to = append(to, o)
		}
	}
	for _, o := range other {
		if isPolicy(o) && rng.IntN(3) == 0 && !slices.ContainsFunc(to, func(p v3.Object) bool { return v3.KeyOf(p) == v3.KeyOf(o) }) {
			to = append(to, o)
		}
	}
	return from, to
}

func has(matches []flatten.Match, f policy.Flow) bool {
	return slices.ContainsFunc(matches, func(m flatten.Match) bool {
		dst := f.DstPort
		if f.ICMPType >= 0 {
			dst = flatten.ICMPPort(uint8(f.ICMPType), uint8(f.ICMPCode))
		}
		return m.Protocols.Contains(f.Protocol) && m.Src.Contains(f.Src) && m.Dst.Contains(f.Dst) && m.SrcPorts.Contains(f.SrcPort) && m.DstPorts.Contains(dst)
	})
}

// flowsOf are connections between all pairs of addresses that the world knows, on the ports that its rules are about.
func flowsOf(s *dataplane.State) []policy.Flow {
	var addrs []netip.Addr
	for _, e := range s.Endpoints {
		addrs = append(addrs, e.Addresses...)
	}
	for _, text := range []string{"10.1.2.3", "192.0.2.9", "192.0.2.77", "203.0.113.1", "2001:db8::9", "2001:db8::77", "fd12::1", "9000::1"} {
		addrs = append(addrs, netip.MustParseAddr(text))
	}
	var flows []policy.Flow
	for _, src := range addrs {
		for _, dst := range addrs {
			if src.Is4() != dst.Is4() {
				continue
			}
			f := policy.Flow{Src: src, Dst: dst, SrcPort: 40000, ICMPType: -1, ICMPCode: -1}
			for _, protocol := range []uint8{6, 17, 132} {
				for _, port := range []uint16{53, 79, 80, 81, 82, 443, 1000, 8000, 8080, 9000} {
					f.Protocol, f.DstPort = protocol, port
					flows = append(flows, f)
				}
				f.SrcPort = 80
				flows = append(flows, f)
				f.SrcPort = 40000
			}
			f.SrcPort, f.DstPort = 0, 0
			f.Protocol = 47
			flows = append(flows, f)
			for _, protocol := range []uint8{1, 58} {
				for _, typ := range []int16{8, 128, 3} {
					f.Protocol, f.ICMPType, f.ICMPCode = protocol, typ, int16(len(flows)%3)
					flows = append(flows, f)
				}
			}
		}
	}
	return flows
}

// TestDiffIsExact compares what opens and closes with the verdicts on each side, flow by flow.
func TestDiffIsExact(t *testing.T) {
	seeds := uint64(40)
	if testing.Short() {
		seeds = 8
	}
	opened, closed := 0, 0
	for seed := range seeds {
		from, to := randomPair(seed)
		old, now := resolve(from), resolve(to)
		d := flatten.Diff(old, now)
		for _, f := range flowsOf(old) {
			from, to := workloadAt(old, f.Src), workloadAt(old, f.Dst)
			if ownNode(old, f) || from == "" && to == "" {
				continue
			}
			before, after := allows(old, from, to, f), allows(now, workloadAt(now, f.Src), workloadAt(now, f.Dst), f)
			opens, closes := !before && after, before && !after
			if opens {
				opened++
			}
			if closes {
				closed++
			}
			if has(d.Opens, f) != opens || has(d.Closes, f) != closes {
				t.Fatalf("seed %d: %+v was allowed: %t, and is: %t, but diff says opens %t, closes %t", seed, f, before, after, has(d.Opens, f), has(d.Closes, f))
			}
		}
		for i, m := range d.Opens {
			for _, o := range append(d.Opens[i+1:], d.Closes...) {
				if both, ok := m.Intersect(o); ok {
					t.Fatalf("seed %d: two answers have %+v", seed, both)
				}
			}
		}
	}
	if opened < 1000 || closed < 1000 {
		t.Errorf("%d flows opened and %d closed: too few to mean anything", opened, closed)
	}
}

// ownNode tells whether the flow is from the node of its destination.
func ownNode(s *dataplane.State, f policy.Flow) bool {
	e := s.Endpoints[workloadAt(s, f.Dst)]
	return e != nil && s.Nodes[e.Node] != nil && slices.Contains(s.Nodes[e.Node].Addresses, f.Src)
}

func TestDiffOfTheSame(t *testing.T) {
	for seed := range uint64(10) {
		s := resolve(dptest.Random(seed).Objects)
		if d := flatten.Diff(s, s.Copy()); fmt.Sprint(d.Opens, d.Closes, d.Unchanged, d.Moved) != "[] [] [] []" {
			t.Errorf("seed %d: %+v", seed, d)
		}
	}
}
