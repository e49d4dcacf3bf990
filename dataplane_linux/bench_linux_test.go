package linux

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/felid-net/felid/dataplane"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// cpu is what this process and its children have used.
func cpu() time.Duration {
	var sum time.Duration
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		_ = syscall.Getrusage(who, &u)
		sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return sum
}

// benchHost puts the benchmark's goroutine into a namespace with the interfaces of s.
func benchHost(b *testing.B, s *dataplane.State) {
	b.Helper()
	if os.Geteuid() != 0 {
		b.Fatal("this benchmark makes network namespaces and needs root")
	}
	runtime.LockOSThread()
	ns, err := netns.New()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { ns.Close() })
	h, err := netlink.NewHandle()
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	i := 0
	for _, ep := range s.Endpoints {
		if err := h.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: ep.Interface, Flags: 1}, PeerName: fmt.Sprint("p", i)}); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

func openBench(b *testing.B, backend, lock string) *Dataplane {
	d, err := New(Config{Backend: backend, LockFile: lock})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { d.Close() })
	return d
}

func applyBench(b *testing.B, d *Dataplane, s *dataplane.State, c *dataplane.Changes) dataplane.Result {
	res, err := d.Apply(context.Background(), s, c)
	if err != nil || res.Failed() {
		b.Fatal(err, res.Endpoints, res.Policies, res.Others)
	}
	return res
}

// BenchmarkApply measures a cold start, a restart with everything right, and single changes, on a host like largeState.
func BenchmarkApply(b *testing.B) {
	for _, backend := range backends {
		b.Run(backend, func(b *testing.B) {
			s := largeState()
			benchHost(b, s)
			lock := b.TempDir() + "/lock"
			cold, coldCPU := time.Now(), cpu()
			d := openBench(b, backend, lock)
			applyBench(b, d, s, nil)
			b.ReportMetric(float64(time.Since(cold).Milliseconds()), "cold-ms")
			b.ReportMetric(float64((cpu() - coldCPU).Milliseconds()), "cold-cpu-ms")
			warm, warmCPU := time.Now(), cpu()
			again := openBench(b, "auto", lock)
			if res := applyBench(b, again, s, nil); res.Stats.Writes > 0 {
				b.Fatalf("%d writes after a restart", res.Stats.Writes)
			}
			b.ReportMetric(float64(time.Since(warm).Milliseconds()), "restart-ms")
			b.ReportMetric(float64((cpu() - warmCPU).Milliseconds()), "restart-cpu-ms")
			changes(b, d, s)
		})
	}
}

// changes times an endpoint that goes and comes back, a policy of one rule more, and a member of a set.
func changes(b *testing.B, d *Dataplane, s *dataplane.State) {
	ep, p, set := largePick(s)
	id := ep.ID
	member := dataplane.Member{Prefix: netip.MustParsePrefix("10.90.0.1/32")}
	const rounds = 5
	for name, change := range map[string]func(i int) *dataplane.Changes{
		"endpoint": func(i int) *dataplane.Changes {
			if delete(s.Endpoints, id); i%2 == 1 {
				s.Endpoints[id] = ep
			}
			return changed([]dataplane.EndpointID{id})
		},
		"policy": func(i int) *dataplane.Changes {
			next := *p
			if i%2 == 0 {
				next.Ingress = append(slices.Clone(p.Ingress), dataplane.Rule{Action: dataplane.Allow, Protocol: 1})
			}
			s.Policies[p.ID] = &next
			return changed(nil, p.ID)
		},
		"member": func(i int) *dataplane.Changes {
			delta := &dataplane.SetDelta{Added: []dataplane.Member{member}}
			if set.Members[member] = struct{}{}; i%2 == 1 {
				delta = &dataplane.SetDelta{Removed: []dataplane.Member{member}}
				delete(set.Members, member)
			}
			return &dataplane.Changes{IPSets: map[dataplane.IPSetID]*dataplane.SetDelta{set.ID: delta}}
		},
	} {
		start := time.Now()
		for i := range 2 * rounds {
			applyBench(b, d, s, change(i))
		}
		b.ReportMetric(float64(time.Since(start).Microseconds())/(2*rounds)/1000, name+"-ms")
	}
}
