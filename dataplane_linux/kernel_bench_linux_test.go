package linux

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"testing"
	"time"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/dataplane_linux/ipset"
	"github.com/felid-net/felid/dataplane_linux/iptables"
	"github.com/felid-net/felid/dataplane_linux/netlink"
	"github.com/felid-net/felid/policy"
	"github.com/felid-net/felid/test/bench/workload"
	vish "github.com/vishvananda/netlink"
)

// call is one run of a program that was given text.
type call struct {
	name string
	args []string
	text []byte
}

// node is the node of workload W2 on a kernel, with core and driver, and the calls that the driver makes.
type node struct {
	b        testing.TB
	resolver *policy.Resolver
	driver   *Dataplane
	calls    []call
}

func newNode(b testing.TB, backend string, prepare func(*dataplane.State)) *node {
	n := &node{b: b, resolver: newResolver(workload.W2())}
	s, _ := n.resolver.Flush()
	prepare(s)
	n.open(backend)
	n.apply(s, nil)
	return n
}

// newResolver holds the objects, of which it has resolved none yet.
func newResolver(objects []v3.Object) *policy.Resolver {
	host := dataplane.Host{Node: workload.Node, Owner: true, InterfacePrefix: "cali", WorkloadToHost: dataplane.Allow}
	r := policy.NewResolver(policy.Options{Node: host.Node, Host: host})
	for _, o := range objects {
		r.Update(v3.KeyOf(o), o)
	}
	return r
}

// open opens the driver, so that the texts that it gives to programs are kept.
func (n *node) open(backend string) {
	sets, err := ipset.Dial()
	must(n.b, err)
	network, err := netlink.Dial()
	must(n.b, err)
	run := func(ctx context.Context, name string, args []string, stdin []byte, env []string) (stdout, stderr []byte, err error) {
		if len(stdin) > 0 {
			n.calls = append(n.calls, call{name, args, bytes.Clone(stdin)})
		}
		return iptables.Exec(ctx, name, args, stdin, env)
	}
	n.driver, err = assemble(Config{Backend: backend, LockFile: n.b.TempDir() + "/lock"}, parts{iptables: iptables.Config{Run: run}, sets: sets, network: network})
	must(n.b, err)
	n.b.Cleanup(func() { n.driver.Close() })
}

func (n *node) apply(s *dataplane.State, c *dataplane.Changes) {
	n.b.Helper()
	if res, err := n.driver.Apply(context.Background(), s, c); err != nil || res.Failed() {
		n.b.Fatal(err, res.Endpoints, res.Policies, res.Others)
	}
}

// update is one event, from the resource to the kernel: how long it took, and the calls that it needed.
func (n *node) update(o v3.Object, key v3.Key) (time.Duration, []call) {
	n.calls = nil
	start := time.Now()
	n.resolver.Update(key, o)
	s, c := n.resolver.Flush()
	n.apply(s, c)
	return time.Since(start), n.calls
}

// bare makes the calls again, without us.
func (n *node) bare(calls []call) time.Duration {
	start := time.Now()
	for _, c := range calls {
		cmd := exec.Command(c.name, c.args...)
		cmd.Stdin = bytes.NewReader(c.text)
		if out, err := cmd.CombinedOutput(); err != nil {
			n.b.Fatalf("%s: %v\n%s", c.name, err, out)
		}
	}
	return time.Since(start)
}

// event measures an object that comes and goes again, and beside it the calls of its coming and going made a second time, without us. What they
// need of sets stays for that time, because a policy with the same rules does.
func (n *node) event(b *testing.B, o v3.Object) {
	var ours, bare []time.Duration
	var chains, lines int
	twin := workload.GlobalPolicy(100_000, "pod == 'l-200'")
	twin.Name = "twin"
	for range 20 {
		took, there := n.update(o, v3.KeyOf(o))
		_, back := n.update(nil, v3.KeyOf(o))
		n.update(twin, v3.KeyOf(twin))
		ours, bare = append(ours, took), append(bare, n.bare(there))
		n.bare(back)
		n.update(nil, v3.KeyOf(twin))
		if drifted, err := n.driver.CheckDrift(context.Background()); drifted || err != nil { // so that the driver knows that nobody else has written
			b.Fatal(drifted, err)
		}
		chains, lines = 0, 0
		for _, c := range there {
			chains += bytes.Count(c.text, []byte("\n:"))
			lines += bytes.Count(c.text, []byte("\n-"))
		}
	}
	slices.Sort(ours)
	slices.Sort(bare)
	b.ReportMetric(milliseconds(ours[len(ours)/2]), "p50-ms")
	b.ReportMetric(milliseconds(ours[len(ours)-1]), "max-ms")
	b.ReportMetric(milliseconds(bare[len(bare)/2]), "bare-p50-ms")
	b.ReportMetric(float64(ours[len(ours)/2])/float64(bare[len(bare)/2]), "of-bare")
	b.ReportMetric(float64(chains), "chains")
	b.ReportMetric(float64(lines), "lines")
}

// BenchmarkKernelEvents: on the node of W2 with all in force, one policy of 6 rules for 100 local endpoints, and one endpoint more, from
// the resource to the kernel; and beside it the same programs with the same text alone.
func BenchmarkKernelEvents(b *testing.B) {
	for name, o := range map[string]v3.Object{"policy": workload.GlobalPolicy(100_000, "inc100 == 'y'"), "endpoint": newEndpoint()} {
		for _, backend := range backends {
			b.Run(name+"/"+backend, func(b *testing.B) {
				n := newNode(b, backend, func(s *dataplane.State) {
					benchHost(b, s)
					must(b, vish.LinkAdd(&vish.Veth{LinkAttrs: vish.LinkAttrs{Name: newInterface, Flags: net.FlagUp}, PeerName: "pnew"}))
				})
				n.event(b, o)
			})
		}
	}
}

// BenchmarkKernelCold: W2 from resources in memory into an empty kernel, core and routes included; and the finished text of tables and sets given to
// iptables-restore and ipset restore alone, in a namespace of its own. Both take turns, and medians count.
func BenchmarkKernelCold(b *testing.B) {
	for _, backend := range backends {
		b.Run(backend, func(b *testing.B) {
			var wall, used, bareWall, bareUsed []time.Duration
			for range 5 {
				n := &node{b: b}
				s := newResolver(workload.W2())
				state, _ := s.Flush()
				benchHost(b, state)
				n.open(backend)
				start, before := time.Now(), cpu()
				n.resolver = newResolver(workload.W2())
				state, _ = n.resolver.Flush()
				n.apply(state, nil)
				wall, used = append(wall, time.Since(start)), append(used, cpu()-before)

				sets := call{"ipset", []string{"restore"}, []byte(Render(state, RenderConfig{}).IPSetText())}
				benchHost(b, dataplane.NewState())
				start, before = time.Now(), cpu()
				n.bare(append([]call{sets}, n.calls...))
				bareWall, bareUsed = append(bareWall, time.Since(start)), append(bareUsed, cpu()-before)
			}
			median := func(d []time.Duration) float64 { return milliseconds(slices.Sorted(slices.Values(d))[len(d)/2]) }
			b.ReportMetric(median(wall), "ms")
			b.ReportMetric(median(used), "cpu-ms")
			b.ReportMetric(median(bareWall), "bare-ms")
			b.ReportMetric(median(bareUsed), "bare-cpu-ms")
			b.ReportMetric(median(wall)/median(bareWall), "wall-of-bare")
			b.ReportMetric(median(used)/median(bareUsed), "cpu-of-bare")
		})
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

const newInterface = "calinew00000"

func newEndpoint() v3.Object {
	ep := workload.SizeW2.LocalEndpoint(0)
	ep.Name, ep.Spec.Pod, ep.Spec.InterfaceName = "new", "new", newInterface
	ep.Spec.IPNetworks = []string{netip.PrefixFrom(netip.MustParseAddr("10.91.0.1"), 32).String()}
	delete(ep.Labels, "inc100")
	ep.Labels["pod"] = "new"
	return ep
}
