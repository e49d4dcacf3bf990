package controller

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/ipam"
)

// large is what the reconcilers of addresses know of a cluster of 100,000 pods on 2,000 nodes.
func large(b *testing.B) (*addresses, []v3.Key) {
	b.Helper()
	a := newAddresses(Settings{Status: true})
	var pods []v3.Key
	base := netip.MustParseAddr("10.0.0.0")
	for n := range 2000 {
		node := fmt.Sprint("node-", n)
		a.Update(nodeKey(node), newNode(node))
		spec := v3.IPAMBlockSpec{CIDR: netip.PrefixFrom(base, 26).String(), Affinity: new("host:" + node), SequenceNumberForAllocation: map[string]uint64{}}
		for i := range 64 {
			if base = base.Next(); i >= 50 {
				spec.Allocations, spec.Unallocated = append(spec.Allocations, nil), append(spec.Unallocated, i)
				continue
			}
			pod := fmt.Sprintf("pod-%d-%d", n, i)
			spec.Allocations = append(spec.Allocations, new(i))
			spec.SequenceNumberForAllocation[fmt.Sprint(i)] = uint64(i)
			spec.Attributes = append(spec.Attributes, v3.AllocationAttribute{HandleID: new("h." + pod), Secondary: map[string]string{
				ipam.AttrPod: pod, ipam.AttrNamespace: "ns", ipam.AttrNode: node, ipam.AttrInterface: "eth0", ipam.AttrNetwork: "felid",
			}})
			endpoint := endpointOn(pod, node, base.Prev().String())
			pods = append(pods, v3.KeyOf(endpoint))
			a.Update(v3.KeyOf(endpoint), endpoint)
		}
		block := named(&v3.IPAMBlock{Spec: spec}, v3.KindIPAMBlock, "", ipam.BlockName(spec.CIDR))
		a.Update(v3.KeyOf(block), block)
	}
	return a, pods
}

// BenchmarkPodMoves is one pod among 100,000 that goes and comes back: what is looked at is its block.
func BenchmarkPodMoves(b *testing.B) {
	a, pods := large(b)
	now := time.Now()
	i := 0
	for b.Loop() {
		key := pods[i%len(pods)]
		i++
		endpoint := a.pods[podName{key.Namespace, key.Name}][0]
		for _, o := range []v3.Object{nil, endpointOn(key.Name, endpoint.node, endpoint.addresses[0].String())} {
			for _, item := range a.Update(key, o) {
				if step := a.Plan(item, now); len(step.Writes) > 0 {
					b.Fatalf("%+v", step)
				}
			}
		}
	}
}

// BenchmarkKnowAddresses is how long it takes to take 100,000 pods and their blocks in, and what is kept of them besides the blocks.
func BenchmarkKnowAddresses(b *testing.B) {
	for b.Loop() {
		before := heapInUse()
		a, pods := large(b)
		after := heapInUse()
		b.ReportMetric(float64(after-before)/float64(len(pods)), "B/pod")
		runtime.KeepAlive(a)
	}
}

func heapInUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkCountPolicies is one policy among 5,000 that changes its tier.
func BenchmarkCountPolicies(b *testing.B) {
	t := newTiers(Settings{Status: true})
	t.Update(tierKey("a"), newTier("a"))
	for i := range 5000 {
		p := named(&v3.NetworkPolicy{}, v3.KindNetworkPolicy, "ns", fmt.Sprint("p", i))
		p.Spec.Tier = "a"
		t.Update(v3.KeyOf(p), p)
	}
	moving := named(&v3.NetworkPolicy{}, v3.KindNetworkPolicy, "ns", "p7")
	now := time.Now()
	for b.Loop() {
		moving.Spec.Tier = map[bool]string{true: "a", false: "default"}[moving.Spec.Tier != "a"]
		for _, item := range t.Update(v3.KeyOf(moving), moving) {
			t.Plan(item, now)
		}
	}
}
