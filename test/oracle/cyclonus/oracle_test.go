package cyclonus

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/mattfenwick/cyclonus/pkg/generator"
	"github.com/mattfenwick/cyclonus/pkg/matcher"
	corev1 "k8s.io/api/core/v1"

	"github.com/felid-net/felid/dataplane"
	"github.com/felid-net/felid/policy"
)

var options = policy.Options{Host: dataplane.Host{IPv6: true}}

// TestEveryGeneratedCase compares both engines after each step of every case that cyclonus generates: over IPv4 and IPv6; felid
// once resolving from scratch, once by one Resolver that goes through all cases. They agree without exceptions; what is known to
// differ beyond the cases is in TestDifferencesStand.
func TestEveryGeneratedCase(t *testing.T) {
	for name, base := range map[string]string{"IPv4": "10.65.0.0", "IPv6": "fd65::"} {
		t.Run(name, func(t *testing.T) {
			base := netip.MustParseAddr(base)
			cases := generate(t, base)
			live := &follower{Resolver: policy.NewResolver(options)}
			var total tally
			for i, c := range cases {
				t.Run(fmt.Sprintf("%03d %s", i, c.Description), func(t *testing.T) { total.add(play(t, c, base, live)) })
			}
			t.Logf("%d cases, %d steps, %d verdicts of each engine, %d of them Deny", len(cases), total.steps, total.verdicts, total.denied)
			if total.denied == 0 || total.denied == total.verdicts {
				t.Errorf("judged %+v: want verdicts of both kinds", total)
			}
		})
	}
}

// generate are all cases, whose numbers are those that cyclonus' own test asserts.
func generate(t *testing.T, base netip.Addr) []*generator.TestCase {
	t.Helper()
	zc := newCluster(base).peer(t, "z/c").IP
	g := generator.NewTestCaseGenerator(true, zc, namespaces, nil, nil)
	got := map[string]int{
		"peers": len(g.PeersTestCases()), "ports": len(g.PortProtocolTestCases()), "conflict": len(g.ConflictTestCases()),
		"upstream": len(g.UpstreamE2ETestCases()), "actions": len(g.ActionTestCases()), "targets": len(g.TargetTestCases()),
		"rules": len(g.RulesTestCases()), "namespaces": len(g.NamespaceTestCases()), "example": len(g.ExampleTestCases()),
	}
	want := map[string]int{
		"peers": 112, "ports": 70, "conflict": 16, "upstream": 13, "actions": 6, "targets": 6, "rules": 4, "namespaces": 2, "example": 1,
	}
	all := g.GenerateTestCases()
	steps := 0
	for _, c := range all {
		steps += len(c.Steps)
	}
	if !maps.Equal(got, want) || len(all) != 230 || steps != 256 {
		t.Fatalf("cyclonus generates %d cases of %d steps, %v; want 230 of 256, %v", len(all), steps, got, want)
	}
	return all
}

// tally counts what was compared.
type tally struct{ steps, verdicts, denied int }

func (a *tally) add(b tally) {
	a.steps += b.steps
	a.verdicts += b.verdicts
	a.denied += b.denied
}

// play does a case in a cluster of its own.
func play(t *testing.T, c *generator.TestCase, base netip.Addr, live *follower) tally {
	var total tally
	world := newCluster(base)
	live.follow(world.objects(t))
	for i, step := range c.Steps {
		for _, action := range step.Actions {
			world.apply(t, action)
			live.follow(world.objects(t))
			live.Flush()
		}
		total.add(judge(t, fmt.Sprint("step ", i), world, live))
	}
	return total
}

// judge compares the full table of a step.
func judge(t *testing.T, step string, world *cluster, live *follower) tally {
	t.Helper()
	scratch, report := policy.Resolve(world.list(t), options)
	moved, _ := live.Flush()
	if len(report.Conditions)+len(live.Report().Conditions) > 0 {
		t.Errorf("%s: %+v, %+v", step, report.Conditions, live.Report().Conditions)
	}
	oracle := matcher.BuildNetworkPolicies(true, slices.Collect(maps.Values(world.policies)))
	total := tally{steps: 1}
	var wrong []string
	for _, f := range world.flows(t) {
		want := f.byOracle(oracle)
		total.verdicts++
		if !want.egress || !want.ingress {
			total.denied++
		}
		for engine, state := range map[string]*dataplane.State{"Resolve": scratch, "Resolver": moved} {
			if got := f.byFelid(t, state); got != want {
				wrong = append(wrong, fmt.Sprintf("%s: %+v by %s, %+v by cyclonus", f, got, engine, want))
			}
		}
	}
	if len(wrong) > 0 {
		first := strings.Join(wrong[:min(4, len(wrong))], "\n")
		t.Errorf("%s: %d verdicts differ, the first of them:\n%s\npolicies:%s", step, len(wrong), first, world.specs())
	}
	return total
}

// verdict is what each side allows. A side that is no pod allows everything.
type verdict struct{ egress, ingress bool }

// flow is a probe of the table.
type flow struct {
	from, to *matcher.TrafficPeer
	protocol corev1.Protocol
	port     int
	name     string // of the port at the pod it goes to; "" for none
}

func (f flow) String() string {
	peer := func(p *matcher.TrafficPeer) string {
		if p.IsExternal() {
			return p.IP
		}
		return fmt.Sprintf("%s (in %s with %v)", p.IP, p.Internal.Namespace, p.Internal.PodLabels)
	}
	return fmt.Sprintf("%s to %s %s/%d (%s)", peer(f.from), peer(f.to), f.protocol, f.port, f.name)
}

func (f flow) byOracle(p *matcher.Policy) verdict {
	allowed := p.IsTrafficAllowed(&matcher.Traffic{
		Source: f.from, Destination: f.to, ResolvedPort: f.port, ResolvedPortName: f.name, Protocol: f.protocol,
	})
	return verdict{egress: allowed.Egress.IsAllowed(), ingress: allowed.Ingress.IsAllowed()}
}

var protocolNumbers = map[corev1.Protocol]uint8{corev1.ProtocolTCP: 6, corev1.ProtocolUDP: 17, corev1.ProtocolSCTP: 132}

func (f flow) byFelid(t *testing.T, s *dataplane.State) verdict {
	t.Helper()
	answer := policy.Explain(s, policy.Flow{
		Src: netip.MustParseAddr(f.from.IP), Dst: netip.MustParseAddr(f.to.IP), Protocol: protocolNumbers[f.protocol],
		SrcPort: 40000, DstPort: uint16(f.port), ICMPType: -1, ICMPCode: -1,
	})
	if (answer.Egress == nil) != f.from.IsExternal() || (answer.Ingress == nil) != f.to.IsExternal() {
		t.Fatalf("%s: felid takes a pod for an outsider, or an outsider for a pod: %+v", f, answer)
	}
	allows := func(side *policy.Verdict) bool { return side == nil || side.Action == dataplane.Allow }
	v := verdict{egress: allows(answer.Egress), ingress: allows(answer.Ingress)}
	if (answer.Verdict == dataplane.Allow) != (v.egress && v.ingress) {
		t.Errorf("%s: %s, but its sides say %+v", f, answer.Verdict, v)
	}
	return v
}

// unserved are ports that no pod serves: on both sides of the borders of the ranges in the cases, and that of DNS.
var unserved = []int{52, 53, 79, 82, 84, 85, 7981}

// flows are from each pod and outsider to each other on every port, except between outsiders. A pod to itself is left out, as cyclonus
// can be told to do: no network carries that.
func (c *cluster) flows(t *testing.T) []flow {
	t.Helper()
	peers := c.peers(t)
	var all []flow
	for i, from := range peers {
		for j, to := range peers {
			if i == j || from.IsExternal() && to.IsExternal() {
				continue
			}
			for _, protocol := range protocols {
				for _, port := range slices.Concat(ports, unserved) {
					all = append(all, flow{from: from, to: to, protocol: protocol, port: port, name: c.portName(to, protocol, port)})
				}
			}
		}
	}
	return all
}

// peers are the pods in order of name, then the outsiders, as cyclonus sees them.
func (c *cluster) peers(t *testing.T) []*matcher.TrafficPeer {
	t.Helper()
	var all []*matcher.TrafficPeer
	for _, key := range slices.Sorted(maps.Keys(c.pods)) {
		all = append(all, c.peer(t, key))
	}
	for _, a := range c.outsiders() {
		all = append(all, &matcher.TrafficPeer{IP: a.String()})
	}
	return all
}

// peer is a pod.
func (c *cluster) peer(t *testing.T, key string) *matcher.TrafficPeer {
	t.Helper()
	pod := c.pods[key]
	if pod == nil {
		t.Fatalf("there is no pod %s among %v", key, slices.Sorted(maps.Keys(c.pods)))
	}
	return &matcher.TrafficPeer{IP: pod.Status.PodIP, Internal: &matcher.InternalPeer{
		Namespace: pod.Namespace, NamespaceLabels: c.namespaces[pod.Namespace].Labels, PodLabels: pod.Labels,
	}}
}

// portName is the name of the port at the pod; every pod has the same.
func (c *cluster) portName(to *matcher.TrafficPeer, protocol corev1.Protocol, number int) string {
	if to.IsExternal() {
		return ""
	}
	for _, container := range c.pods["x/a"].Spec.Containers {
		for _, p := range container.Ports {
			if p.Protocol == protocol && int(p.ContainerPort) == number {
				return p.Name
			}
		}
	}
	return ""
}
