package policy_test

import (
	"slices"
	"testing"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/policy"
	"github.com/felid-net/felid/test/bench/workload"
)

var benchOptions = policy.Options{Node: workload.Node, Host: dataplane.Host{Node: workload.Node, IPv6: true}}

func loaded(objects []v3.Object) *policy.Resolver {
	r := policy.NewResolver(benchOptions)
	for _, o := range objects {
		r.Update(v3.KeyOf(o), o)
	}
	return r
}

func BenchmarkResolveW2(b *testing.B) {
	objects := workload.W2()
	b.ReportAllocs()
	for b.Loop() {
		policy.Resolve(objects, benchOptions)
	}
}

func BenchmarkResolverW2Cold(b *testing.B) {
	objects := workload.W2()
	b.ReportAllocs()
	for b.Loop() {
		loaded(objects).Flush()
	}
}

func BenchmarkResolverW3Cold(b *testing.B) {
	objects := workload.W3()
	b.ReportAllocs()
	for b.Loop() {
		loaded(objects).Flush()
	}
}

// BenchmarkLabelChange is one remote endpoint that gets or loses a label by which a set in force finds it.
func BenchmarkLabelChange(b *testing.B) {
	anchor := workload.GlobalPolicy(0, "pod == 'l-0'")
	anchor.Name = "inc-anchor"
	anchor.Spec.Ingress[0].Source.Selector = "incflag == 'on'"
	r := loaded(append(workload.W2(), anchor))
	r.Flush()
	without := workload.SizeW2.RemoteEndpoint(37)
	with := workload.SizeW2.RemoteEndpoint(37)
	with.Labels["incflag"] = "on"
	key, on := v3.KeyOf(with), false
	b.ReportAllocs()
	for b.Loop() {
		on = !on
		if on {
			r.Update(key, with)
		} else {
			r.Update(key, without)
		}
		if _, changes := r.Flush(); len(changes.IPSets) != 1 {
			b.Fatalf("%d sets changed, want 1", len(changes.IPSets))
		}
	}
}

// TestW2 holds the two resolvers together on the workload that is measured.
func TestW2(t *testing.T) {
	objects := workload.W2()
	slices.Reverse(objects)
	got, _ := loaded(objects).Flush()
	want, report := policy.Resolve(objects, benchOptions)
	compareStates(t, want, got)
	if len(report.Conditions) > 0 {
		t.Errorf("conditions %v, want none", report.Conditions)
	}
	members := 0
	for _, set := range got.IPSets {
		members += len(set.Members)
	}
	t.Logf("%d endpoints, %d policies, %d sets, %d members", len(got.Endpoints), len(got.Policies), len(got.IPSets), members)
}

// BenchmarkPolicyChange is a policy of six rules for a hundred local endpoints that comes and goes.
func BenchmarkPolicyChange(b *testing.B) {
	r := loaded(workload.W2())
	r.Flush()
	p := workload.GlobalPolicy(100_000, "inc100 == 'y'")
	b.ReportAllocs()
	for b.Loop() {
		r.Update(v3.KeyOf(p), p)
		r.Flush()
		r.Update(v3.KeyOf(p), nil)
		r.Flush()
	}
}

// BenchmarkEndpointChange is a local endpoint that comes and goes.
func BenchmarkEndpointChange(b *testing.B) {
	r := loaded(workload.W2())
	r.Flush()
	e := workload.SizeW2.LocalEndpoint(0)
	e.Name, e.Spec.Pod, e.Spec.IPNetworks = "new", "new", []string{"10.91.0.1/32"}
	b.ReportAllocs()
	for b.Loop() {
		r.Update(v3.KeyOf(e), e)
		r.Flush()
		r.Update(v3.KeyOf(e), nil)
		r.Flush()
	}
}
