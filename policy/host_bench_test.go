package policy_test

import (
	"fmt"
	"testing"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/test/bench/workload"
)

// withHosts is W2 with a host endpoint for each of 1,000 nodes, this one's among them.
func withHosts() []v3.Object {
	objects := workload.W2()
	for i := range 999 {
		name := fmt.Sprintf("other-%d", i)
		objects = append(objects, hostEndpoint(name, name, "*", fmt.Sprintf("172.16.%d.%d", i/250, i%250)))
	}
	return append(objects, hostEndpoint("own", workload.Node, "*", "172.17.0.1"))
}

// BenchmarkHostPolicyChange is a policy for all host endpoints that comes and goes: its work is for that of this node alone.
func BenchmarkHostPolicyChange(b *testing.B) {
	r := loaded(withHosts())
	r.Flush()
	p := forHosts("p", untracked, "in deny 80", "out deny 80")
	b.ReportAllocs()
	for b.Loop() {
		r.Update(v3.KeyOf(p), p)
		if _, changes := r.Flush(); len(changes.Endpoints) != 1 {
			b.Fatalf("%d endpoints changed, want 1", len(changes.Endpoints))
		}
		r.Update(v3.KeyOf(p), nil)
		r.Flush()
	}
}

// BenchmarkHostEndpointChange is another node's host endpoint that changes its labels.
func BenchmarkHostEndpointChange(b *testing.B) {
	r := loaded(withHosts())
	r.Flush()
	one, two := hostEndpoint("other-7", "other-7", "*", "172.16.0.7"), hostEndpoint("other-7", "other-7", "*", "172.16.0.7")
	two.Labels["zone"] = "b"
	b.ReportAllocs()
	for b.Loop() {
		for _, h := range []*v3.HostEndpoint{two, one} {
			r.Update(v3.KeyOf(h), h)
			if _, changes := r.Flush(); !changes.Empty() {
				b.Fatalf("changes %+v, want none", changes)
			}
		}
	}
}
